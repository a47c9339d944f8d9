"""Folders of starts that are over: removed after some days, at the hub's start."""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from jupyterhub import orm

from cluster.watcher import Watcher
from spawners.starts import Start, of_comment

KEPT = timedelta(days=7)
"""How long a start's logs are kept after the last line in them."""
MOST_REMOVED = 5000
"""Folders removed at one start of the hub: the rest goes at the next."""
ANSWER_SECONDS = 600.0
"""How long to wait for Slurm's first answer: without it nothing is removed."""
_ID = re.compile(r"[0-9a-f]{16}")
log = logging.getLogger(__name__)


def known_starts(session: Any) -> set[str]:
    """The ids of the starts that servers in the hub's database have now.

    Args:
        session: the hub's database session.
    """
    states = [spawner.state or {} for spawner in session.query(orm.Spawner)]
    starts = [Start.from_state(state.get("start")) for state in states]
    return {start.id for start in starts if start is not None}


def remove_old(jobs: Path, live: Collection[str], before: datetime, most: int = MOST_REMOVED) -> list[str]:
    """Remove the folders of starts in which nothing was written since a moment.

    Args:
        jobs: the folder of all jobs; what is not named like a start's folder is left alone.
        live: ids of starts to keep, however old.
        before: the moment, with time zone.
        most: folders to remove at most.

    Returns:
        The ids of the starts whose folders are gone.
    """
    removed: list[str] = []
    for folder in sorted(jobs.iterdir()):
        if len(removed) >= most:
            break
        if not _ID.fullmatch(folder.name) or folder.name in live or folder.is_symlink() or not folder.is_dir():
            continue
        try:
            newest = max(path.lstat().st_mtime for path in (folder, *folder.iterdir()))
            if newest < before.timestamp():
                shutil.rmtree(folder)
                removed.append(folder.name)
        except OSError as error:
            log.warning("The folder of an old start stays for now: %s", error)
    return removed


async def prune(jobs: Path, known: Collection[str], watcher: Watcher) -> None:
    """Once Slurm has told which jobs live, remove the folders of starts that ended long ago; off the event loop.

    Args:
        jobs: the folder of all jobs.
        known: ids of starts that the hub's database has.
        watcher: tells what lives. Slurm's silence removes nothing.
    """
    queue = watcher.queue or await watcher.next_answer(ANSWER_SECONDS)
    if queue is None:
        log.warning("Folders of old starts stay: Slurm did not tell which jobs live")
        return
    named = (of_comment(job.comment) for job in queue.jobs)
    live = {*known, *(name[1] for name in named if name is not None)}
    removed = await asyncio.to_thread(remove_old, jobs, live, datetime.now(UTC) - KEPT)
    if removed:
        log.warning("Removed the folders of %d starts that ended over %d days ago", len(removed), KEPT.days)
