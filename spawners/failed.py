"""What is written down of starts and servers that failed, beside their logs: for the person, and for the operator."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from base.messages import Message
from spawners.failures import LAST_LINES
from spawners.logs import last_lines
from spawners.submission import LOG, OWNER, SLURM_LOG

FILE = "failure.json"
DAYS = 7
MOST = 20
_ID = re.compile(r"[0-9a-f]{16}")
_LARGEST = 16 * 1024
_NOT_OF_INTEREST = frozenset(
    {"start.failed.cancelled", "server.ended.itself", "server.ended.idle", "server.ended.site"}
)


@dataclass(frozen=True)
class Failed:
    """A start that failed, or a server that ended by something else than its owner's wish.

    Args:
        start: id of the start.
        owner: the hub's account whose server it was.
        message: why, without the job's lines.
        at: when.
        log: the last lines of the job, of the owner's own code perhaps: shown as text.
    """

    start: str
    owner: str
    message: Message
    at: datetime
    log: str


def lines_of(jobs: Path, start: str) -> str:
    """The last lines that a start's job wrote, secrets hidden; none when the folder is gone.

    Args:
        jobs: the folder of all jobs.
        start: id of the start.
    """
    return last_lines(jobs / start, (LOG, SLURM_LOG)) if _ID.fullmatch(start) else ""


def lines_outside(jobs: Path, start: str) -> str:
    """The last lines that Slurm and the job's wrapper wrote, where nobody's own program writes.

    Args:
        jobs: folder of the jobs' folders.
        start: id of the start.
    """
    return last_lines(jobs / start, (SLURM_LOG,)) if _ID.fullmatch(start) else ""


def write_down(jobs: Path, start: str, message: Message, at: datetime) -> None:
    """Write down why a start or a server has ended, unless that is nobody's concern or its folder is gone.

    Args:
        jobs: the folder of all jobs.
        start: id of the start.
        message: why; the job's lines are left out, because they stand in the log.
        at: when.
    """
    if message.code in _NOT_OF_INTEREST:
        return
    params = {name: value for name, value in message.params.items() if name != LAST_LINES}
    text = json.dumps({"code": message.code, "params": params, "at": at.isoformat()})
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with suppress(OSError), os.fdopen(os.open(jobs / start / FILE, flags, 0o600), "w") as file:
        file.write(text)


def recent(jobs: Path, now: datetime) -> list[Failed]:
    """The newest failures of the last `DAYS`, newest first, at most `MOST`.

    Args:
        jobs: the folder of all jobs.
        now: this moment, with time zone.
    """
    oldest = (now - timedelta(days=DAYS)).timestamp()
    found: list[tuple[float, Path]] = []
    with suppress(OSError), os.scandir(jobs) as entries:
        for entry in entries:
            with suppress(OSError):
                if _ID.fullmatch(entry.name) and (at := Path(entry.path, FILE).lstat().st_mtime) >= oldest:
                    found.append((at, Path(entry.path)))
    newest = sorted(found, reverse=True)[:MOST]
    return [one for one in (_read(folder) for _, folder in newest) if one is not None]


def _read(folder: Path) -> Failed | None:
    try:
        raw = json.loads(_small(folder / FILE))
        code, params = str(raw["code"]), dict(raw["params"])
        at = datetime.fromisoformat(raw["at"]).astimezone(UTC)
        owner, log = _small(folder / OWNER).strip(), lines_of(folder.parent, folder.name)
        return Failed(folder.name, owner, Message(code, params), at, log)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _small(path: Path) -> str:
    """A file's beginning; a link is not followed."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        return file.read(_LARGEST).decode()
