"""Places outside that sandboxes may reach, in the ledger: one member asks, another agrees, any member closes.

Every change stands there with its audit entry. Only names that the site offers are asked for, so they tell nothing of a
company.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from ledger.sandboxes import NotPossibleNow, SandboxState, now, sandbox_for_member
from ledger.schema import opening_table, sandbox_table
from ledger.store import Ledger


@dataclass(frozen=True)
class Opening:
    """One place that a sandbox may reach, or may when somebody agrees.

    Args:
        host: its name; a leading dot means every name below.
        asked_by: pseudonym of who asked.
        asked: when.
        agreed_by: pseudonym of who agreed; None before.
    """

    host: str
    asked_by: str
    asked: datetime
    agreed_by: str | None


class OpeningLedger:
    """The part of the ledger about openings.

    Args:
        ledger: the site's ledger.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def ask(self, sandbox: str, host: str, by: str) -> None:
        """Ask for a place; whether the site offers it is the caller's to check. Asking twice is asking once.

        Raises:
            NoSuchSandbox: there is none, or the person is no member of it.
            NotPossibleNow: the sandbox is not active.
        """
        with self._ledger.transaction() as connection:
            _active(connection, sandbox, by)
            if _row(connection, sandbox, host) is not None:
                return
            connection.execute(
                opening_table.insert().values(sandbox=sandbox, host=host, asked_by=by, asked=now().isoformat())
            )
            self._ledger.append(connection, by, "opening.ask", sandbox, {"host": host})

    def agree(self, sandbox: str, host: str, by: str) -> None:
        """A second member's yes; from now on the place can be reached.

        Raises:
            NoSuchSandbox: there is none, or the person is no member of it.
            NotPossibleNow: the sandbox is not active, nobody asked for it any more, or the person did so.
        """
        with self._ledger.transaction() as connection:
            _active(connection, sandbox, by)
            found = _row(connection, sandbox, host)
            if found is None:
                raise NotPossibleNow("Nobody asks for this place any more.", do="Ask for it yourself.")
            if found.agreed_by is not None:
                return
            if found.asked_by == by:
                raise NotPossibleNow("You asked for this place yourself.", do="Another member has to agree.")
            connection.execute(
                opening_table.update().where(_here(sandbox, host)).values(agreed_by=by, agreed=now().isoformat())
            )
            self._ledger.append(connection, by, "opening.agree", sandbox, {"host": host, "asked_by": found.asked_by})

    def close(self, sandbox: str, host: str, by: str) -> None:
        """Close a place, or say no to who asked for it; what is closed already stays closed.

        Raises:
            NoSuchSandbox: there is none, or the person is no member of it.
        """
        with self._ledger.transaction() as connection:
            sandbox_for_member(connection, sandbox, by)
            if _row(connection, sandbox, host) is None:
                return
            connection.execute(opening_table.delete().where(_here(sandbox, host)))
            self._ledger.append(connection, by, "opening.close", sandbox, {"host": host})

    def of(self, sandbox: str) -> Sequence[Opening]:
        """What one sandbox may reach or asks for, by name."""
        query = select(opening_table).where(opening_table.c.sandbox == sandbox).order_by(opening_table.c.host)
        with self._ledger.snapshot() as connection:
            return [_as_opening(row) for row in connection.execute(query).mappings()]

    def open(self) -> Mapping[str, Sequence[str]]:
        """What each active sandbox may reach; those that may reach nothing are among them."""
        agreed = opening_table.c.agreed_by.is_not(None) & (opening_table.c.sandbox == sandbox_table.c.id)
        query = (
            select(sandbox_table.c.id, opening_table.c.host)
            .outerjoin(opening_table, agreed)
            .where(sandbox_table.c.state == SandboxState.ACTIVE)
            .order_by(sandbox_table.c.id, opening_table.c.host)
        )
        found: dict[str, list[str]] = {}
        with self._ledger.snapshot() as connection:
            for sandbox, host in connection.execute(query):
                found.setdefault(sandbox, []).extend([host] if host else [])
        return found


def _active(connection: Connection, sandbox: str, by: str) -> None:
    if sandbox_for_member(connection, sandbox, by).state is not SandboxState.ACTIVE:
        raise NotPossibleNow(f"Sandbox {sandbox} is not active.", "It reaches nothing.")


def _here(sandbox: str, host: str) -> ColumnElement[bool]:
    return (opening_table.c.sandbox == sandbox) & (opening_table.c.host == host)


def _row(connection: Connection, sandbox: str, host: str) -> Opening | None:
    row = connection.execute(select(opening_table).where(_here(sandbox, host))).mappings().first()
    return None if row is None else _as_opening(row)


def _as_opening(row: Mapping[Any, Any]) -> Opening:
    return Opening(row["host"], row["asked_by"], datetime.fromisoformat(row["asked"]), row["agreed_by"])
