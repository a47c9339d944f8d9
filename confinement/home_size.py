"""Keeps a home to its size while something runs in it: measured by the job's wrapper, outside the wall.

It is no quota of the kernel: a home can be above its size for as long as there is between two looks, so a file system
that has quotas should have one as well. Who comes to clean up is let in (`base.disk_use.Allowance`). Standard library
and `base` only.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from base.disk_use import Allowance, DiskUse, disk_use

FULL = 122
"""Exit code of a job whose home was full: EDQUOT, errno(3)."""
LOOK_SECONDS = 15.0
"""Between two looks, at least."""
SPARED = 20.0
"""Times as long as a look took that there is until the next one: millions of files cost 5 % of one core."""


class HomeSize:
    """Looks at a home in a thread of its own, until it is closed.

    Args:
        home: the folder outside that is the home inside.
        size: bytes that it may take; None: as many as there are, and nobody looks.
        full: called once, when the home is above its size and grows.
        pause: seconds between two looks, at least.
    """

    def __init__(self, home: Path, size: int | None, full: Callable[[], None], pause: float = LOOK_SECONDS) -> None:
        self._home = home
        self._size = size
        self._on_full = full
        self._pause = pause
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="home-size", daemon=True)
        self.overrun: DiskUse | None = None
        """What was found when the home was full; None: it was not."""

    def __enter__(self) -> HomeSize:
        if self._size is not None:
            self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        # Not waited for: a look at millions of files takes longer than the end of a job may.
        self._ended.set()

    def _keep(self) -> None:
        assert self._size is not None
        pause, allowance = 0.0, Allowance(self._size)
        while not self._ended.wait(pause):
            begun = time.monotonic()
            used = self._look()
            pause = max(self._pause, SPARED * (time.monotonic() - begun))
            if used is not None and allowance.broken(used):
                self.overrun = used
                self._on_full()
                return

    def _look(self) -> DiskUse | None:
        try:
            return disk_use(self._home, most_files=float("inf"))
        except OSError as error:
            # Nobody's work is ended because nobody can measure it, as when a shared file system is away.
            sys.stderr.write(f"How much the home takes is not known: {error}\n")
            return None
