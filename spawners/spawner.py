"""JupyterHub's spawner for Leerlab: BatchSpawner's place in the hub, with starts that survive the hub and Slurm.

What JupyterHub promises and when it calls what: jupyterhub 6.1.1, `user.py` (spawn, stop) and `app.py` (init_spawners).
Of BatchSpawner only the class's place remains; its templates, shell commands and API handler are not used.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, NoReturn

from jupyterhub import apihandlers
from traitlets import Integer

from base.errors import LeerlabError
from base.messages import Message
from cluster.errors import SlurmRefused, SlurmUnavailable
from cluster.jobs import Job
from cluster.watcher import GONE, UNKNOWN, Answer
from spawners import failed, job_folders, metrics, server_token, stopping, walltime
from spawners.adoption import Adoption, Departed
from spawners.brought import bring_logs
from spawners.estimates import Estimates
from spawners.failures import SpawnRefused, StartFailed, StartRefused, ended_early, too_slow
from spawners.lasting import LastingSpawner
from spawners.memory import RememberingSpawner
from spawners.offers import Looks
from spawners.options import SERVER_NAME, form_options, requested_profile
from spawners.orphans import Sweep, ended_starts
from spawners.plan import ServerPlan
from spawners.starts import Start, utcnow
from spawners.submission import AHEAD, FOR_GRADING, OWNER, handing_over, inside_environment, job_folder, task_of
from spawners.use import submitted

NO_LIMIT = 10**9
"""Seconds for JupyterHub's own start timeout, which would count the time in Slurm's queue: ours begins with the job."""
STOP_SECONDS = 30.0
FIRST_LOOK_SECONDS = 3.0
"""How long a restarted hub waits for Slurm before it believes that a server which was ready still is."""
SUBMISSION_SECONDS = 30.0
RETRY_FIRST_SECONDS, RETRY_MOST_SECONDS = 0.5, 5.0
LATE_SUBMISSION_SECONDS = 15.0
"""How long after `sbatch` was called a job may still appear whose id the hub never learned."""
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")

# JupyterHub reads its list of handlers after it imported the spawner class.
stopping.install(apihandlers.default_handlers)
walltime.install(apihandlers.default_handlers)


def _over(answer: Answer) -> bool:
    """Whether Slurm has said that the job has ended; unknown is alive."""
    return answer is GONE or (isinstance(answer, Job) and answer.state.ended)


class LeerlabSpawner(LastingSpawner):
    """One server of one person as one Slurm job at a time."""

    _shared: ClassVar[tuple[asyncio.Task[None], ...]] = ()
    _numbers: ClassVar[metrics.WatcherNumbers | None] = None

    start_timeout = Integer(
        NO_LIMIT, help="JupyterHub's limit on a whole start; ours is `Facility.ready_seconds`."
    ).tag(config=True)
    poll_interval = Integer(5, help="Seconds between two looks at the watcher's memory: costs Slurm nothing.").tag(
        config=True
    )

    _planned: ServerPlan | None = None
    _departed: Departed | None = None
    ahead = False
    """Set by who starts the server ahead of a lesson; holds for one start."""
    for_grading = False
    """Set by who starts a course's server to grade without a teacher; holds for one start."""

    # -- the hub's start and end

    @classmethod
    async def open(cls, session: Any) -> None:
        """Start what all spawners share; before JupyterHub looks at its servers (`init_spawners`).

        Args:
            session: the hub's database session.
        """
        facility = cls.facility
        cls.sweep = Sweep(facility.cancel, facility.watcher, facility.hub)
        cls.sweep.ended |= ended_starts(session)
        cls.looks, cls.estimates = Looks(facility.slurm), Estimates()
        facility.watcher.start()
        cls._numbers = metrics.WatcherNumbers(facility.watcher, facility.hub)
        metrics.show(cls._numbers)
        pruning = job_folders.prune(facility.state.jobs, job_folders.known_starts(session), facility.watcher)
        cls._shared = (asyncio.create_task(cls.sweep.run()), asyncio.create_task(pruning))

    @classmethod
    async def close(cls) -> None:
        """End what `open` started."""
        for task in cls._shared:
            task.cancel()
        await asyncio.gather(*cls._shared, return_exceptions=True)
        if cls._numbers is not None:
            metrics.hide(cls._numbers)
            cls._numbers = None
        await cls.facility.watcher.close()

    # -- start

    def options_from_form(self, form: Mapping[str, list[str]]) -> dict[str, object]:
        """The start page's choice."""
        return form_options(form)

    def apply_user_options(self, _spawner: Any, _options: Mapping[str, object]) -> None:
        """Nothing of the options is set on the spawner; `start` reads the one that may be chosen."""

    async def start(self) -> str:
        """Start the server.

        Returns:
            Its URL as the hub reaches it.

        Raises:
            SpawnRefused: the request is not allowed (status 400).
            StartFailed: the job ended, was refused, or did not answer in time.
        """
        with metrics.counted(self._about):
            plan, self._planned = self._planned or self._plan(), None
            await self._submit(plan)
            return await self._until_answering()

    def run_pre_spawn_hook(self) -> Any:
        """Plan first: a refusal here is still the answer to the request itself, whatever JupyterHub's patience is."""
        self._failure = self.last_end = None
        try:
            self._planned = self._plan()
        except SpawnRefused as refusal:
            metrics.refused(refusal)
            raise
        return super().run_pre_spawn_hook()

    def _plan(self) -> ServerPlan:
        """What to start, or a refusal; nothing of the request goes further than this."""
        try:
            if not _NAME.fullmatch(self.user.name) or (self.name and not SERVER_NAME.fullmatch(self.name)):
                raise StartRefused(Message("start.refused.name"), "This name cannot have a server.")
            requested_profile(self.user_options)
            if self.name and not self.facility.named_servers(self.user):
                raise StartRefused(Message("start.refused.named"), "This account has no servers with a name.")
            return self.facility.plan_for(self.user, self.user_options)
        except StartRefused as refusal:
            # JupyterHub has stored the options as this server's next default already.
            self.orm_spawner.user_options = {}
            raise SpawnRefused(refusal, self.facility.say(refusal.message)) from refusal

    async def _submit(self, plan: ServerPlan) -> None:
        """Hand the job to Slurm; while Slurm does not answer, wait and try again until somebody cancels."""
        ahead, self.ahead = self.ahead, False
        for_grading, self.for_grading = self.for_grading, False
        token = server_token.token_id(self._session, self.api_token)
        requested, uid = utcnow(), await self._uid(plan)
        while True:
            start, secret = Start.new(plan.profile.id, token, requested)
            start = replace(start.lasting(plan.profile), uid=uid, tls=self.facility.certificates is not None)
            folder = job_folder(self.facility, start.id)
            folder.mkdir(mode=0o700)
            (folder / OWNER).write_text(self.user.name)
            if ahead:
                (folder / AHEAD).touch()
            if for_grading:
                (folder / FOR_GRADING).touch()
            self._keep(start)
            self._expect_report()
            # Not cancelled with the start: `stop` must learn the job's id.
            self._submission = asyncio.create_task(self._hand_over(plan, self._handing_over(plan, start, secret)))
            try:
                job = await asyncio.shield(self._submission)
            except SlurmRefused as error:
                self._fail(Message("start.failed.refused", {"reason": error.sentence}))
            except SlurmUnavailable as error:
                self.log.warning("Slurm did not take the job of %s: %s", self._log_name, error)
                found = await self._after_silence(start)
                if found is None:
                    # Should this submission arrive after all, the sweep cancels its job.
                    self._next_start()
                    continue
                job = found
            submitted(self.facility.state, start.id, job)
            self._keep(self._current.with_job(job))
            return

    async def _uid(self, plan: ServerPlan) -> int | None:
        """Number of the unix account as which the job runs; None: the site's own."""
        if plan.runs_as is None:
            return None
        try:
            return (await plan.runs_as()).uid
        except LeerlabError as error:
            self.log.error("%s has no unix account: %s", self._log_name, error)
            self._fail(Message("start.failed.account"))

    async def _hand_over(self, plan: ServerPlan, submit: Callable[[], Awaitable[int]]) -> int:
        """Submit the job, once what must be there before it is."""
        if plan.before is not None:
            await plan.before()
        return await submit()

    def _about(self) -> dict[str, str | int | None]:
        """The start that is going on, for a log."""
        start = self._start
        return {} if start is None else {"start": start.id, "job": start.job, "profile": start.profile}

    @property
    def start_id(self) -> str | None:
        """The id of the present start; None when there is none."""
        return self._start.id if self._start is not None else None

    @property
    def _current(self) -> Start:
        """The start that is going on.

        Raises:
            StartFailed: it was ended meanwhile.
        """
        if self._start is None or self._start.id in self._ended:
            self._fail(Message("start.failed.cancelled"))
        return self._start

    def _handing_over(self, plan: ServerPlan, start: Start, secret: str) -> Callable[[], Awaitable[int]]:
        base, hub_prefix = self.server.base_url, self.hub.base_url
        environment = inside_environment(plan, self.get_env(), base, hub_prefix)
        task = task_of(
            self.facility, plan, start, secret,
            person=self.user.name, environment=environment, base=base, hub_prefix=hub_prefix,
        )  # fmt: skip
        return handing_over(self.facility, plan, start, task)

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """BatchSpawner would look up a unix account of the person's name; the wall has its own."""
        return env

    def _next_start(self) -> None:
        """The present start has no job; what is still asked for gets a new id, but keeps its token."""
        start = self._current
        self._start = replace(start, token=None)
        self._end()

    async def _after_silence(self, start: Start) -> int | None:
        """Wait until Slurm answers again; the id of the start's job, if it has one."""
        self._slurm_silent = True
        self._change.announce()
        try:
            return await self._found(start, 0)
        finally:
            self._slurm_silent = False
            self._change.announce()

    async def _found(self, start: Start, patience: float) -> int | None:
        """Ask Slurm for the start's job by its comment, until it answers.

        Args:
            start: the start.
            patience: seconds to look again when there is none.
        """
        facility, loop = self.facility, asyncio.get_running_loop()
        until, pause = loop.time() + patience, RETRY_FIRST_SECONDS
        while True:
            try:
                jobs = await facility.slurm.find(start.comment(facility.hub))
            except SlurmUnavailable:
                await asyncio.sleep(pause)
                pause = min(pause * 2, RETRY_MOST_SECONDS)
                continue
            if jobs:
                return max(job.id for job in jobs)
            if loop.time() >= until:
                return None
            await asyncio.sleep(RETRY_FIRST_SECONDS)

    async def _until_answering(self) -> str:
        """Wait until the job has reported its port; how long it waits in the queue does not count."""
        loop, running_since = asyncio.get_running_loop(), None
        while True:
            seen = self._change.count
            start, job = self._current, self._job()
            if isinstance(job, Job):
                self.estimates.see(job, utcnow())
            if _over(job):
                self._fail(await self._early_end(start, job))
            if start.port is not None and (found := await self._host(start, job)) is not None:
                host, job = found
                self._keep(replace(self._current, host=host))
                metrics.ready(start, job, utcnow())
                return self._current.origin or ""
            left = RETRY_MOST_SECONDS
            if start.port is not None:
                # The server answers; only where its node is Slurm has not told yet.
                left = RETRY_FIRST_SECONDS
            elif isinstance(job, Job) and not job.state.waiting:
                running_since = running_since or loop.time()
                left = running_since + self.facility.ready_seconds - loop.time()
                if left <= 0:
                    await bring_logs(self.facility, start)
                    self._fail(too_slow(self.facility.ready_seconds, self._last_lines(start)))
            await self._news(seen, start, job, left)

    async def _host(self, start: Start, known: Answer) -> tuple[str, Job] | None:
        """Where the job's node is reached, and the job; None while Slurm cannot tell.

        The report may come before the watcher has seen the job run: then Slurm is asked at once.
        """
        slurm = self.facility.slurm
        try:
            job = (
                known if isinstance(known, Job) and known.nodes else await self.facility.watcher.look_up(start.job or 0)
            )
            return (await slurm.address(job.nodes[0]), job) if job is not None and job.nodes else None
        except SlurmUnavailable:
            return None

    async def _certify(self) -> Mapping[str, str] | None:
        """The certificate for the server of the present start, at the address that Slurm has for its node."""
        start, certificates = self._start, self.facility.certificates
        if start is None or certificates is None or (found := await self._host(start, self._job())) is None:
            return None
        return await asyncio.to_thread(certificates.issue, start.id, found[0], self.user.domain)

    async def _early_end(self, start: Start, known: Answer) -> Message:
        """Why a job that never answered has ended, as far as Slurm still knows."""
        job = known if isinstance(known, Job) else None
        if job is None or job.exit_code is None:
            with suppress(SlurmUnavailable):
                job = await self.facility.slurm.job(start.job or 0) or job
        await bring_logs(self.facility, start)
        outside = failed.lines_outside(self.facility.state.jobs, start.id)
        return ended_early(job, self._last_lines(start), outside)

    def _last_lines(self, start: Start) -> str:
        return failed.lines_of(self.facility.state.jobs, start.id)

    def _fail(self, message: Message) -> NoReturn:
        """End the start with a message for the person."""
        self._failure = message
        if self._start is not None:
            failed.write_down(self.facility.state.jobs, self._start.id, message, utcnow())
        self._change.announce()
        raise StartFailed(message, self.facility.say(message))

    # -- while it runs

    async def poll(self) -> int | None:
        """None while the server lives or may live, else an exit code; from memory, and never raises."""
        start = self._start
        if start is None or start.id in self._ended:
            return 0
        if self._unseen and start.job is not None and start.submitted is not None:
            # After a restart of the hub the watcher has not looked yet; JupyterHub would wait for a dead server.
            await self.facility.watcher.wait_change(start.job, start.submitted, UNKNOWN, FIRST_LOOK_SECONDS)
        self._unseen = False
        if not _over(self._job()):
            return None
        if not self._end_is_noted(start):
            await bring_logs(self.facility, start)
            if self._start is not start:
                return None  # Another start has begun meanwhile.
        self._note_end()
        return 1

    async def stop(self, now: bool = False) -> None:
        """End the server: its token dies at once, its job as soon as Slurm answers.

        Args:
            now: do not wait until the job is gone.
        """
        start = self._start
        if start is None:
            return
        job = start.job
        self.estimates.forget(job or 0)
        if job is None and self._submission is not None:
            with suppress(SlurmUnavailable, SlurmRefused, TimeoutError):
                job = await asyncio.wait_for(asyncio.shield(self._submission), SUBMISSION_SECONDS)
        self._end()
        if job is None:
            return  # Should it turn up, the sweep cancels it.
        try:
            await self.facility.cancel([(job, start.uid)])
        except (SlurmUnavailable, SlurmRefused) as error:
            self.log.warning("Job %s is cancelled by the sweep as soon as Slurm does it: %s", job, error)
            return
        if not now:
            await self._until_gone(job, start.submitted or utcnow())

    async def _until_gone(self, job: int, submitted: datetime) -> None:
        """Wait until Slurm has ended the job, at most `STOP_SECONDS`."""
        watcher, loop = self.facility.watcher, asyncio.get_running_loop()
        until, answer = loop.time() + STOP_SECONDS, watcher.job(job, submitted)
        while not _over(answer) and (left := until - loop.time()) > 0:
            answer = await watcher.wait_change(job, submitted, answer, left, eager=True)
        if not _over(answer):
            self.log.warning("Job %s of %s did not end within %s s", job, self._log_name, STOP_SECONDS)

    async def run_command(self, cmd: str, input: str | None = None, env: Any = None) -> NoReturn:
        """BatchSpawner's way to a shell: closed, so that no forgotten path of it can ever run one."""
        raise RuntimeError("BatchSpawner's shell commands are not used: cluster.commands talks to Slurm.")

    # -- after a restart of the hub

    @property
    def server(self) -> Any:
        """JupyterHub's Server row; while a restart check of an ended start goes on, its stand-in."""
        return self._departed or RememberingSpawner.server.fget(self)

    @server.setter
    def server(self, server: Any) -> None:
        RememberingSpawner.server.fset(self, server)

    async def get_url(self) -> str:
        """The server's URL; JupyterHub asks after a restart, so an interrupted start is finished here."""
        start = self._start
        if start is not None and start.origin is not None:
            return f"{start.origin}{self.server.base_url}"
        self._adoption = Adoption(self)
        return await self._adoption.url()

    async def finish_start(self) -> str:
        """Go on with a start that a hub before this one began.

        Raises:
            StartFailed: it has no job, or the job has ended.
        """
        with metrics.counted(self._about):
            start = self._current
            if start.job is None:
                age = (utcnow() - start.attempted).total_seconds()
                job = await self._found(start, LATE_SUBMISSION_SECONDS - age)
                if job is None:
                    self._fail(Message("start.failed.interrupted"))
                self._keep(self._current.with_job(job))
            return await self._until_answering()

    def start_polling(self) -> None:
        """JupyterHub's last step of a start and of a restart check: from here on, poll."""
        if self._departed is not None:
            self._departed = None
            return
        super().start_polling()
        if self._check_pending:
            adoption = self._adoption or Adoption(self)
            self._adoption = adoption
            adoption.checked()
