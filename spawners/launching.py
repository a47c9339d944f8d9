"""The hub's side of `spawners.launcher`: one order to one person's account, through sudo, with a typed answer."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster import answers
from cluster.command import Output, cancelled, submitted, unavailable
from cluster.commands import Slurm
from cluster.errors import SlurmError, SlurmRefused
from spawners import launcher

ANSWER_SECONDS = 30.0
"""More than the launcher gives a command of Slurm."""
SUDO = "/usr/bin/sudo"
_LATE: set[asyncio.Task[tuple[bytes, bytes]]] = set()


@dataclass(frozen=True)
class Launcher:
    """Starts, ends and reads jobs of people, each as its person's own account.

    Args:
        program: path of `launcher.py`, exactly as sudo's rule has it.
        answer: seconds that one order may take.
    """

    program: str
    answer: float = ANSWER_SECONDS

    async def submit(self, uid: int, order: Mapping[str, Any]) -> int:
        """Submit a job.

        Args:
            uid: number of the account.
            order: of `spawners.submission.launch_order`.

        Returns:
            The job's number.

        Raises:
            SlurmUnavailable: no answer; the job may exist all the same.
            SlurmRefused: Slurm does not take it, or the account may not be used; no job exists.
        """
        return submitted(self._output("sbatch", await self._ask(uid, {"order": "submit", **order})), "leerlab-server")

    async def cancel(self, uid: int, jobs: Collection[int]) -> None:
        """Have jobs of one account end; as `cluster.commands.Slurm.cancel`.

        Raises:
            SlurmUnavailable, SlurmRefused: as there.
        """
        numbers = sorted(jobs)
        for some in (numbers[at : at + launcher.MOST_JOBS] for at in range(0, len(numbers), launcher.MOST_JOBS)):
            cancelled(self._output("scancel", await self._ask(uid, {"order": "cancel", "jobs": some})))

    async def read(self, uid: int, starts: Sequence[str], file: str) -> dict[str, str]:
        """The ends of one file of several starts of an account; what is not there is left out.

        Args:
            uid: number of the account.
            starts: ids of the starts.
            file: `launcher.LOG`, `SLURM_LOG` or `USE`.

        Raises:
            SlurmUnavailable: no answer.
            SlurmRefused: the account may not be used.
        """
        told = await self._ask(uid, {"order": "read", "starts": list(starts), "file": file})
        texts = told.get("texts")
        if not isinstance(texts, dict):
            raise answers.not_understood("the launcher", str(told))
        return {str(start): str(text) for start, text in texts.items() if start in starts}

    @staticmethod
    def _output(program: str, told: Mapping[str, Any]) -> Output:
        if "silent" in told:
            raise unavailable(program, sentence=str(told["silent"]))
        try:
            return Output(int(told["code"]), str(told["stdout"]), str(told["stderr"]))
        except (KeyError, TypeError, ValueError) as error:
            raise answers.not_understood("the launcher", str(told)) from error

    async def _ask(self, uid: int, order: Mapping[str, Any]) -> dict[str, Any]:
        words = [SUDO, "-n", "-u", f"#{uid}", "/usr/bin/python3", "-I", "-S", self.program]
        try:
            process = await asyncio.create_subprocess_exec(
                *words, stdin=PIPE, stdout=PIPE, stderr=PIPE, env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}, cwd="/"
            )
        except OSError as error:
            raise unavailable("sudo", sentence=str(error)) from error
        # sudo is root's process, which only ends by itself: the launcher and its commands are bounded in time.
        talk = asyncio.create_task(process.communicate(json.dumps(order).encode()))
        _LATE.add(talk)
        talk.add_done_callback(_LATE.discard)
        try:
            out, err = await asyncio.wait_for(asyncio.shield(talk), self.answer)
        except TimeoutError:
            raise unavailable("sudo", sentence=f"no answer within {self.answer:g} s") from None
        try:
            told = json.loads(out)
        except ValueError:
            told = None
        if process.returncode == 0 and isinstance(told, dict):
            return told
        said = str(told["error"]) if isinstance(told, dict) and "error" in told else err.decode(errors="replace")
        sentence = answers.sentence(said) or f"exit code {process.returncode}"
        raise SlurmRefused(f"No job can run as account number {uid}.", sentence)


async def cancel(slurm: Slurm, launcher: Launcher | None, jobs: Iterable[tuple[int, int | None]]) -> None:
    """Have jobs end, each as the account that it runs as.

    Args:
        slurm: for jobs of the site's own account.
        launcher: for those of people's accounts; None: Slurm itself says whether those may be cancelled.
        jobs: the job's number, and that of its unix account; None: the site's own.

    Raises:
        SlurmUnavailable, SlurmRefused: as `Slurm.cancel`, after all others have been tried; the first of them.
    """
    by_account: dict[int | None, list[int]] = {}
    for job, uid in jobs:
        by_account.setdefault(uid if launcher is not None else None, []).append(job)
    errors = []
    for uid, numbers in by_account.items():
        try:
            if uid is None or launcher is None:
                await slurm.cancel(numbers)
            else:
                await launcher.cancel(uid, numbers)
        except SlurmError as error:
            errors.append(error)
    if errors:
        raise errors[0]
