"""Accounts of persons in Slurm, and QOS of profiles, kept as site.yaml says: the limits that Slurm itself enforces.

On a site with one unix account Slurm sees one user, so a person is an *account*: `person-<name>` below
`leerlab-limit-<id>` below `leerlab-people`. What one person may have stands on the first, what a group has together on
the second, and Slurm holds a job to both. A profile's `per_person` is a QOS, whose `MaxJobsPerAccount` is then a limit
of each person. See docs/decisions/0005-profiles-and-limits.md.

What Leerlab made bears its mark (an account's organization, a QOS's description), and nothing without it is changed.

Sources: sacctmgr(1), scontrol(1) (show assoc_mgr) of Slurm 22.05; https://slurm.schedmd.com/resource_limits.html.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from base.errors import InputError
from cluster import answers
from cluster.accounting import COURSES
from cluster.command import Commands, failure, unavailable
from cluster.errors import NotOurs, SlurmRefused
from cluster.limits import (
    LIMIT,
    PEOPLE,
    PERSON,
    Grant,
    GroupLimits,
    kept_by_slurm,
    limit_account,
    limits_of,
    person_account,
)
from cluster.request import ACCOUNT
from cluster.settings import OWN_QOS, Qos

MARK = "leerlab"
"""Organization of accounts, and description of QOS, that Leerlab made."""
_LOOK = 0.05
_REFUSED_AT_ONCE = (0.2, 0.5, 1.0)
# One argument of a command: far below ARG_MAX, and slurmdbd answers at once.
_MOST_AT_ONCE = 200
_NOTHING = re.compile(r"^\s*Nothing (?:new added|deleted|modified)", re.MULTILINE)
_ASSOCIATION = re.compile(
    r"ClusterName=\S+ Account=(?P<account>\S+) UserName=(?P<user>[^\s(]*)\S* .*"
    r"\bParentAccount=(?P<parent>[^\s(]*)\S* .*\bGrpJobs=(?P<jobs>N|\d+)\(.*"
    r"\bGrpTRES=(?:\S*,)?billing=(?P<billing>N|\d+)\(\S* GrpTRESMins=(?:\S*,)?billing=(?P<minutes>N|\d+)\("
)


@dataclass(frozen=True)
class Standing:
    """What is in force of an account.

    Args:
        parent: the account above it.
        grant: what it may have.
        usable: whether the site's unix account may use it.
    """

    parent: str
    grant: Grant
    usable: bool


@dataclass(frozen=True)
class QosStanding:
    """A QOS as slurmdbd has it.

    Args:
        description: says whose it is.
        priority: in the queue.
        per_account: most jobs of one account at once; None: not limited.
    """

    description: str
    priority: int
    per_account: int | None


class People:
    """The accounts of the persons of one site.

    Args:
        commands: of a Slurm with accounting.
        user: the unix account as which jobs run.
        limits: the section `limits` of site.yaml.
        per_person: most servers of one person, by QOS that keeps it (`leerlab-<profile>`).
        qos: the QOS of the embedded Slurm, which Leerlab makes.
        named: QOS of an existing Slurm that profiles name: jobs of ours may use them, and they are never changed.
    """

    def __init__(
        self,
        commands: Commands,
        *,
        user: str,
        limits: Sequence[GroupLimits] = (),
        per_person: Mapping[str, int] | None = None,
        qos: Sequence[Qos] = (),
        named: Sequence[str] = (),
    ) -> None:
        self._commands = commands
        self._user = user
        self._limits = tuple(limits)
        wanted = {one.name: QosStanding(MARK, one.priority, None) for one in qos}
        self._qos = wanted | {name: QosStanding(MARK, 0, most) for name, most in (per_person or {}).items()}
        self._named = tuple(named)
        self._one_at_a_time = asyncio.Lock()
        self._known: dict[str, Standing] = {}
        self._allowed: set[tuple[str, str]] = set()

    @property
    def charges_people(self) -> bool:
        """Whether persons have accounts of their own: Slurm keeps limits of theirs."""
        return kept_by_slurm(self._limits) or any(one.per_account is not None for one in self._qos.values())

    def _wanted(self, groups: Collection[str]) -> Standing:
        limits = limits_of(self._limits, groups)
        return Standing(limit_account(limits), Grant.of(limits.each) if limits else Grant(), True)

    async def establish(self) -> None:
        """Bring site.yaml into Slurm: QOS, accounts of groups, those of persons below them. Again changes nothing.

        Raises:
            SlurmUnavailable: no answer; some of it may be in force, so call again.
            SlurmRefused: Slurm says no, or an account or a QOS of such a name is not Leerlab's.
        """
        async with self._one_at_a_time:
            if not (self.charges_people or self._qos or self._named or PEOPLE in await self._standings()):
                return
            await self._establish_qos()
            tree = {limit_account(one): Standing(PEOPLE, Grant.of(one.together), False) for one in self._limits}
            await self._bring({PEOPLE: Standing("root", Grant(), False)})
            await self._bring(tree)
            await self._allow_qos()
            there = await self._standings()
            # Whose limits changed, and who is below limits that are gone; what a person is now, their next start says.
            by_parent = {limit_account(one): Grant.of(one.each) for one in self._limits}
            await self._bring(
                {
                    account: Standing(one.parent if one.parent in by_parent else PEOPLE,
                                      by_parent.get(one.parent, Grant()), True)
                    for account, one in there.items()
                    if account.startswith(PERSON) and (one.parent == PEOPLE or one.parent.startswith(LIMIT))
                }
            )  # fmt: skip
            await self._forget([name for name in there if name.startswith(LIMIT) and name not in tree])

    async def ensure(self, groups_of: Mapping[str, Collection[str]], *, anew: bool = False) -> None:
        """Have an account for each person, with the limits of their groups. Again changes nothing.

        Args:
            groups_of: the groups of each person, by name.
            anew: ask Slurm also about those that were in order when this was last asked.

        Raises:
            SlurmUnavailable: no answer; some may be in force, so call again.
            SlurmRefused: Slurm says no.
            InputError: somebody's name is out of bounds.
        """
        for person in groups_of:
            if not ACCOUNT.fullmatch(person_account(person)):
                raise InputError(f"{person[:80]!r} is no name of a person.", "No account in Slurm was made for it.")
        wanted = {person_account(person): self._wanted(groups) for person, groups in groups_of.items()}
        if not anew:
            wanted = {account: one for account, one in wanted.items() if self._known.get(account) != one}
        if not wanted:
            return
        async with self._one_at_a_time:
            await self._bring(wanted)
            self._known |= wanted

    async def allow(self, user: str, account: str) -> None:
        """Let a unix account use an account of Slurm's. Again changes nothing, and asks Slurm nothing.

        Args:
            user: name of the unix account.
            account: name of the account.

        Raises:
            SlurmUnavailable: no answer; it may be in force, so call again.
            SlurmRefused: Slurm says no.
        """
        if (user, account) in self._allowed:
            return
        async with self._one_at_a_time:
            if not await self._may(user, account):
                await self._change("add", "user", user, f"Account={account}")
                deadline = time.monotonic() + self._commands.answer
                while not await self._may(user, account):
                    if time.monotonic() > deadline:
                        raise unavailable("sacctmgr", sentence=f"{user} may not use account {account} yet")
                    await asyncio.sleep(_LOOK)
            self._allowed.add((user, account))

    async def _may(self, user: str, account: str) -> bool:
        text = await self._commands.ask("scontrol", ["--oneliner", "show", "assoc_mgr", "flags=assoc"])
        standing = parse_standings(text, user).get(account)
        return standing is not None and standing.usable

    async def _bring(self, wanted: Mapping[str, Standing]) -> None:
        for pause in _REFUSED_AT_ONCE:
            try:
                return await self._brought(wanted)
            except NotOurs:
                raise
            except SlurmRefused:
                # Of two that change the same at once slurmdbd refuses one.
                await asyncio.sleep(pause)
        return await self._brought(wanted)

    async def _brought(self, wanted: Mapping[str, Standing]) -> None:
        there = await self._standings()
        different = {account: one for account, one in wanted.items() if there.get(account) != one}
        if not different:
            return
        await self._see_ours(account for account in different if account in there)
        for one in dict.fromkeys(different.values()):
            # All that are to be alike, in few commands: a class of three hundred is made in a second or two.
            alike = [account for account, each in different.items() if each == one]
            for some in (alike[at : at + _MOST_AT_ONCE] for at in range(0, len(alike), _MOST_AT_ONCE)):
                await self._make(one, some, there)
        await self._in_force(different)

    async def _make(self, wanted: Standing, accounts: Sequence[str], there: Mapping[str, Standing]) -> None:
        words = wanted.grant.words()
        new = [account for account in accounts if account not in there]
        if new:
            parent = () if wanted.parent == "root" else (f"Parent={wanted.parent}",)
            await self._change("add", "account", ",".join(new), *parent, f"Organization={MARK}", *words)
        moved = [name for name in accounts if name in there and there[name].parent != wanted.parent]
        if moved:
            await self._change(
                "modify", "account", "where", f"name={','.join(moved)}", "set", f"Parent={wanted.parent}"
            )
        changed = [name for name in accounts if name in there and there[name].grant != wanted.grant]
        if changed:
            await self._change("modify", "account", "where", f"name={','.join(changed)}", "set", *words)
        unusable = [name for name in accounts if wanted.usable and not (name in there and there[name].usable)]
        if unusable:
            await self._change("add", "user", self._user, f"Account={','.join(unusable)}")

    async def _see_ours(self, accounts: Iterable[str]) -> None:
        names = set(accounts)
        if not names:
            return
        told = await self._commands.ask(
            "sacctmgr", ["--noheader", "--parsable2", "show", "account", "format=account,organization"]
        )
        foreign = sorted(
            name for name, _, organization in (line.partition("|") for line in told.splitlines())
            if name in names and organization != MARK
        )  # fmt: skip
        if foreign:
            raise NotOurs("account", foreign[0])

    async def _standings(self) -> dict[str, Standing]:
        # slurmctld's own memory: what is in force, in one exchange, and known also while slurmdbd is down.
        text = await self._commands.ask("scontrol", ["--oneliner", "show", "assoc_mgr", "flags=assoc"])
        return parse_standings(text, self._user)

    async def _in_force(self, wanted: Mapping[str, Standing]) -> None:
        """Return once slurmctld knows what slurmdbd was told, which slurmdbd tells it at once."""
        deadline = time.monotonic() + self._commands.answer
        while True:
            there = await self._standings()
            late = sorted(account for account, one in wanted.items() if there.get(account) != one)
            if not late:
                return
            if time.monotonic() > deadline:
                now, then = there.get(late[0]), wanted[late[0]]
                raise unavailable("sacctmgr", sentence=f"account {late[0]} is not in force yet: {now}, not {then}")
            await asyncio.sleep(_LOOK)

    async def _forget(self, accounts: Sequence[str]) -> None:
        """Remove accounts of limits that site.yaml no longer has; those that jobs still use go at a later start."""
        ours = []
        for account in accounts:
            try:
                await self._see_ours([account])
            except NotOurs:
                continue
            ours.append(account)
        for account in ours:
            try:
                await self._change("delete", "account", "where", f"name={account}")
            except SlurmRefused:
                continue

    # -- QOS

    async def _establish_qos(self) -> None:
        there = await self._qos_there()
        for name, wanted in self._qos.items():
            now = there.get(name)
            if now == wanted:
                continue
            if now is not None and now.description != MARK:
                raise NotOurs("QOS", name)
            most = -1 if wanted.per_account is None else wanted.per_account
            words = (f"Priority={wanted.priority}", f"MaxJobsPerAccount={most}")
            if now is None:
                await self._change("add", "qos", name, f"Description={MARK}", *words)
            else:
                await self._change("modify", "qos", "where", f"name={name}", "set", *words)
        for name in (name for name, one in there.items() if one.description == MARK and name not in self._qos):
            # A job that waits would be left without any QOS and never start.
            if not await self._commands.ask("squeue", ["--noheader", f"--qos={name}", "--format=%i"]):
                await self._change("delete", "qos", "where", f"name={name}")

    async def _qos_there(self) -> dict[str, QosStanding]:
        form = "format=name,description,priority,maxjobsperaccount"
        return parse_qos(await self._commands.ask("sacctmgr", ["--noheader", "--parsable2", "show", "qos", form]))

    async def _allow_qos(self) -> None:
        """Let jobs of people and courses run under the QOS that profiles name."""
        names = (*self._qos, *self._named)
        if not names:
            return
        told = await self._commands.ask(
            "sacctmgr", ["--noheader", "--parsable2", "show", "assoc", "format=account,user,qos"]
        )
        rows = [line.split("|") for line in told.splitlines()]
        allowed = {row[0]: set(row[2].split(",")) for row in rows if len(row) == 3 and not row[1]}
        for account in (PEOPLE, COURSES):
            if missing := [name for name in names if name not in allowed.get(account, set())]:
                await self._change("modify", "account", "where", f"name={account}", "set", f"QOS+={','.join(missing)}")

    async def _change(self, *words: str) -> None:
        output = await self._commands.run("sacctmgr", ["--immediate", "--quiet", *words])
        if output.code and not _NOTHING.search(output.stdout):
            told = replace(output, stderr=output.stderr or output.stdout)
            raise failure("sacctmgr", told, f"Slurm does not {words[0]} {words[1]} {words[2][:200]}.")


def per_person_of(profiles: Iterable[tuple[str, int | None]]) -> dict[str, int]:
    """The QOS that keep profiles to so many servers a person.

    Args:
        profiles: id and `per_person` of each.
    """
    return {OWN_QOS + name: most for name, most in profiles if most is not None}


def parse_standings(text: str, user: str) -> dict[str, Standing]:
    """Read `scontrol --oneliner show assoc_mgr flags=assoc`.

    Raises:
        SlurmUnavailable: the output does not have this format.
    """
    accounts: dict[str, Standing] = {}
    usable = set()
    for line in text.splitlines():
        if not line.startswith("ClusterName="):
            continue
        match = _ASSOCIATION.match(line)
        if match is None:
            raise answers.not_understood("scontrol", line)
        if not match["user"]:
            numbers = (None if match[what] == "N" else int(match[what]) for what in ("jobs", "billing", "minutes"))
            accounts[match["account"]] = Standing(match["parent"], Grant(*numbers), False)
        elif match["user"] == user:
            usable.add(match["account"])
    return {name: replace(one, usable=name in usable) for name, one in accounts.items()}


def parse_qos(text: str) -> dict[str, QosStanding]:
    """Read `sacctmgr --noheader --parsable2 show qos format=name,description,priority,maxjobsperaccount`.

    Raises:
        SlurmUnavailable: the output does not have this format.
    """
    found = {}
    for line in text.splitlines():
        try:
            name, description, priority, most = line.split("|")
            found[name] = QosStanding(description, int(priority), int(most) if most else None)
        except ValueError as error:
            raise answers.not_understood("sacctmgr", line) from error
    return found
