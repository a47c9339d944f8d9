"""What a browser carries through a login: signed in a cookie, good for one callback, for ten minutes."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

LIFETIME_SECONDS = 600
MOST_USED = 100_000


@dataclass(frozen=True)
class LoginState:
    """One login on its way.

    Args:
        state_id: goes to the provider and comes back.
        provider: id of the provider that was asked.
        nonce: must be in the ID token.
        code_verifier: proves that who began the login ends it (PKCE, RFC 7636).
        next_url: where to go afterwards.
        begun: seconds since 1970.
    """

    provider: str
    code_verifier: str
    next_url: str
    state_id: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    begun: int = field(default_factory=lambda: int(time.time()))

    @property
    def too_old(self) -> bool:
        """Whether its time is over."""
        return not 0 <= time.time() - self.begun <= LIFETIME_SECONDS


class Used:
    """Remembers which logins have had their callback, for as long as their cookies could come again.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, float] = {}

    def first_time(self, state_id: str) -> bool:
        """Whether this one has not been seen before; it has from now on."""
        now = self._clock()
        # In order of time: the oldest are first. Beyond the most, a code's own single use has to do.
        while self._seen:
            oldest = next(iter(self._seen))
            if self._seen[oldest] > now - LIFETIME_SECONDS - 60 and len(self._seen) < MOST_USED:
                break
            del self._seen[oldest]
        if state_id in self._seen:
            return False
        self._seen[state_id] = now
        return True
