"""Tokens of a person in the last hour: kept back before a question goes out, counted when its answer is there.

What was spent stands in the ledger, so a restart forgets nothing; what is on its way stands here, so that many
questions at once cannot spend the same tokens.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Protocol

from assistant.errors import Refused
from ledger.answers import Use

HOUR = timedelta(hours=1)
LEAST_ANSWER = 16
"""An answer of fewer tokens is of no use to anybody."""


class Uses(Protocol):
    """What a budget needs of the ledger; `ledger.answers.AnswerLedger` has it."""

    def of(self, person: str, since: datetime) -> Sequence[Use]: ...


@dataclass(frozen=True)
class KeptBack:
    """Tokens that one question may use.

    Args:
        person: whose.
        tokens: of question and answer together.
        answer: of these, most tokens of the answer.
    """

    person: str
    tokens: int
    answer: int


class Budget:
    """Everybody's tokens.

    Args:
        uses: the ledger.
        clock: this moment, in UTC.
    """

    def __init__(self, uses: Uses, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._uses = uses
        self._clock = clock
        self._on_the_way: defaultdict[str, int] = defaultdict(int)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def left(self, person: str, limit: int) -> int:
        """Tokens that somebody may still use now."""
        return max(0, limit - sum(use.tokens for use in await self._spent(person)) - self._on_the_way[person])

    async def keep_back(self, person: str, limit: int, question: int, answer: int) -> KeptBack:
        """Keep tokens back for one question.

        Args:
            limit: most tokens in an hour.
            question: tokens of the question.
            answer: most tokens of the answer; fewer are kept back where no more are left. 0 for none.

        Raises:
            Refused: too few are left; says when there will be enough.
            LeerlabError: the ledger cannot be read.
        """
        least = question + min(answer, LEAST_ANSWER)
        async with self._locks[person]:
            spent = await self._spent(person)
            room = limit - sum(use.tokens for use in spent) - self._on_the_way[person]
            if room < least:
                raise self._over(spent, limit, least)
            kept = KeptBack(person, min(question + answer, room), min(answer, room - question))
            self._on_the_way[person] += kept.tokens
        return kept

    def give_back(self, kept: KeptBack) -> None:
        """The question is answered, and what it took stands in the ledger; or nothing came of it."""
        self._on_the_way[kept.person] -= kept.tokens
        if not self._on_the_way[kept.person]:
            del self._on_the_way[kept.person]

    async def _spent(self, person: str) -> Sequence[Use]:
        return await asyncio.to_thread(self._uses.of, person, self._clock() - HOUR)

    def _over(self, spent: Sequence[Use], limit: int, least: int) -> Refused:
        if least > limit:
            return Refused(HTTPStatus.BAD_REQUEST, "too-long", {"tokens": least, "limit": limit})
        room, again = limit - sum(use.tokens for use in spent), HOUR.total_seconds()
        for use in spent:
            if room >= least:
                break
            room += use.tokens
            again = (use.asked + HOUR - self._clock()).total_seconds()
        minutes = max(1, round(again / 60))
        return Refused(
            HTTPStatus.TOO_MANY_REQUESTS, "budget", {"limit": limit, "minutes": minutes}, again=max(1, round(again))
        )
