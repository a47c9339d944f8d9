"""Files on their way into and out of sandboxes, in the ledger: every change stands there with its audit entry.

Audit entries name transfers by id, size and hash, never by file name, because they stay after erasure.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, select

from ledger.sandboxes import NoSuchSandbox, NotPossibleNow, SandboxState, moment, now, sandbox_for_member
from ledger.schema import transfer_table
from ledger.store import Ledger


class Direction(StrEnum):
    """Which way a file goes."""

    INCOMING = "incoming"
    OUTGOING = "outgoing"


class TransferState(StrEnum):
    """Where a file is: incoming ones are checked, outgoing ones asked for."""

    CHECKING = "checking"
    REFUSED = "refused"
    ARRIVED = "arrived"
    ASKED = "asked"
    APPROVED = "approved"
    DECLINED = "declined"
    FETCHED = "fetched"


@dataclass(frozen=True)
class Transfer:
    """One file on its way in or out.

    Args:
        id: 16 random hexadecimal digits.
        sandbox: id of the sandbox.
        direction: which way.
        name: name that people see; empty after erasure.
        size: bytes; None until known.
        sha256: hash of the contents in hexadecimal; None until known.
        state: where it is.
        asked_by: pseudonym of who sent it in or asked for it.
        asked: when.
        decided_by: pseudonym of the second person, `checks` for the quarantine; None before.
        decided: when.
        reason: code or words of the decision.
    """

    id: str
    sandbox: str
    direction: Direction
    name: str
    size: int | None
    sha256: str | None
    state: TransferState
    asked_by: str
    asked: datetime
    decided_by: str | None
    decided: datetime | None
    reason: str | None


class TransferLedger:
    """The part of the ledger about transfers.

    Args:
        ledger: the site's ledger.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def begin(
        self,
        sandbox: str,
        direction: Direction,
        name: str,
        by: str,
        *,
        size: int | None = None,
        sha256: str | None = None,
    ) -> Transfer:
        """A new transfer: CHECKING on its way in, ASKED on its way out.

        Raises:
            NoSuchSandbox: there is none, or the person is no member of it.
            NotPossibleNow: the sandbox is not active.
        """
        state = TransferState.CHECKING if direction is Direction.INCOMING else TransferState.ASKED
        with self._ledger.transaction() as connection:
            if sandbox_for_member(connection, sandbox, by).state is not SandboxState.ACTIVE:
                raise NotPossibleNow(f"Sandbox {sandbox} is not active.", "Nothing goes in or out.")
            new = secrets.token_hex(8)
            connection.execute(
                transfer_table.insert().values(
                    id=new, sandbox=sandbox, direction=direction, name=name, size=size, sha256=sha256, state=state,
                    asked_by=by, asked=now().isoformat(),
                )
            )  # fmt: skip
            details = {"sandbox": sandbox, "direction": direction, **_figures(size, sha256)}
            self._ledger.append(connection, by, f"transfer.{state}", new, details)
            return _transfer(connection, new)

    def move(
        self, transfer: str, to: TransferState, by: str, *, expected: Collection[TransferState],
        members: Collection[str] = (), reason: str = "",
        name: str | None = None, size: int | None = None, sha256: str | None = None,
    ) -> Transfer:  # fmt: skip
        """Take a transfer to its next state.

        Args:
            transfer: its id.
            to: the next state.
            by: pseudonym of who decides; `checks` for the quarantine.
            expected: the states from which this may happen; in any other nothing is changed.
            reason: a code, or words of a member, which are kept in the transfer and not in the audit trail.
            name: its name from now on, where the checks gave it another.
            size, sha256: once known.
            members: who must be members of the active sandbox at this very moment.

        Raises:
            NoSuchSandbox: there is no such transfer, or one of `members` is none.
            NotPossibleNow: it is in another state, or the sandbox is not active.
        """
        with self._ledger.transaction() as connection:
            found = _transfer(connection, transfer)
            if found.state not in expected:
                raise NotPossibleNow(f"This transfer is {found.state} already.", "Nothing was changed.")
            for person in members:
                if sandbox_for_member(connection, found.sandbox, person).state is not SandboxState.ACTIVE:
                    raise NotPossibleNow(f"Sandbox {found.sandbox} is not active.", "Nothing goes in or out.")
            values: dict[str, Any] = {
                "state": to,
                "decided_by": by,
                "decided": now().isoformat(),
                "reason": reason or None,
            }
            values |= {
                key: value for key, value in (("name", name), ("size", size), ("sha256", sha256)) if value is not None
            }
            connection.execute(transfer_table.update().where(transfer_table.c.id == transfer).values(**values))
            moved = _transfer(connection, transfer)
            details = {"sandbox": found.sandbox, "direction": found.direction, **_figures(moved.size, moved.sha256)}
            self._ledger.append(connection, by, f"transfer.{to}", transfer, details)
            return moved

    def received(self, transfer: str, *, size: int, sha256: str) -> None:
        """An incoming file is here whole; its checks follow.

        Args:
            transfer: its id.
            size: bytes.
            sha256: hash of the contents in hexadecimal.

        Raises:
            NotPossibleNow: it is not being checked.
        """
        with self._ledger.transaction() as connection:
            found = _transfer(connection, transfer)
            if found.state is not TransferState.CHECKING:
                raise NotPossibleNow(f"This transfer is {found.state} already.", "Nothing was changed.")
            here = transfer_table.c.id == transfer
            connection.execute(transfer_table.update().where(here).values(size=size, sha256=sha256))
            details = {"sandbox": found.sandbox, **_figures(size, sha256)}
            self._ledger.append(connection, found.asked_by, "transfer.received", transfer, details)

    def rename(self, transfer: str, name: str) -> None:
        """The name that a file got inside, where its own was taken; names do not stand in the audit trail."""
        with self._ledger.transaction() as connection:
            connection.execute(transfer_table.update().where(transfer_table.c.id == transfer).values(name=name))

    def fetched(self, transfer: str, by: str) -> Transfer:
        """An approved file leaves: recorded each time, with its hash.

        Args:
            transfer: its id.
            by: pseudonym of who fetches it.

        Raises:
            NoSuchSandbox: who fetches it is no member at this very moment.
            NotPossibleNow: it is not approved.
        """
        with self._ledger.transaction() as connection:
            found = _transfer(connection, transfer)
            sandbox_for_member(connection, found.sandbox, by)
            if found.state not in (TransferState.APPROVED, TransferState.FETCHED):
                raise NotPossibleNow(f"This transfer is {found.state}.", "It does not leave.")
            here = transfer_table.c.id == transfer
            connection.execute(transfer_table.update().where(here).values(state=TransferState.FETCHED))
            details = {"sandbox": found.sandbox, **_figures(found.size, found.sha256)}
            self._ledger.append(connection, by, "transfer.fetched", transfer, details)
            return _transfer(connection, transfer)

    def get(self, transfer: str) -> Transfer:
        """The transfer of that id.

        Raises:
            NoSuchSandbox: there is none.
        """
        with self._ledger.snapshot() as connection:
            return _transfer(connection, transfer)

    def of(self, sandbox: str) -> Sequence[Transfer]:
        """All transfers of a sandbox, newest first."""
        table = transfer_table
        query = select(table).where(table.c.sandbox == sandbox).order_by(table.c.asked.desc())
        with self._ledger.snapshot() as connection:
            return [_as_transfer(row) for row in connection.execute(query).mappings()]

    def unfinished(self) -> Sequence[Transfer]:
        """Incoming transfers that nobody is checking any more once the service has started anew."""
        query = select(transfer_table).where(transfer_table.c.state == TransferState.CHECKING)
        with self._ledger.snapshot() as connection:
            return [_as_transfer(row) for row in connection.execute(query).mappings()]


def _transfer(connection: Connection, transfer: str) -> Transfer:
    row = connection.execute(select(transfer_table).where(transfer_table.c.id == transfer)).mappings().first()
    if row is None:
        raise NoSuchSandbox("This transfer does not exist.", do="Look at the sandbox's page.")
    return _as_transfer(row)


def _as_transfer(row: Mapping[Any, Any]) -> Transfer:
    return Transfer(
        id=row["id"], sandbox=row["sandbox"], direction=Direction(row["direction"]), name=row["name"], size=row["size"],
        sha256=row["sha256"], state=TransferState(row["state"]), asked_by=row["asked_by"],
        asked=datetime.fromisoformat(row["asked"]), decided_by=row["decided_by"], decided=moment(row["decided"]),
        reason=row["reason"],
    )  # fmt: skip


def _figures(size: int | None, sha256: str | None) -> dict[str, str]:
    return {name: str(value) for name, value in (("size", size), ("sha256", sha256)) if value is not None}
