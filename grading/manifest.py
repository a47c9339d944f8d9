"""What a deposit of the exchange is: its manifest, and the manifests that a process keeps in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from grading.tree import FileEntry

Kind = Literal["release", "withdrawal", "submission", "feedback"]
MOST_REMEMBERED = 100_000
"""Files of all manifests that a process keeps in memory: some 80 MB."""


class Manifest(BaseModel):
    """What a deposit is, who made it and when, by the service's own knowledge.

    Args:
        stamp: the deposit's name: `time` in basic ISO 8601 format.
        student: whose submission or feedback it is; empty for a release.
        by: the hub's name of who sent it.
        submission: for feedback, the stamp of the submission that it is about; else empty.
        key: what the sender called this sending, so that sending it again does not make a second one.
        due: of a submission: the deadline that held for the student when it came; None: there was none.
        late_seconds: idem: how long after that deadline it came.
        percent_off: idem: how many percent of the points were to be taken off for it.
        attempt: idem: which one of the student's it is; 0 where none were counted yet.
        attempts: idem: how many there were; None: as many as one likes.
        sha256: digest of the whole tree (`grading.tree.digest`).
        size: bytes of all files together.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    course: str
    assignment: str
    student: str = ""
    by: str
    stamp: str
    time: datetime
    submission: str = ""
    key: str = ""
    due: datetime | None = None
    late_seconds: float = 0
    percent_off: float = 0
    attempt: int = 0
    attempts: int | None = None
    files: tuple[FileEntry, ...] = ()
    size: int = 0
    sha256: str = ""

    @property
    def timestamp(self) -> str:
        """The time as nbgrader writes it in timestamp.txt."""
        return self.time.strftime("%Y-%m-%d %H:%M:%S.%f UTC")

    @property
    def notebooks(self) -> list[str]:
        """Names, without `.ipynb`, of the notebooks in the tree's top folder."""
        paths = (entry.path for entry in self.files)
        return sorted(path.removesuffix(".ipynb") for path in paths if path.endswith(".ipynb") and "/" not in path)


class Remembered:
    """Manifests that were read, as many as may list so many files together; the one used longest ago makes way.

    Args:
        most: files listed by all of them together.
    """

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._listed = 0
        self._known: OrderedDict[Path, Manifest] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, folder: Path) -> Manifest | None:
        """The manifest of a deposit's folder, where it is remembered."""
        with self._lock:
            if folder in self._known:
                self._known.move_to_end(folder)
            return self._known.get(folder)

    def put(self, folder: Path, manifest: Manifest) -> None:
        """Remember it."""
        with self._lock:
            if folder in self._known:
                return
            self._known[folder] = manifest
            self._listed += 1 + len(manifest.files)
            while self._listed > self._most and len(self._known) > 1:
                self._listed -= 1 + len(self._known.popitem(last=False)[1].files)
