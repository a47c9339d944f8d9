"""How long a company waits for a sandbox: from the request in the portal to the answer of the sandbox's walled lab."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bench.errors import BenchmarkFailed
from bench.http import wait_for_server
from bench.limit import EmptyJob
from bench.result import Result
from bench.site import COMPANY, CPUS, MEMORY, BenchSite, running_site
from bench.spawn_latency import not_quiet, say, settle
from hub_config.login import keys
from hub_config.run.browser import Browser
from portal.configuration import SERVICE
from sandboxes.folders import Folders

NAME = "sandbox-start"
PEER = "own notebook of the same person"
STOP_SECONDS = 60.0
_ANSWER_SECONDS = 30.0
_WISH = {
    "title": "Meting", "purpose": "Meten hoe lang het duurt", "sector": "water", "data_class": "open", "days": "1",
    "forbidden": "no", "people": "no", "preparing": "no", "product": "no", "talks": "no", "personal": "no",
}  # fmt: skip


@dataclass
class Measured:
    """The values so far, in seconds.

    Args:
        product: from the form to the lab's answer.
        peer: from the request for the person's own server to its answer.
        job: an empty job of that size.
        files: of `product`: until the sandbox's folders and starter kit are there, the ledger's entry before them.
        accounts: of `product`: until the portal has answered the form, because hub and Slurm know the sandbox.
        page: of `product`: until the sandbox's page is shown, with a token that knows the new account.
        start: of `product`: the rest, from the request for the lab to its answer.
    """

    product: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)
    job: list[float] = field(default_factory=list)
    files: list[float] = field(default_factory=list)
    accounts: list[float] = field(default_factory=list)
    page: list[float] = field(default_factory=list)
    start: list[float] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)

    @property
    def own(self) -> list[float]:
        """What a sandbox costs beyond the start of a server."""
        return [sum(parts) for parts in zip(self.files, self.accounts, self.page, strict=True)]


class Entrepreneur:
    """A member of a company, logged in at hub and portal.

    Args:
        site: the running site.
    """

    def __init__(self, site: BenchSite) -> None:
        self._site = site
        self._portal = f"http://{SERVICE}.{site.site.hub.host}"
        self._browser = Browser(site.site, seconds=_ANSWER_SECONDS)
        self._browser.headers["Sec-Fetch-Mode"] = "navigate"
        self._browser.submit("/hub/login", "/hub/login/key", key=keys.mint(site.state))
        self._browser.submit("/hub/login", "/hub/login", username=COMPANY)
        self._see("/")

    def close(self) -> None:
        """Close the connections."""
        self._browser.close()

    def start_sandbox(self, measured: Measured) -> None:
        """Ask for a sandbox, open it, and end it.

        Raises:
            BenchmarkFailed: one of the steps is refused, or the lab does not answer in time.
        """
        form = {**_WISH, "_xsrf": self._form_token()}
        begin, clock = time.monotonic(), time.time()
        answer = self._browser.post(f"{self._portal}/sandboxes", data=form, headers={"Origin": self._portal})
        asked = time.monotonic()
        goal = answer.headers.get("location", "")
        found = re.search(r"sandboxes%2F([a-z2-7]{8})", goal)
        if found is None:
            raise self._failed(f"the portal answered {answer.status_code} to the request")
        # A kit appears under its name when it is complete; the clock of the files is this machine's.
        there = max(path.lstat().st_ctime for path in Folders(self._site.state, found[1]).files.iterdir())
        self._see(goal)
        shown = time.monotonic()
        account = f"box-{found[1]}-{COMPANY}"
        try:
            running = self._start(account, "", begin)
            measured.product.append(running)
            measured.files.append(there - clock)
            measured.accounts.append(asked - begin - (there - clock))
            measured.page.append(shown - asked)
            measured.start.append(running - (shown - begin))
        finally:
            self._end(found[1], account)

    def start_own(self, measured: Measured) -> None:
        """Start the person's own notebook, as for a course, and stop it.

        Raises:
            BenchmarkFailed: as for `start_sandbox`.
        """
        try:
            measured.peer.append(self._start(COMPANY, "cpu-small", time.monotonic()))
        finally:
            self._stop(COMPANY)

    def _start(self, account: str, profile: str, begin: float) -> float:
        answer = self._hub("POST", f"users/{account}/server", {"profile": profile} if profile else {})
        if answer.status_code not in (201, 202):
            raise self._failed(f"the hub answered {answer.status_code} to the request for {account}'s server")
        return wait_for_server(
            self._browser,
            f"http://{account}.{self._site.site.hub.host}/user/{account}/api",
            {},
            begin=begin,
            failed=self._failed,
            lives=lambda: bool(self._hub("GET", f"users/{account}").json().get("servers")),
        )

    def _end(self, sandbox: str, account: str) -> None:
        form = {"_xsrf": self._form_token(), "sure": "yes"}
        address = f"{self._portal}/sandboxes/{sandbox}/end"
        answer = self._browser.post(address, data=form, headers={"Origin": self._portal})
        if answer.status_code != 303:
            raise self._failed(f"the portal answered {answer.status_code} to the end of a sandbox")
        self._until(lambda: self._hub("GET", f"users/{account}").status_code == 404, f"{account} stays")

    def _stop(self, account: str) -> None:
        def gone() -> bool:
            # 204: it has stopped; 400 and 404: it is not running.
            return self._hub("DELETE", f"users/{account}/server").status_code in (204, 400, 404)

        self._until(gone, f"the server of {account} does not stop")

    def _until(self, done: Callable[[], bool], otherwise: str) -> None:
        until = time.monotonic() + STOP_SECONDS
        while not done():
            if time.monotonic() > until:
                raise self._failed(otherwise)
            time.sleep(0.1)

    def _see(self, path: str) -> httpx.Response:
        answer = self._browser.get(f"{self._portal}{path}", follow_redirects=True)
        if answer.status_code != 200:
            raise self._failed(f"the portal answered {answer.status_code} to {path}")
        return answer

    def _form_token(self) -> str:
        return self._browser.token(f"{self._portal}/")

    def _hub(self, method: str, path: str, body: dict[str, str] | None = None) -> httpx.Response:
        headers = {"Authorization": f"token {self._site.token}"}
        return self._browser.request(method, f"/hub/api/{path}", headers=headers, json=body)

    def _failed(self, what: str) -> BenchmarkFailed:
        return BenchmarkFailed(f"{NAME}: {what}.", "There is no figure.", f"Logs: {self._site.state.logs}")


def run(n: int) -> Result:
    """A new sandbox's lab, the same person's own notebook, and an empty job, in turn.

    Args:
        n: repetitions.

    Raises:
        LeerlabError: a side does not start, does not answer or does not stop.
    """
    measured = Measured()
    with _site() as (site, person, job):
        say("warming up")
        _repetition(site, person, job, Measured(), 0)
        for turn in range(n):
            say(f"repetition {turn + 1} of {n}")
            _repetition(site, person, job, measured, turn)
    return Result(NAME, "s", measured.product, {PEER: measured.peer}, measured.job, _notes(measured))


def _repetition(site: BenchSite, person: Entrepreneur, job: EmptyJob, measured: Measured, turn: int) -> None:
    """Each side once, another one first each time, with no other job in Slurm."""
    steps: list[Callable[[], None]] = [
        lambda: person.start_sandbox(measured),
        lambda: person.start_own(measured),
        lambda: measured.job.append(job.measure()),
    ]
    measured.loads.append(os.getloadavg()[0])
    for place in range(len(steps)):
        settle(site.slurm_conf)
        steps[(turn + place) % len(steps)]()


@contextmanager
def _site() -> Iterator[tuple[BenchSite, Entrepreneur, EmptyJob]]:
    folder = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    try:
        with running_site(folder, say, sandboxes=True) as site:
            person = Entrepreneur(site)
            try:
                yield site, person, EmptyJob(site.slurm_conf, folder)
            finally:
                person.close()
    except BaseException:
        say(f"the logs stay in {folder}")
        raise
    shutil.rmtree(folder)


def _notes(measured: Measured) -> list[str]:
    files, accounts, page, own, start = (
        statistics.median(each)
        for each in (measured.files, measured.accounts, measured.page, measured.own, measured.start)
    )
    most = max(measured.loads)
    notes = [
        "product: from sending the form to the first HTTP 200 of the sandbox's lab through the proxy; goal: under 60 s",
        f"own part, beyond the start of a server: {own:.3f} s; goal: under 3 s; it is: ledger, folders and starter kit "
        f"{files:.3f} s, the hub's account and role and Slurm's account with its budget {accounts:.3f} s, its "
        f"page with a new login {page:.3f} s; medians",
        f"the start itself: {start:.3f} s; the peer's: {statistics.median(measured.peer):.3f} s; medians",
        "peer: the same person's own walled notebook of the same profile on the same site, without a sandbox",
        f"limit: what Slurm itself needs to start an empty job of {CPUS} CPU and {MEMORY}, and no server in it; Slurm "
        "looks for jobs to start once a second, so every side has a random wait of up to a second in it",
        f"{os.cpu_count()} processors; load average at the start of each repetition at most {most:.2f}",
    ]
    return notes + not_quiet(most)
