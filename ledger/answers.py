"""What the assistant's answers took: who, when, which model, tokens, energy; never a question or an answer.

Not in the audit trail, which tells what people decided: this counts use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select

from ledger.schema import answer_table
from ledger.store import Ledger


class AnswerState(StrEnum):
    """How an answer ended."""

    WHOLE = "whole"
    BROKEN = "broken"
    LEFT = "left"
    REFUSED = "refused"


@dataclass(frozen=True)
class Answer:
    """One answer.

    Args:
        person: pseudonym of who asked.
        account: the hub account from whose server it was asked: the person's own, or that in a sandbox.
        model: id of the model.
        asked: when.
        seconds: until its last word.
        tokens_in: tokens of the question.
        tokens_out: tokens of the answer.
        joules: energy; None where nothing is known of it.
        state: how it ended.
    """

    person: str
    account: str
    model: str
    asked: datetime
    seconds: float
    tokens_in: int
    tokens_out: int
    joules: float | None
    state: AnswerState


@dataclass(frozen=True)
class Use:
    """Tokens of one answer, and when it was asked for."""

    asked: datetime
    tokens: int


class AnswerLedger:
    """The part of the ledger about the assistant's answers.

    Args:
        ledger: the site's ledger.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def add(self, answer: Answer) -> None:
        """Keep one.

        Raises:
            LeerlabError: the ledger cannot be written.
        """
        with self._ledger.transaction() as connection:
            connection.execute(
                answer_table.insert().values(
                    person=answer.person, account=answer.account, model=answer.model, asked=answer.asked.isoformat(),
                    seconds=round(answer.seconds, 3), tokens_in=answer.tokens_in, tokens_out=answer.tokens_out,
                    joules=answer.joules, state=answer.state,
                )
            )  # fmt: skip

    def of(self, person: str, since: datetime) -> Sequence[Use]:
        """What a person's answers took since a moment, oldest first.

        Args:
            person: pseudonym.
            since: the moment, in UTC.
        """
        table = answer_table
        query = (
            select(table.c.asked, (table.c.tokens_in + table.c.tokens_out).label("tokens"))
            .where((table.c.person == person) & (table.c.asked >= since.isoformat()))
            .order_by(table.c.asked)
        )
        with self._ledger.snapshot() as connection:
            rows = connection.execute(query).all()
        return [Use(datetime.fromisoformat(asked), tokens) for asked, tokens in rows]
