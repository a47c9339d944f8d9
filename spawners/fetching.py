"""What jobs of people's own accounts used, fetched from where their wrappers write it: the account's own folder.

A look at a person's folder starts a process as that person. So that a thousand servers cost little, one that runs is
looked at seldom, and once more when it has ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

from base.paths import State
from cluster.errors import SlurmError
from confinement.meter import FILE
from spawners.brought import put
from spawners.launching import Launcher
from spawners.starts import of_comment, uid_of

EVERY_SECONDS = 900.0
"""Between two looks at a job that runs."""
AT_ONCE = 4

log = logging.getLogger("leerlab.use")


class Fetching:
    """Fetches what is counted.

    Args:
        launcher: reads as people's accounts.
        state: the site's state folder.
    """

    def __init__(self, launcher: Launcher, state: State) -> None:
        self._launcher = launcher
        self._state = state
        self._seen: dict[str, float] = {}

    async def fetch(self, comments: Collection[str], running: Collection[str]) -> None:
        """Bring what was counted of these jobs to where `spawners.use` looks for it.

        Raises nothing: what was not brought is brought at the next look.

        Args:
            comments: of jobs of which not everything is in the ledger.
            running: of those that have not ended.
        """
        now, wanted = asyncio.get_running_loop().time(), dict[int, list[str]]()
        for comment in comments:
            name, uid = of_comment(comment), uid_of(comment)
            if name is None or uid is None:
                continue
            if comment in running and now - self._seen.get(name[1], float("-inf")) < EVERY_SECONDS:
                continue
            wanted.setdefault(uid, []).append(name[1])
        limit = asyncio.Semaphore(AT_ONCE)

        async def of(uid: int, starts: list[str]) -> None:
            async with limit:
                try:
                    texts = await self._launcher.read(uid, starts, FILE)
                    for start, text in texts.items():
                        await asyncio.to_thread(put, self._state.use / start / FILE, text)
                except (SlurmError, OSError) as error:
                    log.warning("What jobs of account %d used is fetched later: %s", uid, error)
                    return
            self._seen |= dict.fromkeys(starts, now)

        await asyncio.gather(*(of(uid, starts) for uid, starts in wanted.items()))
        known = {name[1] for comment in comments if (name := of_comment(comment)) is not None}
        self._seen = {start: at for start, at in self._seen.items() if start in known}
