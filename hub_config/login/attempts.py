"""How often a wrong one-time key may be tried."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Attempts:
    """Counts wrong keys of all browsers together: behind the proxy they have one address.

    Args:
        limit: wrong keys allowed within the window.
        window: in seconds.
        clock: monotonic seconds.
    """

    limit: int = 5
    window: float = 60.0
    clock: Callable[[], float] = time.monotonic
    _wrong: deque[float] = field(default_factory=deque)

    def wait_seconds(self) -> int:
        """Seconds until the next key may be tried; 0 when that is now."""
        now = self.clock()
        while self._wrong and self._wrong[0] <= now - self.window:
            self._wrong.popleft()
        return 0 if len(self._wrong) < self.limit else max(1, round(self._wrong[0] + self.window - now))

    def wrong(self) -> None:
        """Remember one wrong key."""
        self._wrong.append(self.clock())
