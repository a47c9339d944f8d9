"""Whether each part of the site answers, for operators; each look is bounded, and no answer is an answer too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import httpx
from sqlalchemy.exc import SQLAlchemyError

from base.errors import LeerlabError
from portal.snapshot import Snapshot

ANSWER_SECONDS = 2.0
KEPT_SECONDS = 10.0
"""How old an answer may be: a page that is open draws itself anew more often than a part has to be asked."""


class Part(StrEnum):
    """A part of the site, as the operator's page names it."""

    HUB = "hub"
    SLURM = "slurm"
    ACCOUNTING = "accounting"
    GRADING = "grading"
    LEDGER = "ledger"
    SCANNER = "scanner"
    EGRESS = "egress"


@dataclass(frozen=True)
class Health:
    """One part and whether it answered."""

    part: Part
    answers: bool


Look = Callable[[], Awaitable[bool]]


class Checks:
    """Looks at every part that this site has.

    Args:
        looks: how each part is looked at, besides hub and Slurm, which the snapshot has seen.
    """

    def __init__(self, looks: Mapping[Part, Look]) -> None:
        self._looks = looks
        self._kept: tuple[float, list[Health]] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def look(self, snapshot: Snapshot) -> list[Health]:
        """The parts in the order of the page; hub and Slurm as the snapshot saw them."""
        async with self._one_at_a_time:
            if self._kept is None or time.monotonic() - self._kept[0] > KEPT_SECONDS:
                answers = await asyncio.gather(*(_bounded(look()) for look in self._looks.values()))
                self._kept = (time.monotonic(), [Health(*each) for each in zip(self._looks, answers, strict=True)])
        return [Health(Part.HUB, snapshot.hub_seen), Health(Part.SLURM, snapshot.slurm_seen), *self._kept[1]]


def page_answers(socket: Path, path: str) -> Look:
    """Whether a service on a unix socket serves a page."""

    async def look() -> bool:
        transport = httpx.AsyncHTTPTransport(uds=str(socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://inside", trust_env=False) as client:
            try:
                return (await client.get(path, timeout=ANSWER_SECONDS)).status_code == httpx.codes.OK
            except httpx.HTTPError:
                return False

    return look


def call_answers(call: Callable[[], object]) -> Look:
    """Whether something that blocks returns."""

    async def look() -> bool:
        try:
            await asyncio.to_thread(call)
        except (LeerlabError, SQLAlchemyError, OSError):
            return False
        return True

    return look


def awaited_answers(call: Callable[[], Awaitable[object]]) -> Look:
    """Whether something that is awaited returns."""

    async def look() -> bool:
        try:
            await call()
        except (LeerlabError, OSError):
            return False
        return True

    return look


async def _bounded(looking: Awaitable[bool]) -> bool:
    try:
        return await asyncio.wait_for(looking, ANSWER_SECONDS)
    except TimeoutError:
        return False
