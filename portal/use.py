"""What people, courses and sandboxes used of late, as pages show it: hours, electricity with its bounds, in words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from babel.numbers import format_decimal

from ledger.use import GPU, By, Place, Total, UseLedger
from portal import request as page_request

DAYS = 30
"""How far back pages look."""
KEPT_SECONDS = 5.0
"""How long a sum is shown again: many pages that are open ask at the same moments."""
CUP_JOULES = 100_000.0
"""A quarter of a litre from 15 to 100 degrees takes 89 kJ (4.19 J/(g K)); a kettle wastes about a tenth."""
HOUSEHOLD_JOULES = 7 * 3_600_000.0
"""A day of an average Dutch household: about 2,500 kWh a year."""
_HALF_CUP = CUP_JOULES / 2
_WATT_HOUR = 3600.0


class Used:
    """Sums of the ledger's rows.

    Args:
        ledger: the part about use.
        clock: seconds that only go up.
    """

    def __init__(self, ledger: UseLedger, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._clock = clock
        self._kept: dict[tuple[str, ...], tuple[float, Any]] = {}

    async def of_person(self, person: str) -> Total:
        """What one person used, for courses, in sandboxes and by themselves."""
        found: Total = await self._look(("person", person), lambda: self._ledger.total(person=person, days=DAYS))
        return found

    async def of_place(self, place: Place, place_id: str) -> Total:
        """What was used for one course or sandbox, by everybody together."""
        found: Total = await self._look(
            (str(place), place_id), lambda: self._ledger.total(place=place, place_id=place_id, days=DAYS)
        )
        return found

    async def of_all(self) -> Mapping[tuple[str, ...], Total]:
        """What was used for each course and sandbox, the most first."""
        found: Mapping[tuple[str, ...], Total] = await self._look(
            ("all",), lambda: self._ledger.totals(By.PLACE, days=DAYS)
        )
        return found

    async def _look(self, key: tuple[str, ...], ask: Callable[[], Any]) -> Any:
        now = self._clock()
        if key in self._kept and now - self._kept[key][0] < KEPT_SECONDS:
            return self._kept[key][1]
        found = await asyncio.to_thread(ask)
        self._kept = {one: kept for one, kept in self._kept.items() if now - kept[0] < KEPT_SECONDS}
        self._kept[key] = (now, found)
        return found


@dataclass(frozen=True)
class Comparison:
    """Something that takes as much electricity.

    Args:
        thing: `little`, `cups` or `days` of a household.
        count: how many.
    """

    thing: str
    count: int = 0


def compared(joules: float) -> Comparison:
    """What takes about as much."""
    if joules < _HALF_CUP:
        return Comparison("little")
    if joules < HOUSEHOLD_JOULES:
        return Comparison("cups", max(1, round(joules / CUP_JOULES)))
    return Comparison("days", round(joules / HOUSEHOLD_JOULES))


def electricity(joules: float) -> str:
    """An amount as people read it on their bill: 0,4 Wh, 35 Wh or 1,2 kWh, in the language of the current request."""
    language, hours = page_request.current().language, joules / _WATT_HOUR
    if hours >= 1000:
        return f"{format_decimal(hours / 1000, '#,##0.#', locale=language)}\N{NO-BREAK SPACE}kWh"
    return f"{format_decimal(hours, '#,##0.#' if hours < 10 else '#,##0', locale=language)}\N{NO-BREAK SPACE}Wh"


def hours(seconds: float) -> str:
    """Hours with at most two decimals, in the language of the current request."""
    return str(format_decimal(seconds / 3600, "#,##0.##", locale=page_request.current().language))


def gpu_hours(thousandths: int) -> str:
    """The same of thousandths of a GPU times seconds."""
    return hours(thousandths / GPU)


WORDS: Mapping[str, Callable[..., Any]] = {
    "compared": compared,
    "electricity": electricity,
    "hours": hours,
    "gpu_hours": gpu_hours,
}
"""For templates."""
