"""Energy of an answer: reckoned from the processor time that a model's process took for it, shared by who asked.

A model's process on ordinary processors has no meter of its own. So its processor seconds are counted exactly, and
turned into joules by the model of `base.energy`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from base.energy import UNCERTAINTY


@dataclass(frozen=True)
class Energy:
    """What an answer took.

    Args:
        joules: None where nothing is known.
        measured: whether a meter said so.
        source: how it is known: `cpu-seconds`, `facility` or empty.
    """

    joules: float | None = None
    measured: bool = False
    source: str = ""

    def told(self) -> dict[str, object]:
        """As `usage.leerlab` says it."""
        if self.joules is None:
            return {"joules": None, "measured": False}
        told: dict[str, object] = {"joules": round(self.joules, 3), "measured": self.measured, "source": self.source}
        if self.source == "cpu-seconds":
            told |= {"least": round(self.joules / UNCERTAINTY, 3), "most": round(self.joules * UNCERTAINTY, 3)}
        return told


class Shares:
    """Divides a process's processor time among the answers that it works on, evenly at each moment.

    Args:
        clock: seconds of processor time so far.
    """

    def __init__(self, clock: Callable[[], float] = time.process_time) -> None:
        self._clock = clock
        self._lock = Lock()
        self._last = clock()
        self._taken: dict[object, float] = {}

    def begin(self, answer: object) -> None:
        """Work on an answer begins."""
        with self._lock:
            self._divide()
            self._taken[answer] = 0.0

    def so_far(self, answer: object) -> float:
        """Processor seconds of an answer until now."""
        with self._lock:
            self._divide()
            return self._taken[answer]

    def end(self, answer: object) -> float:
        """Work on an answer ends; returns its processor seconds."""
        with self._lock:
            self._divide()
            return self._taken.pop(answer)

    def _divide(self) -> None:
        now = self._clock()
        passed, self._last = now - self._last, now
        for answer in self._taken:
            self._taken[answer] += passed / len(self._taken)
