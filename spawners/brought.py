"""Logs of jobs that ran as people's own accounts, brought to the hub's own folder of the job, where pages look."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from cluster.errors import SlurmError
from spawners import launcher
from spawners.facility import Facility
from spawners.starts import Start

log = logging.getLogger(__name__)


async def bring_logs(facility: Facility, start: Start) -> None:
    """Bring the ends of a start's logs; nothing to do for a job of the site's own account.

    Raises nothing: what cannot be brought is a page without the last lines.
    """
    if start.uid is None or facility.launcher is None:
        return
    for name in (launcher.LOG, launcher.SLURM_LOG):
        try:
            texts = await facility.launcher.read(start.uid, [start.id], name)
            if start.id in texts:
                put(facility.state.jobs / start.id / name, texts[start.id])
        except (SlurmError, OSError) as error:
            log.warning("The log %s of start %s was not brought: %s", name, start.id, error)


def put(path: Path, text: str) -> None:
    """Write what was brought, in the place of what was brought before."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
