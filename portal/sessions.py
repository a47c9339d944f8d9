"""Who is logged in at the portal: random ids that browsers hold, tokens that only this process holds."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

MOST = 20_000
MOST_OF_ONE = 20
IDLE_SECONDS = 4 * 3600.0
LONGEST_SECONDS = 14 * 3600.0


@dataclass
class Session:
    """One browser of one person.

    Args:
        id: what the browser's cookie holds.
        person: the hub's name of the person.
        token: the person's own token for the hub; never leaves this process.
        csrf: what a form of this session proves itself with.
        begun: when it was opened, on the store's clock.
        seen: when it was last used.
    """

    id: str
    person: str
    token: str = field(repr=False)
    csrf: str = field(repr=False)
    begun: float
    seen: float


class Sessions:
    """All sessions of this process, bounded in number and in time; nothing is kept on disk.

    The one that was not used for the longest time makes way, of the same person first: nobody can push others out by
    logging in often.

    Args:
        most: most sessions together.
        most_of_one: most sessions of one person.
        idle: seconds without use after which a session ends.
        longest: seconds after which any session ends.
        clock: seconds that only go up.
    """

    def __init__(
        self,
        most: int = MOST,
        most_of_one: int = MOST_OF_ONE,
        idle: float = IDLE_SECONDS,
        longest: float = LONGEST_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._most_of_one, self._idle, self._longest = most, most_of_one, idle, longest
        self._clock = clock
        self._all: OrderedDict[str, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._all)

    def open(self, person: str, token: str) -> Session:
        """A session with an id that nobody knew before.

        Args:
            person: the hub's name.
            token: the person's own token.
        """
        now = self._clock()
        self._forget(now)
        own = [session.id for session in self._all.values() if session.person == person]
        for old in own[: max(0, len(own) - self._most_of_one + 1)]:
            del self._all[old]
        while len(self._all) >= self._most:
            self._all.popitem(last=False)
        session = Session(secrets.token_urlsafe(32), person, token, secrets.token_urlsafe(32), now, now)
        self._all[session.id] = session
        return session

    def of(self, session_id: str) -> Session | None:
        """The session of that id, which now counts as used; None when there is none or its time is over."""
        session = self._all.get(session_id)
        if session is None:
            return None
        now = self._clock()
        if not self._lives(session, now):
            del self._all[session_id]
            return None
        session.seen = now
        self._all.move_to_end(session_id)
        return session

    def close(self, session_id: str) -> None:
        """End a session; does nothing when there is none of that id."""
        self._all.pop(session_id, None)

    def _lives(self, session: Session, now: float) -> bool:
        return now - session.seen < self._idle and now - session.begun < self._longest

    def _forget(self, now: float) -> None:
        for session_id, session in list(self._all.items()):
            if self._lives(session, now):
                break
            del self._all[session_id]
