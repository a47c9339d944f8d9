"""Whether each part of the site answers, for operators; each look is bounded, and no answer is an answer too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import httpx
from sqlalchemy.exc import SQLAlchemyError

from base.errors import LeerlabError
from portal.snapshot import Snapshot

ANSWER_SECONDS = 2.0


class Part(StrEnum):
    """A part of the site, as the operator's page names it."""

    HUB = "hub"
    SLURM = "slurm"
    GRADING = "grading"
    LEDGER = "ledger"


@dataclass(frozen=True)
class Health:
    """One part and whether it answered."""

    part: Part
    answers: bool


class Checks:
    """Looks at every part.

    Args:
        grading: the grading service's socket.
        ledger: reads something small from the ledger; blocks.
    """

    def __init__(self, grading: Path, ledger: Callable[[], object]) -> None:
        self._grading = grading
        self._ledger = ledger

    async def look(self, snapshot: Snapshot) -> list[Health]:
        """The parts in the order of the page; hub and Slurm as the snapshot saw them."""
        grading, ledger = await asyncio.gather(
            _bounded(self._grading_answers()), _bounded(asyncio.to_thread(self._ledger_answers))
        )
        return [
            Health(Part.HUB, snapshot.hub_seen),
            Health(Part.SLURM, snapshot.slurm_seen),
            Health(Part.GRADING, grading),
            Health(Part.LEDGER, ledger),
        ]

    async def _grading_answers(self) -> bool:
        transport = httpx.AsyncHTTPTransport(uds=str(self._grading))
        async with httpx.AsyncClient(transport=transport, base_url="http://grading", trust_env=False) as client:
            try:
                return (await client.get("/status", timeout=ANSWER_SECONDS)).status_code == httpx.codes.OK
            except httpx.HTTPError:
                return False

    def _ledger_answers(self) -> bool:
        try:
            self._ledger()
        except (LeerlabError, SQLAlchemyError, OSError):
            return False
        return True


async def _bounded(looking: Awaitable[bool]) -> bool:
    try:
        return await asyncio.wait_for(looking, ANSWER_SECONDS)
    except TimeoutError:
        return False
