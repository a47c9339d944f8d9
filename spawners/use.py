"""Where a job's wrapper writes what the job uses, and for whom and for what the job is; read by the hub's side later.

`jobs/use/<job's folder>/about.json` is written before the job is submitted, `use.jsonl` beside it by the job's wrapper
(`confinement.meter`). Both stay when the job's own folder goes, until everything is in the ledger. No wall has them.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from base.paths import State
from confinement.meter import FILE
from ledger.use import Place, Purpose
from spawners.settings import Profile

ABOUT = "about.json"
# A line of the wrapper's has 400 bytes. No more of the file is read than its end: older lines tell less.
_TAIL = 16 * 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class About:
    """What was known of a job when it was submitted.

    Args:
        comment: that it has in Slurm.
        purpose: for whom and for what it is.
        partition, cores, gpus, shards: what was asked for.
        written: when.
        job: Slurm's number of it; None until Slurm told it.
        gpu_type: which GPUs were asked for; None: any.
    """

    comment: str
    purpose: Purpose
    partition: str
    cores: int
    gpus: int
    shards: int
    written: datetime
    job: int | None = None
    gpu_type: str | None = None


@dataclass(frozen=True)
class Counted:
    """What a wrapper counted, as of its last whole line.

    Args:
        job: Slurm's number of the job.
        time: seconds since 1970 by the node's clock; for people only, because somebody may set it.
        seconds: since the wrapper began to count.
        cores: processor cores of the job; None where nothing tells.
        cpu_seconds: processor time.
        gpus: GPUs that entered the wall.
        shared: whether the job had parts of a GPU.
        gpu: joules, least and most of its GPUs as their meters say; None where there is no meter.
        last: whether this is the last line of a wrapper that ended by itself.
    """

    job: int | None
    time: float
    seconds: float
    cores: int | None
    cpu_seconds: float
    gpus: int
    shared: bool
    gpu: tuple[float, float, float] | None
    last: bool


def begin(state: State, name: str, comment: str, purpose: Purpose, profile: Profile) -> Path:
    """Write down for whom and for what a job will be, before it is submitted.

    Args:
        state: the site's.
        name: of the job's folder.
        comment: that it gets in Slurm.
        purpose: for whom and for what.
        profile: what it asks for.

    Returns:
        The file to which its wrapper writes.
    """
    folder = state.use / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    asked = (profile.partition, profile.cpus, profile.gpus, profile.shards)
    _write(folder, About(comment, purpose, *asked, datetime.now(UTC), gpu_type=profile.gpu_type))
    return folder / FILE


def submitted(state: State, name: str, job: int) -> None:
    """Write down which number Slurm gave a job; nothing when that has been collected already.

    Raises nothing: the job runs, and its wrapper and its comment tell the number, too.
    """
    folder = state.use / name
    try:
        if (about := about_of(folder)) is not None:
            _write(folder, replace(about, job=job))
    except OSError as error:
        log.warning("The number of job %d is not written down: %s", job, error)


def uncollected(state: State) -> Iterator[Path]:
    """The folders of jobs of which not everything is in the ledger."""
    for folder in sorted(state.use.iterdir()):
        if folder.is_dir() and not folder.is_symlink():
            yield folder


def about_of(folder: Path) -> About | None:
    """What `begin` wrote; None when it is not there, such as after a crash in between."""
    try:
        raw = json.loads((folder / ABOUT).read_bytes())
        purpose = Purpose(str(raw["person"]), Place(raw["place"]), str(raw["place_id"]))
        cores, gpus, shards = (int(raw[name]) for name in ("cores", "gpus", "shards"))
        job = None if raw["job"] is None else int(raw["job"])
        written = datetime.fromisoformat(raw["written"])
        # A Leerlab before this one wrote no type.
        gpu_type = None if (told := raw.get("gpu_type")) is None else str(told)
        return About(str(raw["comment"]), purpose, str(raw["partition"]), cores, gpus, shards, written, job, gpu_type)
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError) as error:
        log.warning("%s tells nothing of its job: %s", folder / ABOUT, error)
        return None


def counted_in(folder: Path) -> Counted | None:
    """The last whole line of the wrapper's; None when there is none, such as before the job began."""
    try:
        descriptor = os.open(folder / FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("%s cannot be read: %s", folder / FILE, error)
        return None
    with os.fdopen(descriptor, "rb") as file:
        file.seek(max(0, os.fstat(descriptor).st_size - _TAIL))
        lines = file.read(_TAIL).split(b"\n")
    # What follows the last line end was cut off in the middle, or is being written at this moment.
    for line in reversed(lines[:-1]):
        try:
            return _counted(json.loads(line))
        except (KeyError, TypeError, ValueError):
            continue
    return None


def forget(folder: Path) -> None:
    """Remove what has been collected."""
    shutil.rmtree(folder)


def _counted(raw: Any) -> Counted:
    gpu = raw["gpu"]
    return Counted(
        job=None if raw["job"] is None else int(raw["job"]),
        time=float(raw["time"]),
        seconds=max(0.0, float(raw["seconds"])),
        cores=None if raw["cores"] is None else int(raw["cores"]),
        cpu_seconds=max(0.0, float(raw["cpu_seconds"])),
        gpus=int(raw["gpus"]),
        shared=bool(raw["shared"]),
        gpu=None if gpu is None else (float(gpu["joules"]), float(gpu["least"]), float(gpu["most"])),
        last=bool(raw["last"]),
    )


def _write(folder: Path, about: About) -> None:
    plain = {
        "comment": about.comment, "person": about.purpose.person, "place": str(about.purpose.place),
        "place_id": about.purpose.place_id, "partition": about.partition, "cores": about.cores, "gpus": about.gpus,
        "shards": about.shards, "written": about.written.isoformat(), "job": about.job,
        "gpu_type": about.gpu_type,
    }  # fmt: skip
    fresh = folder / f"{ABOUT}.fresh"
    fresh.write_text(json.dumps(plain), "utf-8")
    fresh.replace(folder / ABOUT)
