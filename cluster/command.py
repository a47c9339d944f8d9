"""One command of Slurm, awaited: an argument list, bounded in time, and no answer told from a no."""

from __future__ import annotations

import asyncio
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cluster import answers, metrics
from cluster.errors import SlurmError, SlurmRefused, SlurmUnavailable

COMMANDS = Path("/usr/bin")
ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Output:
    """What a command left.

    Args:
        code: its exit code; negative: the signal that ended it.
        stdout, stderr: what it printed.
    """

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Commands:
    """The commands of one Slurm.

    Args:
        conf: its slurm.conf.
        folder: the folder that holds sbatch, squeue, sacctmgr and the others.
        answer: seconds that one command may take; after that it is killed and its outcome is unknown.
    """

    conf: Path
    folder: Path = COMMANDS
    answer: float = ANSWER_SECONDS

    async def run(
        self,
        program: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        stdin: str | None = None,
    ) -> Output:
        """Run a command to its end.

        Args:
            program: its name.
            arguments: its arguments; every account on the machine can read them.
            environment: variables beside those that every command gets.
            stdin: what it reads.

        Raises:
            SlurmUnavailable: it cannot be started, or did not end in time.
        """
        begin, outcome = time.monotonic(), "no-answer"
        try:
            output = await self._run(program, arguments, environment or {}, stdin)
            outcome = "failed" if output.code else "answered"
            return output
        finally:
            metrics.COMMANDS.labels(program, outcome).inc()
            metrics.SECONDS.labels(program).observe(time.monotonic() - begin)

    async def _run(
        self, program: str, arguments: Sequence[str], environment: Mapping[str, str], stdin: str | None
    ) -> Output:
        # Without a slurm.conf the commands look for one through DNS.
        if not await asyncio.to_thread(self.conf.is_file):
            raise unavailable(program, sentence=f"there is no {self.conf}")
        own = {"SLURM_CONF": str(self.conf), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
        if program != "sbatch":
            own |= {"SLURM_TIME_FORMAT": "%s", "TZ": "UTC"}
        try:
            process = await asyncio.create_subprocess_exec(
                str(self.folder / program),
                *arguments,
                env={**own, **environment, "SLURM_CONF": str(self.conf)},
                stdin=DEVNULL if stdin is None else PIPE,
                stdout=PIPE,
                stderr=PIPE,
            )
        except OSError as error:
            raise unavailable(program, sentence=str(error)) from error
        try:
            async with asyncio.timeout(self.answer):
                stdout, stderr = await process.communicate(None if stdin is None else stdin.encode())
        except TimeoutError:
            raise unavailable(program, sentence=f"no answer within {self.answer:g} s") from None
        finally:
            await _end(process)
        return Output(process.returncode or 0, stdout.decode(errors="replace"), stderr.decode(errors="replace"))

    async def ask(self, program: str, arguments: Sequence[str]) -> str:
        """The output of a command that only reads: however it fails, the answer is unknown.

        Raises:
            SlurmUnavailable: it failed.
        """
        output = await self.run(program, arguments)
        if output.code:
            raise unavailable(program, sentence=answers.sentence(output.stderr or output.stdout))
        return output.stdout


async def _end(process: Process) -> None:
    """Kill a command that still runs, and reap it, so that none outlives the call that started it."""
    if process.returncode is None:
        process.kill()
        await process.communicate()


def failure(program: str, output: Output, refused: str) -> SlurmError:
    """What a command's failure means: no answer, or a no.

    Args:
        program: its name.
        output: what it left.
        refused: one sentence for the case that Slurm said no.
    """
    sentence = answers.sentence(output.stderr)
    if answers.is_no_answer(output.stderr):
        return unavailable(program, sentence=sentence)
    return SlurmRefused(refused, sentence)


def unavailable(program: str, *, sentence: str) -> SlurmUnavailable:
    """The error for a command that got no answer."""
    return SlurmUnavailable(
        f"Slurm does not answer {program}: {sentence or 'no message'}.",
        "What was asked is unknown for now; running jobs go on.",
        "Leerlab keeps asking; if it lasts, see whether slurmctld and munged run.",
    )


def submitted(output: Output, name: str) -> int:
    """The number of the job that sbatch (`--parsable`) has submitted.

    Args:
        output: of sbatch.
        name: the job's.

    Raises:
        SlurmUnavailable: no answer; the job may exist all the same.
        SlurmRefused: Slurm does not take it; no job exists.
    """
    if output.code:
        raise failure("sbatch", output, f"Slurm does not take job {name}.")
    number = output.stdout.strip().partition(";")[0]
    if not number.isdecimal():
        raise answers.not_understood("sbatch", output.stdout)
    return int(number)


def cancelled(output: Output) -> None:
    """What scancel has said: jobs that ended already, or that Slurm does not know, are no error.

    Args:
        output: of scancel.

    Raises:
        SlurmUnavailable: no answer; any of the jobs may go on.
        SlurmRefused: Slurm does not allow it.
    """
    lines = [line for line in output.stderr.splitlines() if line.strip()]
    wrong = [line for line in lines if "Invalid job id" not in line and "already completing or completed" not in line]
    if not output.code or (lines and not wrong):
        return
    unanswered = [line for line in wrong if answers.is_no_answer(line)]
    raise failure("scancel", replace(output, stderr="\n".join(unanswered or wrong)), "Slurm does not cancel jobs.")
