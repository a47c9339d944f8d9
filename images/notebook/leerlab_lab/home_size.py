"""How much the files in the home take, of what they may: told to the lab's pages, which say so when little is left.

The job's wrapper keeps the limit, from outside (`confinement.home_size`); this only tells. It is measured in a thread,
and seldom.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

SELDOM_SECONDS, OFTEN_SECONDS = 120.0, 50.0
NEARLY = 0.8
"""Part of the room from which on it is measured often."""
SPARED = 50.0
"""Times as long as measuring took that there is until the next time: millions of files are measured seldom."""
VARIABLE = "LEERLAB_HOME_SIZE"
_BLOCK = 512  # bytes of one unit of st_blocks (stat(2))


@dataclass(frozen=True)
class Home:
    """A home as it was found.

    Args:
        taken: bytes on the disk.
        size: bytes that it may take.
    """

    taken: int
    size: int


def taken_by(folder: Path) -> int:
    """Bytes on the disk of everything below a folder; a file with several names counts once, links are not followed."""
    taken, seen = 0, set()
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            try:
                about = os.lstat(os.path.join(place, name))  # noqa: PTH118  for each of perhaps a million files
            except OSError:
                continue
            if about.st_nlink > 1 and name not in folders:
                if (key := (about.st_dev, about.st_ino)) in seen:
                    continue
                seen.add(key)
            taken += about.st_blocks * _BLOCK
    return taken


class HomeSize:
    """Measures a home, when somebody asks and what was found is old.

    Args:
        home: the folder.
        size: bytes that it may take.
        clock: seconds that nobody sets.
    """

    def __init__(self, home: Path, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._home, self._size, self._clock = home, size, clock
        self._found: Home | None = None
        self._again = float("-inf")
        self._measuring: asyncio.Future[int] | None = None

    @classmethod
    def here(cls, environment: Mapping[str, str] = os.environ) -> HomeSize | None:
        """That of this server; None where a home has no limit."""
        size = environment.get(VARIABLE, "")
        return cls(Path.home(), int(size)) if size.isdigit() else None

    async def found(self) -> Home:
        """The home as it is, or was a moment ago."""
        if self._found is None or self._clock() >= self._again:
            begun = self._clock()
            if self._measuring is None:
                self._measuring = asyncio.ensure_future(asyncio.to_thread(taken_by, self._home))
            try:
                taken = await asyncio.shield(self._measuring)
            finally:
                if self._measuring is not None and self._measuring.done():
                    self._measuring = None
            self._found = Home(taken, self._size)
            oldest = OFTEN_SECONDS if taken >= NEARLY * self._size else SELDOM_SECONDS
            self._again = self._clock() + max(oldest, SPARED * (self._clock() - begun))
        return self._found
