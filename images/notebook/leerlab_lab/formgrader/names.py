"""What students are called: asked of the grading service, for pages alone; the gradebook keeps pseudonyms."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Iterable

from leerlab_lab.service import Service, ServiceError

KEPT_SECONDS = 60.0
ANSWER_SECONDS = 5.0
MOST_AT_ONCE = 1000
_NAME = re.compile(r"[a-z][a-z0-9-]{1,30}\Z")
log = logging.getLogger("leerlab.names")


class Names:
    """Titles of the course's students, each kept for a minute.

    Args:
        course: the course's id.
    """

    def __init__(self, course: str) -> None:
        self._course = course
        self._known: dict[str, tuple[float, str]] = {}

    async def of(self, students: Iterable[str]) -> dict[str, str]:
        """What these students are called; who has no known name is left out.

        A service that does not answer in time makes the pages show pseudonyms, it does not keep them away.
        """
        wanted = {name for name in students if _NAME.match(name)}
        now = time.monotonic()
        asked = sorted(name for name in wanted if now - self._known.get(name, (-KEPT_SECONDS, ""))[0] >= KEPT_SECONDS)
        for first in range(0, len(asked), MOST_AT_ONCE):
            await self._ask(asked[first : first + MOST_AT_ONCE])
        return {name: self._known[name][1] for name in wanted if self._known.get(name, (0.0, ""))[1]}

    async def _ask(self, names: list[str]) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                titles = await asyncio.to_thread(Service().tell, f"/people/{self._course}", names)
        except (ServiceError, TimeoutError) as error:
            log.warning("The names of students are not known now: %s", error or "no answer in time")
            return
        now = time.monotonic()
        self._known |= {name: (now, str(titles.get(name, ""))) for name in names}
