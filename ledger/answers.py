"""What was asked of the assistant, in the ledger: who, where, which model and how much; never a question or an answer.

A question is written down with the most that it can take before any model hears of it, and set right at its end. So
no number of questions at one time gets past a budget, and a gateway that was killed has forgotten nothing.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from ledger.schema import answer_table
from ledger.store import Ledger

HOUR = 3600.0


class AnswerState(StrEnum):
    """How an answer ended."""

    OPEN = "open"
    DONE = "done"
    BROKEN = "broken"
    LEFT = "left"
    LOST = "lost"


@dataclass(frozen=True)
class Spent:
    """What an answer took.

    Args:
        tokens_in: of the question.
        tokens_out: of the answer.
        seconds: from the question to the answer's end.
        joules: energy; None where it is not known.
        measured: whether the energy was measured, rather than reckoned.
        state: how it ended.
    """

    tokens_in: int
    tokens_out: int
    seconds: float
    joules: float | None
    measured: bool
    state: AnswerState


@dataclass(frozen=True)
class Room:
    """What a person may still use of an hour's budget.

    Args:
        left: tokens; may be below nothing.
        frees_in: seconds until the oldest of what was used leaves the hour; 0 when nothing was used.
    """

    left: int
    frees_in: float


@dataclass(frozen=True)
class Account:
    """Whose budget, and for what.

    Args:
        person: the pseudonym.
        place: `course`, for a person's own server, or `sandbox`.
        place_id: the course that a question is charged to, or the sandbox.
    """

    person: str
    place: str
    place_id: str


class AnswerLedger:
    """The part of the ledger about answers.

    Args:
        ledger: the site's ledger.
        clock: seconds since 1970.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.time) -> None:
        self._ledger = ledger
        self._clock = clock

    def room(self, account: Account, most: int) -> Room:
        """What may still be used, open questions counted with the most that they can take.

        Args:
            most: tokens in any hour.
        """
        with self._ledger.snapshot() as connection:
            return self._room(connection, account, most)

    def begin(self, account: Account, model: str, question: int, answer: int, most: int) -> tuple[str | None, Room]:
        """Write a question down, if it fits; nobody else can take the same room meanwhile.

        After a power cut it may not have been: nobody is left then who waits for its answer or holds its room.

        Args:
            model: its id.
            question, answer: most tokens that each can take.
            most: tokens in any hour.

        Returns:
            The answer's id, or None when it does not fit; and the room there was.
        """
        with self._ledger.transaction(hasty=True) as connection:
            room = self._room(connection, account, most)
            if question + answer > room.left:
                return None, room
            name = secrets.token_hex(12)
            connection.execute(
                answer_table.insert().values(
                    id=name, person=account.person, place=account.place, place_id=account.place_id, model=model,
                    asked=self._clock(), tokens_in=question, tokens_out=answer, measured=False, state=AnswerState.OPEN,
                )
            )  # fmt: skip
        return name, room

    def end(self, name: str, spent: Spent) -> None:
        """Set right what an answer took.

        Args:
            name: of `begin`.
        """
        with self._ledger.transaction() as connection:
            connection.execute(answer_table.update().where(answer_table.c.id == name).values(**spent.__dict__))

    def lost(self) -> int:
        """What a gateway left open that was killed: it counts with the most that it could have taken.

        Returns:
            How many answers that were.
        """
        with self._ledger.transaction() as connection:
            is_open = answer_table.c.state == AnswerState.OPEN
            return connection.execute(answer_table.update().where(is_open).values(state=AnswerState.LOST)).rowcount

    def forget(self, seconds: float) -> int:
        """Delete what was asked longer ago.

        Args:
            seconds: age from which on.

        Returns:
            How many answers that were.
        """
        with self._ledger.transaction() as connection:
            old = answer_table.c.asked < self._clock() - seconds
            return connection.execute(answer_table.delete().where(old)).rowcount

    def all(self, person: str | None = None) -> Sequence[dict[str, Any]]:
        """Every answer that is kept, or a person's, the oldest first: for who asks what is known of them."""
        query = select(answer_table).order_by(answer_table.c.asked)
        if person is not None:
            query = query.where(answer_table.c.person == person)
        with self._ledger.snapshot() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _room(self, connection: Connection, account: Account, most: int) -> Room:
        now = self._clock()
        used, oldest = connection.execute(
            select(
                func.coalesce(func.sum(answer_table.c.tokens_in + answer_table.c.tokens_out), 0),
                func.min(answer_table.c.asked),
            ).where(_counts(account, now))
        ).one()
        return Room(most - int(used), max(0.0, oldest + HOUR - now) if oldest is not None else 0.0)


def _counts(account: Account, now: float) -> ColumnElement[bool]:
    """What counts for a budget: all of a person's courses together, or one sandbox; an open question however old."""
    table = answer_table
    here = (table.c.person == account.person) & (table.c.place == account.place)
    if account.place == "sandbox":
        here &= table.c.place_id == account.place_id
    return here & ((table.c.asked > now - HOUR) | (table.c.state == AnswerState.OPEN))
