"""What the members of an ended sandbox take with them: one tar file with everything, and a list that proves it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from base.opened import folder_in, root_folder
from ledger.store import Entry, Ledger
from ledger.transfers import TransferLedger
from sandboxes.folders import Folders

MANIFEST, TRAIL, REACHED = "manifest.json", "trail.jsonl", "egress.log"
MOST_DEEP = 200
MOST_NAMES = 32 * 2**20
"""Letters of all paths together: they are kept in memory for the manifest."""
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 2**20


@dataclass(frozen=True)
class Listed:
    """One file of the manifest.

    Args:
        path: below `files/` in the tar file.
        size: bytes.
        sha256: hash of the contents in hexadecimal.
    """

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Exported:
    """What an export holds.

    Args:
        files: how many files.
        bytes: of all files together.
        left_out: links, devices and files that could not be read, by path.
        sha256: hash of the tar file.
    """

    files: int
    bytes: int
    left_out: tuple[str, ...]
    sha256: str


def export(folders: Folders, ledger: Ledger, sandbox: str, most: int) -> Exported:
    """Pack the shared files, a manifest and the sandbox's part of the audit trail; nothing may run in it any more.

    The file appears under its name only when it is complete. Links are listed, not followed: they may lead anywhere. A
    file under two names is packed once; holes in a file take no space on disk but would here, so there is a limit.

    Args:
        folders: of the sandbox.
        ledger: with its audit trail.
        sandbox: its id.
        most: bytes of all files together; what goes beyond is left out, and named.

    Raises:
        OSError: the disk is full, or a file could not be read to its end.
    """
    target = folders.export
    partial = target.with_suffix(".partial")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    listed: list[Listed] = []
    left_out: list[str] = []
    try:
        with partial.open("wb") as raw, tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
            packed, names, first = 0, 0, dict[tuple[int, int], Listed]()
            for path, descriptor in _files(folders.files, left_out):
                status = os.fstat(descriptor)
                names += len(path)
                if names > MOST_NAMES:
                    left_out.append("(and more: there are too many names)")
                    break
                inode = (status.st_dev, status.st_ino)
                if inode in first:
                    listed.append(_add_name(tar, path, first[inode]))
                elif packed + status.st_size > most:
                    left_out.append(path)
                else:
                    listed.append(_add(tar, _inside(path), descriptor))
                    packed += status.st_size
                    if status.st_nlink > 1:
                        first[inode] = listed[-1]
            _add_log(tar, folders)
            trail = [_plain(entry) for entry in entries_of(ledger, sandbox)]
            manifest = {"sandbox": sandbox, "files": [asdict(one) for one in listed], "left_out": left_out}
            _add_text(tar, MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=1) + "\n")
            _add_text(tar, TRAIL, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in trail))
            raw.flush()
        with partial.open("rb") as written:
            os.fsync(written.fileno())
            digest = hashlib.file_digest(written, "sha256").hexdigest()
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
    return Exported(len(listed), sum(one.size for one in listed), tuple(left_out), digest)


def entries_of(ledger: Ledger, sandbox: str) -> Sequence[Entry]:
    """The audit entries about a sandbox and its transfers, in order."""
    subjects = [sandbox, *(transfer.id for transfer in TransferLedger(ledger).of(sandbox))]
    found = [entry for subject in subjects for entry in ledger.entries(subject=subject)]
    return sorted(found, key=lambda entry: entry.sequence)


def _plain(entry: Entry) -> dict[str, Any]:
    return {**asdict(entry), "time": entry.time.isoformat(), "details": dict(entry.details)}


def _files(folder: Path, left_out: list[str]) -> Iterator[tuple[str, int]]:
    """Regular files below a folder with an open descriptor of each; everything else is named in `left_out`."""
    root = root_folder(folder)
    try:
        yield from _files_in(root, PurePosixPath(), left_out)
    finally:
        os.close(root)


def _files_in(folder: int, below: PurePosixPath, left_out: list[str]) -> Iterator[tuple[str, int]]:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        path = below / entry.name
        try:
            is_folder = entry.is_dir(follow_symlinks=False)
            opened = folder_in(folder, entry.name) if is_folder else _opened_file(folder, entry)
        except OSError:
            left_out.append(str(path))
            continue
        try:
            if is_folder and len(path.parts) < MOST_DEEP:
                yield from _files_in(opened, path, left_out)
            elif not is_folder and stat.S_ISREG(os.fstat(opened).st_mode):
                yield str(path), opened
            else:
                left_out.append(str(path))
        finally:
            os.close(opened)


def _opened_file(folder: int, entry: os.DirEntry[str]) -> int:
    """A descriptor of a file; one that its owner closed is opened again, because it is the owner's export."""
    try:
        return os.open(entry.name, _OPEN, dir_fd=folder)
    except PermissionError:
        if not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            raise
        # Nothing runs in the sandbox any more: what was a file a moment ago still is.
        os.chmod(entry.name, stat.S_IRUSR | stat.S_IWUSR, dir_fd=folder)
        return os.open(entry.name, _OPEN, dir_fd=folder)


class _Hashed(io.RawIOBase):
    """Reads a file and hashes what it read."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(os.dup(descriptor), "rb")
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(_CHUNK if size < 0 else size)
        self.digest.update(piece)
        return piece

    def close(self) -> None:
        self._file.close()
        super().close()


def _add(tar: tarfile.TarFile, name: str, descriptor: int) -> Listed:
    status = os.fstat(descriptor)
    information = tarfile.TarInfo(name)
    information.size, information.mode, information.mtime = status.st_size, 0o600, int(status.st_mtime)
    with _Hashed(descriptor) as hashed:
        tar.addfile(information, hashed)
    return Listed(information.name.removeprefix("files/"), status.st_size, hashed.digest.hexdigest())


def _add_log(tar: tarfile.TarFile, folders: Folders) -> None:
    """What was reached outside, for a sandbox that reached anything."""
    try:
        log = os.open(folders.egress_log, _OPEN)
    except FileNotFoundError:
        return
    try:
        _add(tar, REACHED, log)
    finally:
        os.close(log)


def _add_name(tar: tarfile.TarFile, path: str, first: Listed) -> Listed:
    """Another name of a file that is packed already."""
    information = tarfile.TarInfo(_inside(path))
    information.type, information.linkname, information.mode = tarfile.LNKTYPE, f"files/{first.path}", 0o600
    tar.addfile(information)
    return replace(first, path=information.name.removeprefix("files/"))


def _inside(path: str) -> str:
    """The path in the tar file; bytes that are no text become signs of their own, so that two names stay two."""
    return f"files/{path}".encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode("utf-8", "replace")
    information = tarfile.TarInfo(name)
    information.size, information.mode = len(data), 0o600
    tar.addfile(information, io.BytesIO(data))
