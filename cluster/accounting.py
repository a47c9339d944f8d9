"""What accounts may use and have used: budgets that Slurm itself enforces, through sacctmgr, scontrol and sacct.

An account is Slurm's: jobs name it, records bear its name, and its budget of GPU minutes holds for all its jobs
together, those that run and those to come (`GrpTRESMins`). Slurm starts a job only if its whole time still fits, so
nobody's work is cut off; a job that does not fit waits, with a reason that begins with `AssocGrp`. A part of a GPU
(shard) is charged as that part of a GPU: see `cluster.accounting_daemons`.

Sources: sacctmgr(1), scontrol(1) (show assoc_mgr), sacct(1) of Slurm 22.05.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from base.errors import InputError
from base.paths import State
from cluster import answers
from cluster.command import ANSWER_SECONDS, COMMANDS, Commands, failure, unavailable
from cluster.embedded import account_name, slurm_conf
from cluster.errors import SlurmRefused
from cluster.gpus import GPU
from cluster.request import ACCOUNT
from cluster.settings import EmbeddedCluster, ExistingCluster

COURSES = "courses"
"""The account of everything that people do for courses; without a budget."""

MOST_MINUTES = 100_000_000
ALWAYS = "2020-01-01T00:00:00"
"""Before any Leerlab."""
_UNLIMITED = -1
# Seconds between two looks whether a change is in force; it mostly is at the first.
_LOOK = 0.05
# Of two that add the same at once slurmdbd refuses one ("Unspecified error"): seconds until it is tried again.
_REFUSED_AT_ONCE = (0.2, 0.5)
_NOTHING = re.compile(r"^\s*Nothing (?:new added|deleted)", re.MULTILINE)
_ASSOCIATION = re.compile(
    r"ClusterName=\S+ Account=(?P<account>\S+) UserName=(?P<user>[^\s(]*)\S* .*"
    r"\bGrpTRESMins=(?:\S*,)?billing=(?P<limit>N|\d+)\("
)


@dataclass(frozen=True)
class Usage:
    """What an account's jobs have used, those that run included.

    Args:
        cpu_seconds: cores that jobs had, times the seconds they had them.
        gpu_seconds: the same of GPUs; a shard counts as its part of a GPU.
        since: when the first of its jobs began; None if none has.
    """

    cpu_seconds: int
    gpu_seconds: int
    since: datetime | None


@dataclass(frozen=True)
class _Standing:
    """What is in force of an account: whether it exists, its budget in billing minutes, whether our user may use it."""

    exists: bool
    limit: int | None
    usable: bool


class Accounts:
    """The accounts of one Slurm that has accounting.

    Args:
        conf: its slurm.conf.
        user: the unix account as which jobs run.
        commands: the folder that holds sacctmgr, scontrol and sacct.
        answer: seconds that one command may take.
    """

    def __init__(self, conf: Path, *, user: str, commands: Path = COMMANDS, answer: float = ANSWER_SECONDS) -> None:
        self._user = user
        self._commands = Commands(conf, commands, answer)

    async def ensure(self, account: str, gpu_minutes: int | None) -> None:
        """Have an account with this budget, and let jobs be charged to it. Again changes nothing.

        The budget is for the account's whole life: what its jobs have used stays counted when it is set anew. A call
        that is interrupted leaves an account that no job can use yet; the next call goes on from there.

        Args:
            account: its name: lower-case letters, digits and `-`.
            gpu_minutes: minutes of one GPU; None: no limit.

        Raises:
            SlurmUnavailable: no answer; the account may have changed, so call again.
            SlurmRefused: Slurm says no.
            InputError: the name or the budget is out of bounds.
        """
        _check(account)
        if gpu_minutes is not None and not 0 <= gpu_minutes <= MOST_MINUTES:
            raise InputError(f"A budget of {gpu_minutes} GPU minutes is out of bounds (allowed: 0 to {MOST_MINUTES}).")
        wanted = _Standing(True, None if gpu_minutes is None else gpu_minutes * GPU, True)
        for pause in _REFUSED_AT_ONCE:
            try:
                return await self._ensure(account, wanted)
            except SlurmRefused:
                await asyncio.sleep(pause)
        return await self._ensure(account, wanted)

    async def _ensure(self, account: str, wanted: _Standing) -> None:
        now = await self._standing(account)
        if now == wanted:
            return
        limit = f"GrpTRESMins=billing={_UNLIMITED if wanted.limit is None else wanted.limit}"
        # The budget comes before anybody may use it.
        known = now.exists or not await self._change(
            account, "add", "account", account, f"Description={account}", "Organization=leerlab", limit
        )
        if known and now.limit != wanted.limit:
            await self._change(account, "modify", "account", "where", f"name={account}", "set", limit)
        if not now.usable:
            await self._change(account, "add", "user", self._user, f"Account={account}")
        await self._in_force(account, wanted)

    async def remove(self, account: str) -> None:
        """Let no more jobs be charged to an account. What it has used stays on record. Again changes nothing.

        Raises:
            SlurmUnavailable: no answer; call again.
            SlurmRefused: jobs of it still run or wait.
            InputError: the name is out of bounds, or it is the account of all courses.
        """
        _check(account)
        if account == COURSES:
            raise InputError(f"Account {COURSES} is for all courses and is never removed.")
        nothing = _Standing(False, None, False)
        if await self._standing(account) != nothing:
            await self._change(account, "delete", "account", "where", f"name={account}")
            await self._in_force(account, nothing)

    async def answers(self) -> None:
        """Ask slurmdbd for something small.

        Raises:
            SlurmUnavailable: no answer.
        """
        await self._commands.ask("sacctmgr", ["--noheader", "--parsable2", "show", "cluster", "format=cluster"])

    async def used(self, account: str) -> Usage:
        """What an account's jobs have used so far; seconds may pass before the newest are counted.

        Raises:
            SlurmUnavailable: no answer.
            InputError: the name is out of bounds.
        """
        _check(account)
        output = await self._commands.ask(
            "sacct",
            [
                *("--allusers", "--allocations", "--duplicates", "--noheader", "--parsable2"),
                *(f"--accounts={account}", f"--starttime={ALWAYS}", "--format=Start,ElapsedRaw,AllocTRES"),
            ],
        )
        return parse_usage(output)

    async def _standing(self, account: str) -> _Standing:
        # slurmctld's own memory: what is in force, in one exchange, and known also while slurmdbd is down.
        output = await self._commands.ask(
            "scontrol", ["--oneliner", "show", "assoc_mgr", f"accounts={account}", "flags=assoc"]
        )
        return parse_standing(output, account, self._user)

    async def _in_force(self, account: str, wanted: _Standing) -> None:
        """Return once slurmctld knows what slurmdbd was told, which slurmdbd tells it at once."""
        deadline = time.monotonic() + self._commands.answer
        while (now := await self._standing(account)) != wanted:
            if time.monotonic() > deadline:
                raise unavailable("sacctmgr", sentence=f"account {account} is not in force yet: {now}, not {wanted}")
            await asyncio.sleep(_LOOK)

    async def _change(self, account: str, *words: str) -> bool:
        """Change something in slurmdbd; whether anything was different before."""
        output = await self._commands.run("sacctmgr", ["--immediate", "--quiet", *words])
        if output.code and not _NOTHING.search(output.stdout):
            told = replace(output, stderr=output.stderr or output.stdout)
            raise failure("sacctmgr", told, f"Slurm does not change account {account} ({words[0]} {words[1]}).")
        return not output.code


def _check(account: str) -> None:
    if not ACCOUNT.fullmatch(account):
        raise InputError(f"{account[:80]!r} is no name of an account.", do=f"Use one that matches {ACCOUNT.pattern}.")


def parse_standing(text: str, account: str, user: str) -> _Standing:
    """Read `scontrol --oneliner show assoc_mgr flags=assoc`.

    Raises:
        SlurmUnavailable: the output does not have this format.
    """
    standing = _Standing(False, None, False)
    for line in text.splitlines():
        if not line.startswith("ClusterName="):
            continue
        match = _ASSOCIATION.match(line)
        if match is None:
            raise answers.not_understood("scontrol", line)
        if match["account"] != account:
            continue
        if not match["user"]:
            limit = None if match["limit"] == "N" else int(match["limit"])
            standing = replace(standing, exists=True, limit=limit)
        elif match["user"] == user:
            standing = replace(standing, usable=True)
    return standing


def parse_usage(text: str) -> Usage:
    """Read `sacct --format=Start,ElapsedRaw,AllocTRES` with times in seconds since 1970.

    Raises:
        SlurmUnavailable: the output does not have this format.
    """
    cpu = gpu = 0
    starts = []
    for line in text.splitlines():
        try:
            start, elapsed, tres = line.split("|")
            given = amounts(tres, "sacct")
            cpu += int(elapsed) * int(given.get("cpu", 0))
            gpu += int(elapsed) * int(given.get("billing", 0))
            if start.isdecimal():
                starts.append(int(start))
        except ValueError as error:
            raise answers.not_understood("sacct", line) from error
    return Usage(cpu, gpu // GPU, datetime.fromtimestamp(min(starts), UTC) if starts else None)


def amounts(text: str, program: str) -> dict[str, str]:
    """The amounts in a list such as `billing=250,cpu=1,gres/shard=1,mem=64M,node=1`.

    Raises:
        SlurmUnavailable: it is no such list.
    """
    pairs = [part.partition("=") for part in text.split(",") if part]
    if any(not equals for _, equals, _ in pairs):
        raise answers.not_understood(program, text)
    return {name: amount for name, _, amount in pairs}


def has_accounting(settings: EmbeddedCluster | ExistingCluster) -> bool:
    """Whether jobs of this cluster are charged to accounts."""
    return settings.accounting


def course_account(settings: EmbeddedCluster | ExistingCluster) -> str | None:
    """The account of runs for courses; None where there is no accounting."""
    return COURSES if has_accounting(settings) else None


def accounts_of(settings: EmbeddedCluster | ExistingCluster, state: State) -> Accounts | None:
    """The accounts of the site's cluster; None where there is no accounting.

    Raises:
        LeerlabError: started as root, or by an account without a name.
    """
    if not has_accounting(settings):
        return None
    answer = settings.interval.answer
    if isinstance(settings, EmbeddedCluster):
        return Accounts(slurm_conf(state), user=account_name(), answer=answer)
    return Accounts(settings.slurm_conf, user=account_name(), commands=settings.commands, answer=answer)


async def establish(settings: EmbeddedCluster | ExistingCluster, state: State) -> None:
    """What every start needs, once Slurm answers: the account of courses. Changes nothing where it is there.

    Raises:
        SlurmUnavailable: no answer.
        SlurmRefused: Slurm says no.
    """
    if (accounts := accounts_of(settings, state)) is not None:
        await accounts.ensure(COURSES, None)
