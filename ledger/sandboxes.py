"""Sandboxes, their members and invitations in the ledger: every change stands there with its audit entry.

Audit entries name sandboxes by id only, never by title, because they stay after erasure.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, select

from base.errors import InputError, LeerlabError
from ledger.schema import invitation_table, member_table, opening_table, sandbox_table, transfer_table
from ledger.store import Ledger

INVITATION_DAYS = 7
SAME_REQUEST = timedelta(seconds=10)
"""Within this time the same words from the same person are the same request: a second click on the form's button."""


class DataClass(StrEnum):
    """How much harm it does when the data becomes known."""

    OPEN = "open"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"


class RiskClass(StrEnum):
    """Classes of Regulation (EU) 2024/1689, the AI Act."""

    PROHIBITED = "prohibited"
    HIGH = "high"
    LIMITED = "limited"
    MINIMAL = "minimal"


class SandboxState(StrEnum):
    """Where a sandbox is in its life."""

    WAITING = "waiting"
    ACTIVE = "active"
    REFUSED = "refused"
    ENDING = "ending"
    ERASED = "erased"


MOVES: Mapping[SandboxState, Collection[SandboxState]] = {
    SandboxState.WAITING: {SandboxState.ACTIVE, SandboxState.REFUSED},
    SandboxState.ACTIVE: {SandboxState.ENDING},
    SandboxState.ENDING: {SandboxState.ERASED},
    SandboxState.REFUSED: {SandboxState.ERASED},
    SandboxState.ERASED: set(),
}
"""From which state a sandbox may go to which."""


class NoSuchSandbox(LeerlabError):
    """There is none by this id for this person: absent and somebody else's are the same."""


class NotPossibleNow(LeerlabError):
    """The sandbox or transfer is not in a state in which this can be done."""


@dataclass(frozen=True)
class Sandbox:
    """One sandbox.

    Args:
        id: 8 random characters of base32.
        title, purpose, sector: what the company wrote; empty after erasure.
        data_class: of the data that goes in.
        risk_class: of the application that is tried.
        state: where it is in its life.
        owner: pseudonym of who asked for it.
        created: when it was asked for.
        ends: when it ends by itself.
        ended: when ending began, or when it was refused.
        erased: when nothing of it was left.
    """

    id: str
    title: str
    purpose: str
    sector: str
    data_class: DataClass
    risk_class: RiskClass
    state: SandboxState
    owner: str
    created: datetime
    ends: datetime
    ended: datetime | None
    erased: datetime | None


class SandboxLedger:
    """The part of the ledger about sandboxes.

    Args:
        ledger: the site's ledger.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    # -- sandboxes

    def create(
        self, *, title: str, purpose: str, sector: str, data_class: DataClass, risk_class: RiskClass,
        owner: str, ends: datetime, state: SandboxState, most: int,
    ) -> Sandbox:  # fmt: skip
        """A new sandbox with its owner as its first member; the one just made, when the same request comes again.

        Args:
            title, purpose, sector: as the company wrote them.
            data_class, risk_class: as asked and assessed.
            owner: pseudonym of who asks.
            ends: when it ends by itself.
            state: WAITING for approval, or ACTIVE at once.
            most: how many living sandboxes one person may own.

        Raises:
            NotPossibleNow: the person owns that many already.
        """
        created = now()
        with self._ledger.transaction() as connection:
            words = {"title": title, "purpose": purpose, "sector": sector, "data_class": data_class,
                     "risk_class": risk_class, "state": state, "owner": owner}  # fmt: skip
            again = select(sandbox_table.c.id).filter_by(**words)
            again = again.where(sandbox_table.c.created > (created - SAME_REQUEST).isoformat())
            if (just_made := connection.execute(again).scalar()) is not None:
                return _sandbox(connection, just_made)
            mine = select(sandbox_table.c.state).where(sandbox_table.c.owner == owner)
            states = list(connection.execute(mine).scalars())
            living = sum(state in (SandboxState.WAITING, SandboxState.ACTIVE) for state in states)
            if living >= most:
                raise NotPossibleNow(
                    f"You have {most} sandboxes already.",
                    "More at a time are not given.",
                    "End one that you do not use.",
                )
            if living + states.count(SandboxState.ENDING) >= 2 * most:
                raise NotPossibleNow(
                    "Too many of your sandboxes wait for their erasure.",
                    "Until then they take their space.",
                    "Wait until one is erased.",
                )
            new = base64.b32encode(secrets.token_bytes(5)).decode().lower()
            connection.execute(
                sandbox_table.insert().values(
                    id=new, title=title, purpose=purpose, sector=sector, data_class=data_class, risk_class=risk_class,
                    state=state, owner=owner, created=created.isoformat(), ends=ends.isoformat(),
                )
            )  # fmt: skip
            connection.execute(member_table.insert().values(sandbox=new, person=owner, added=created.isoformat()))
            details = {"state": state, "data": data_class, "risk": risk_class, "ends": ends.isoformat()}
            self._ledger.append(connection, owner, "sandbox.request", new, details)
            return _sandbox(connection, new)

    def get(self, sandbox: str) -> Sandbox:
        """The sandbox of that id, whoever asks: for operators and the service itself.

        Raises:
            NoSuchSandbox: there is none.
        """
        with self._ledger.snapshot() as connection:
            return _sandbox(connection, sandbox)

    def get_for(self, sandbox: str, person: str) -> Sandbox:
        """The sandbox of that id, for one of its members.

        Raises:
            NoSuchSandbox: there is none, or the person is no member of it.
        """
        with self._ledger.snapshot() as connection:
            return sandbox_for_member(connection, sandbox, person)

    def of(self, person: str) -> Sequence[Sandbox]:
        """The sandboxes of which a person is a member, newest first; erased ones are left out."""
        table, members = sandbox_table, member_table
        query = (
            select(table)
            .join(members, members.c.sandbox == table.c.id)
            .where((members.c.person == person) & members.c.removed.is_(None) & (table.c.state != SandboxState.ERASED))
            .order_by(table.c.created.desc())
        )
        with self._ledger.snapshot() as connection:
            return [_as_sandbox(row) for row in connection.execute(query).mappings()]

    def all(self, *states: SandboxState) -> Sequence[Sandbox]:
        """All sandboxes, or those in these states, newest first."""
        query = select(sandbox_table).order_by(sandbox_table.c.created.desc())
        if states:
            query = query.where(sandbox_table.c.state.in_(states))
        with self._ledger.snapshot() as connection:
            return [_as_sandbox(row) for row in connection.execute(query).mappings()]

    def move(self, sandbox: str, to: SandboxState, by: str, reason: str = "") -> Sandbox:
        """Take a sandbox to another state.

        Args:
            sandbox: its id.
            to: the state.
            by: pseudonym of who does it.
            reason: a code, never words of a person.

        Raises:
            NoSuchSandbox: there is none.
            NotPossibleNow: it cannot go there from where it is.
        """
        with self._ledger.transaction() as connection:
            found = _sandbox(connection, sandbox)
            if to is found.state:
                return found
            if to not in MOVES[found.state]:
                raise NotPossibleNow(f"Sandbox {sandbox} is {found.state} and cannot become {to}.")
            values: dict[str, Any] = {"state": to}
            if to in (SandboxState.ENDING, SandboxState.REFUSED):
                values["ended"] = now().isoformat()
            self._set(connection, sandbox, values)
            details = {"from": found.state, **({"reason": reason} if reason else {})}
            self._ledger.append(connection, by, f"sandbox.{to}", sandbox, details)
            return _sandbox(connection, sandbox)

    def extend(self, sandbox: str, ends: datetime, by: str) -> Sandbox:
        """Give an active sandbox more time.

        Raises:
            NoSuchSandbox: there is none, or the person is no member of it.
            NotPossibleNow: it is not active.
        """
        with self._ledger.transaction() as connection:
            if sandbox_for_member(connection, sandbox, by).state is not SandboxState.ACTIVE:
                raise NotPossibleNow(f"Sandbox {sandbox} is not active.", "It cannot be given more time.")
            self._set(connection, sandbox, {"ends": ends.isoformat()})
            self._ledger.append(connection, by, "sandbox.extend", sandbox, {"ends": ends.isoformat()})
            return _sandbox(connection, sandbox)

    def forget(self, sandbox: str, by: str, proof: Mapping[str, str]) -> None:
        """The last step of an erasure: no words of the company are left, and the file holds none of them any more.

        Args:
            sandbox: its id.
            by: pseudonym of who ended it.
            proof: what was erased, in numbers and hashes.

        Raises:
            NotPossibleNow: it is neither ending nor refused.
        """
        with self._ledger.transaction() as connection:
            found = _sandbox(connection, sandbox)
            if SandboxState.ERASED not in MOVES[found.state]:
                raise NotPossibleNow(f"Sandbox {sandbox} is {found.state} and cannot be erased.")
            values = {
                "state": SandboxState.ERASED,
                "erased": now().isoformat(),
                "title": "",
                "purpose": "",
                "sector": "",
            }
            self._set(connection, sandbox, values)
            connection.execute(
                transfer_table.update().where(transfer_table.c.sandbox == sandbox).values(name="", reason=None)
            )
            for table in (invitation_table, opening_table):
                connection.execute(table.delete().where(table.c.sandbox == sandbox))
            self._ledger.append(connection, by, "sandbox.erased", sandbox, proof)
        self._ledger.settle()

    @staticmethod
    def _set(connection: Connection, sandbox: str, values: Mapping[str, Any]) -> None:
        connection.execute(sandbox_table.update().where(sandbox_table.c.id == sandbox).values(**values))

    # -- members

    def members(self, sandbox: str) -> Sequence[str]:
        """Pseudonyms of the present members, in the order in which they came."""
        table = member_table
        query = (
            select(table.c.person)
            .where((table.c.sandbox == sandbox) & table.c.removed.is_(None))
            .order_by(table.c.added)
        )
        with self._ledger.snapshot() as connection:
            return list(connection.execute(query).scalars())

    def memberships(self) -> Mapping[tuple[str, str], bool]:
        """Every sandbox and person that ever belonged together, and whether they do now, in an active sandbox."""
        present = member_table.c.removed.is_(None) & (sandbox_table.c.state == SandboxState.ACTIVE)
        query = select(member_table.c.sandbox, member_table.c.person, present).join(
            sandbox_table, sandbox_table.c.id == member_table.c.sandbox
        )
        with self._ledger.snapshot() as connection:
            return {(row[0], row[1]): bool(row[2]) for row in connection.execute(query)}

    def invite(self, sandbox: str, by: str) -> str:
        """A code with which one person can join within a week; only its hash is kept.

        Raises:
            NoSuchSandbox: there is none, or the person is no member of it.
            NotPossibleNow: the sandbox is not active.
        """
        code = base64.b32encode(secrets.token_bytes(15)).decode().lower()
        with self._ledger.transaction() as connection:
            if sandbox_for_member(connection, sandbox, by).state is not SandboxState.ACTIVE:
                raise NotPossibleNow(f"Sandbox {sandbox} is not active.", "Nobody can join it.")
            expires = (now() + timedelta(days=INVITATION_DAYS)).isoformat()
            connection.execute(
                invitation_table.insert().values(code_hash=_hash(code), sandbox=sandbox, made_by=by, expires=expires)
            )
            self._ledger.append(connection, by, "sandbox.invite", sandbox, {"expires": expires})
        return code

    def join(self, code: str, person: str, most: int) -> Sandbox:
        """Use an invitation: it works once.

        Args:
            code: what `invite` gave.
            person: pseudonym of who joins.
            most: most members of one sandbox.

        Raises:
            InputError: the code is not one, was used, or is too old.
            NotPossibleNow: the sandbox is full or no longer active.
        """
        with self._ledger.transaction() as connection:
            here = invitation_table.c.code_hash == _hash(code.strip().lower())
            row = connection.execute(select(invitation_table).where(here)).mappings().first()
            if row is None or datetime.fromisoformat(row["expires"]) < now():
                raise InputError(
                    "This invitation does not work.",
                    "It was used, is too old, or was typed wrongly.",
                    "Ask for a new one.",
                )
            found = _sandbox(connection, row["sandbox"])
            present = _present(connection, found.id)
            if found.state is not SandboxState.ACTIVE or row["made_by"] not in present:
                raise NotPossibleNow("This invitation is no longer good.", do="Ask for a new one.")
            connection.execute(invitation_table.delete().where(here))
            if person in present:
                return found
            if len(present) >= most:
                raise NotPossibleNow(f"This sandbox has {most} members already.", "More are not possible.")
            both = (member_table.c.sandbox == found.id) & (member_table.c.person == person)
            connection.execute(member_table.delete().where(both))
            connection.execute(member_table.insert().values(sandbox=found.id, person=person, added=now().isoformat()))
            self._ledger.append(connection, person, "sandbox.join", found.id, {"invited_by": row["made_by"]})
            return found

    def remove(self, sandbox: str, person: str, by: str) -> None:
        """Take a member out; the owner stays as long as the sandbox lives.

        Raises:
            NoSuchSandbox: there is none, or `by` is no member of it.
            NotPossibleNow: the person is the owner, or `by` is neither the owner nor the person.
        """
        with self._ledger.transaction() as connection:
            found = sandbox_for_member(connection, sandbox, by)
            if person == found.owner or by not in (found.owner, person):
                raise NotPossibleNow("This member cannot be taken out.", do="Only the owner can take others out.")
            if person not in _present(connection, sandbox):
                return
            both = (member_table.c.sandbox == sandbox) & (member_table.c.person == person)
            connection.execute(member_table.update().where(both).values(removed=now().isoformat()))
            self._ledger.append(connection, by, "sandbox.leave", sandbox, {"person": person})


def _sandbox(connection: Connection, sandbox: str) -> Sandbox:
    row = connection.execute(select(sandbox_table).where(sandbox_table.c.id == sandbox)).mappings().first()
    if row is None:
        raise NoSuchSandbox("This sandbox does not exist.", do="Look at the list of your sandboxes.")
    return _as_sandbox(row)


def _present(connection: Connection, sandbox: str) -> list[str]:
    here = (member_table.c.sandbox == sandbox) & member_table.c.removed.is_(None)
    return list(connection.execute(select(member_table.c.person).where(here)).scalars())


def sandbox_for_member(connection: Connection, sandbox: str, person: str) -> Sandbox:
    """The sandbox within a transaction, for one of its members; NoSuchSandbox for everybody else."""
    found = _sandbox(connection, sandbox)
    if person not in _present(connection, sandbox):
        raise NoSuchSandbox("This sandbox does not exist.", do="Look at the list of your sandboxes.")
    return found


def _as_sandbox(row: Mapping[Any, Any]) -> Sandbox:
    return Sandbox(
        id=row["id"], title=row["title"], purpose=row["purpose"], sector=row["sector"],
        data_class=DataClass(row["data_class"]), risk_class=RiskClass(row["risk_class"]),
        state=SandboxState(row["state"]), owner=row["owner"], created=datetime.fromisoformat(row["created"]),
        ends=datetime.fromisoformat(row["ends"]), ended=moment(row["ended"]), erased=moment(row["erased"]),
    )  # fmt: skip


def _hash(code: str) -> str:
    """SHA-256: codes of 120 random bits need no slower hash."""
    return hashlib.sha256(code.encode()).hexdigest()


def moment(text: str | None) -> datetime | None:
    """A time as the ledger's tables hold it."""
    return None if text is None else datetime.fromisoformat(text)


def now() -> datetime:
    """This moment, with its time zone."""
    return datetime.now(UTC)
