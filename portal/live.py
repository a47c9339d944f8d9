"""Server-sent events (HTML standard, section 9.2): a page's regions, drawn anew when what they show has changed."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import count

from portal.errors import HubSilent, NotLoggedIn, Refused
from portal.pages import LivePage, Pages
from portal.people import Visitor
from portal.snapshot import Looks, Snapshot

# A browser opens six connections to one origin at most; more streams of one session are left-overs.
MOST_OF_ONE = 6
LONGEST_SECONDS = 1800.0
_RETRY = b"retry: 3000\n\n"

# Who asks, anew: groups and logins change while a page is open. Raises what a page request would.
Again = Callable[[], Awaitable[Visitor]]


@dataclass(frozen=True)
class Watched:
    """One open page.

    Args:
        page: what it shows.
        parameters: of its path.
        path: its path.
    """

    page: LivePage
    parameters: Mapping[str, str]
    path: str


class Streams:
    """All streams of this process.

    Args:
        pages: draws.
        looks: what runs; looked at only while a stream is open.
    """

    def __init__(self, pages: Pages, looks: Looks) -> None:
        self._pages = pages
        self._looks = looks
        self._numbers = count()
        self._open: dict[str, OrderedDict[int, asyncio.Event]] = {}

    def __len__(self) -> int:
        return sum(len(streams) for streams in self._open.values())

    async def stream(self, watched: Watched, session: str, again: Again) -> AsyncIterator[bytes]:
        """Events for one open page, until the browser or the session goes.

        Args:
            watched: the page.
            session: the session's id.
            again: who asks, now.
        """
        number, ended = next(self._numbers), asyncio.Event()
        own = self._open.setdefault(session, OrderedDict())
        own[number] = ended
        while len(own) > MOST_OF_ONE:
            own.popitem(last=False)[1].set()
        try:
            yield _RETRY
            async with asyncio.timeout(LONGEST_SECONDS), self._looks.watch() as after:
                async for event in self._events(watched, again, after, ended):
                    yield event
        except TimeoutError:
            return  # the browser connects again by itself
        finally:
            own.pop(number, None)
            if not own:
                self._open.pop(session, None)

    async def _events(
        self,
        watched: Watched,
        again: Again,
        after: Callable[[int], AsyncIterator[Snapshot]],
        ended: asyncio.Event,
    ) -> AsyncIterator[bytes]:
        shown: dict[str, str] = {}
        yield event("here", {})
        async for snapshot in after(0):
            if ended.is_set():
                return
            yield event("here", {})
            try:
                visitor = await again()
                context = await self._pages.filled(watched.page, visitor, watched.parameters, snapshot, watched.path)
            except (NotLoggedIn, Refused):
                yield event("leave", {})
                return
            except HubSilent:
                # Who this is cannot be known now, so nothing of theirs is drawn anew; only that we cannot see.
                html = await self._pages.region("seen", {"snapshot": Snapshot()})
                if shown.get("seen") != html:
                    shown["seen"] = html
                    yield event("region", {"region": "seen", "html": html})
                continue
            for region in watched.page.regions:
                html = await self._pages.region(region, context)
                if shown.get(region) != html:
                    shown[region] = html
                    yield event("region", {"region": region, "html": html})


def event(name: str, data: Mapping[str, str]) -> bytes:
    """One event; JSON has no line ends, so it is one line."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
