"""Puts datasets and models where every wall sees them: each file checked by its digest, each entry complete or absent.

`<root>/<id>/<version>/` holds an entry's files and `card.json`. An entry is put together in a folder of its own and
given its name at the end, so that nothing half can be read; its files cannot be written afterwards.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from base.errors import LeerlabError
from catalogue.card import CardFile
from catalogue.entries import Entry, described

CARD_JSON = "card.json"
_CHUNK = 2**20
_NEW = ".new-"
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_MODE, _FOLDER_MODE = 0o444, 0o755
Step = Callable[[str], None]


class NotThatFile(LeerlabError):
    """A file is not the one that its card describes."""


@dataclass(frozen=True)
class Problem:
    """Something on the shelf that is not as its card says.

    Args:
        entry: id of the dataset or model.
        file: name of the file.
        what: what is wrong with it.
    """

    entry: str
    file: str
    what: str


@dataclass(frozen=True)
class Sources:
    """Where files are taken from.

    Args:
        installation: the installed code, for `installed`.
        packages: `site-packages` of the catalogue's environment, for `package`.
    """

    installation: Path
    packages: Path

    def of(self, entry: Entry, file: CardFile) -> Path:
        """Where one file of an entry is taken from."""
        source = file.source
        if source.beside is not None:
            return entry.folder / source.beside
        if source.installed is not None:
            return self.installation / source.installed
        return self.packages / str(source.package)


class Shelf:
    """All entries, ready to be mounted.

    Args:
        root: the folder for them; exists, and belongs to this account.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, entry: Entry) -> Path:
        """Where an entry stands, or will."""
        return self.root / entry.card.id / entry.card.version

    def problems(self, entry: Entry) -> list[Problem]:
        """What of an entry is missing or other than its card says; nothing when all is well."""
        found = []
        for file in entry.card.files:
            what = _differs(self.folder(entry) / file.name, file)
            if what:
                found.append(Problem(entry.card.id, file.name, what))
        try:
            said = json.loads((self.folder(entry) / CARD_JSON).read_bytes())
        except (OSError, ValueError):
            said = None
        if said != described(entry.card):
            found.append(Problem(entry.card.id, CARD_JSON, "is not what the card says"))
        return found

    def prepare(self, wanted: Sequence[Entry], sources: Sources, step: Step = lambda phrase: None) -> list[str]:
        """Put every entry on the shelf that is not there as its card says; others stay.

        Args:
            wanted: all entries that are to stand there.
            sources: where files are taken from.
            step: called with one English phrase for each entry that is put there.

        Returns:
            Ids of the entries that were put there.

        Raises:
            NotThatFile: a file is missing, or not the one that its card describes; nothing of its entry was put there.
            LeerlabError: the shelf cannot be written.
        """
        done = []
        try:
            with self._alone():
                for left in self.root.glob(f"{_NEW}*"):
                    _remove(left)
                for entry in wanted:
                    if self.problems(entry):
                        step(f"taking {entry.card.id} into the catalogue")
                        self._put(entry, sources)
                        done.append(entry.card.id)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            raise LeerlabError(
                f"The catalogue cannot be made ready in {self.root}: {error.strerror}.",
                "Datasets or models are missing, and courses that use them do not run.",
                "Make room on the disk." if full else "See that this account may write there.",
            ) from error
        return done

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _put(self, entry: Entry, sources: Sources) -> None:
        new = self.root / f"{_NEW}{secrets.token_hex(8)}"
        new.mkdir(mode=0o700)
        try:
            for file in entry.card.files:
                _copy(sources.of(entry, file), new / file.name, entry, file)
            card = new / CARD_JSON
            card.write_text(json.dumps(described(entry.card), ensure_ascii=False, indent=1), encoding="utf-8")
            card.chmod(_FILE_MODE)
            target = self.folder(entry)
            target.parent.mkdir(mode=0o755, exist_ok=True)
            old = self.root / f"{_NEW}{secrets.token_hex(8)}"
            if target.exists():
                target.rename(old)
            new.rename(target)
            target.chmod(_FOLDER_MODE)
            _remove(old)
        finally:
            _remove(new)


def _copy(source: Path, target: Path, entry: Entry, file: CardFile) -> None:
    """Copy a file and see, on the way, that it is the right one."""
    try:
        reading = os.open(source, _READ)
    except FileNotFoundError as error:
        raise NotThatFile(
            f"{entry.card.id}: {source} is missing.",
            "This dataset or model cannot be used.",
            "Run ./leerlab up again: it installs what is missing. For an entry of your own: mend `source` in its card.",
        ) from error
    digest, size = hashlib.sha256(), 0
    with os.fdopen(reading, "rb") as taken, target.open("xb") as put:
        if not stat.S_ISREG(os.fstat(taken.fileno()).st_mode):
            raise _other(entry, source, "is no plain file")
        while size <= file.size and (piece := taken.read(_CHUNK)):
            digest.update(piece)
            size += len(piece)
            put.write(piece)
        put.flush()
        os.fsync(put.fileno())
    if size != file.size or digest.hexdigest() != file.sha256:
        raise _other(entry, source, "is not the file that the card describes")
    target.chmod(_FILE_MODE)


def _other(entry: Entry, source: Path, what: str) -> NotThatFile:
    return NotThatFile(
        f"{entry.card.id}: {source} {what}.",
        "It was changed, or the card is wrong; it is not used.",
        "Find out which of the two; give changed data a new version.",
    )


def _differs(path: Path, file: CardFile) -> str:
    """How a file differs from what its card says; empty when it does not."""
    try:
        reading = os.open(path, _READ)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return "is a link" if error.errno == errno.ELOOP else f"cannot be read: {error.strerror}"
    with os.fdopen(reading, "rb") as opened:
        seen = os.fstat(opened.fileno())
        if not stat.S_ISREG(seen.st_mode):
            return "is no plain file"
        if seen.st_size != file.size:
            return f"has {seen.st_size} bytes instead of {file.size}"
        if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
            return "has other contents"
    return ""


def _remove(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
