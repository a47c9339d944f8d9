"""Erasing a sandbox: every file of it, its jobs' logs and its words in the ledger; and the search that proves it.

What is promised: nothing of the sandbox is left in any file below the state folder, SQLite's free pages and journal
included. What is not: copies that a disk's own controller, a snapshot or a backup keeps. Files are unlinked, not
written over, because on today's disks and file systems writing over a file need not touch the old blocks. Lines of the
site's logs that name the sandbox, and may so hold a file's name in an address, are blanked where they stand: the
processes that write these logs go on.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from base.errors import LeerlabError
from base.opened import folder_in, root_folder
from base.paths import State
from ledger.sandboxes import SandboxLedger, SandboxState
from ledger.transfers import TransferLedger
from sandboxes.folders import Folders
from spawners.submission import OWNER

_CHUNK = 2**20
_MOVED = ".erasing-"


@dataclass(frozen=True)
class Erased:
    """What an erasure removed.

    Args:
        files: how many files and folders.
        jobs: how many jobs' folders.
        lines: how many lines of the site's logs were blanked.
    """

    files: int
    jobs: int
    lines: int


def erase(ledger: SandboxLedger, state: State, sandbox: str, by: str) -> Erased:
    """Erase a sandbox in which nothing runs any more. Broken off, it is begun again by the next call.

    Args:
        ledger: where the sandbox is remembered.
        state: the site's state folder.
        sandbox: its id.
        by: pseudonym of who decided it.

    Raises:
        NotPossibleNow: it is not ending.
        LeerlabError: something could not be removed, or the ledger's journal not be emptied.
    """
    jobs = list(_job_folders(state, sandbox))
    files = sum(_remove(folder) for folder in jobs)
    files += _remove(Folders(state, sandbox).root)
    lines = _blank_log_lines(state, sandbox)
    ledger.forget(sandbox, by, {"files": str(files), "jobs": str(len(jobs)), "log_lines": str(lines)})
    return Erased(files, len(jobs), lines)


def remains(ledger: SandboxLedger, transfers: TransferLedger, state: State, sandbox: str) -> list[str]:
    """What is left of an erased sandbox, in words for an operator; nothing, when its erasure is whole.

    Args:
        ledger: where the sandbox is remembered.
        transfers: and its files on their way.
        state: the site's state folder.
        sandbox: its id.

    Raises:
        NoSuchSandbox: there never was one by this id.
    """
    row = ledger.get(sandbox)
    found_here = [f"the sandbox is {row.state}"] if row.state is not SandboxState.ERASED else []
    found_here += [f"the ledger keeps its {name}" for name in ("title", "purpose", "sector") if getattr(row, name)]
    if any(transfer.name or transfer.reason for transfer in transfers.of(sandbox)):
        found_here.append("the ledger keeps names of its files")
    folders = [Folders(state, sandbox).root, *_job_folders(state, sandbox)]
    return [*found_here, *(f"{folder} is there" for folder in folders if os.path.lexists(folder))]


def _blank_log_lines(state: State, sandbox: str) -> int:
    """Write spaces over every line of the site's logs that names the sandbox; says how many lines that were."""
    name, count = sandbox.encode(), 0
    for log in state.logs.iterdir():
        if log.is_symlink() or not log.is_file():
            continue
        with log.open("r+b") as file:
            place = 0
            for line in file:
                if name in line:
                    # Where it stands and as long as it is: whoever appends to the file notices nothing.
                    os.pwrite(file.fileno(), b" " * len(line.rstrip(b"\n")), place)
                    count += 1
                place += len(line)
            os.fsync(file.fileno())
    return count


def _job_folders(state: State, sandbox: str) -> Iterator[Path]:
    """Folders of the jobs of all members' servers."""
    prefix = f"box-{sandbox}-"
    for folder in state.jobs.iterdir():
        try:
            owner = (folder / OWNER).read_text()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if owner.startswith(prefix):
            yield folder


def _remove(folder: Path) -> int:
    """Remove a folder with everything in it, whatever modes its people gave; says how many things that were."""
    if not os.path.lexists(folder):
        return 0
    try:
        return _emptied(folder)
    except OSError as error:
        raise LeerlabError(
            f"{folder} could not be removed: {error.strerror}.", "The erasure is not finished."
        ) from error


def _emptied(folder: Path) -> int:
    """Remove a folder without paths or recursion, which depth and long names would break: what lies deep comes up.

    Each folder found in the top one gives its own folders to the top one under new names, and then goes. Names of an
    erasure that was broken off are still there.
    """
    count = 1
    top = root_folder(folder)
    try:
        while names := os.listdir(top):  # noqa: PTH208  # of a descriptor
            for name in names:
                count += not name.startswith(_MOVED)
                if not stat.S_ISDIR(os.stat(name, dir_fd=top, follow_symlinks=False).st_mode):
                    os.unlink(name, dir_fd=top)
                    continue
                below = folder_in(top, name)
                try:
                    for inner in os.listdir(below):  # noqa: PTH208
                        count += 1
                        if stat.S_ISDIR(os.stat(inner, dir_fd=below, follow_symlinks=False).st_mode):
                            os.close(folder_in(below, inner))  # a closed one cannot be moved
                            new = f"{_MOVED}{secrets.token_hex(8)}"
                            os.rename(inner, new, src_dir_fd=below, dst_dir_fd=top)
                        else:
                            os.unlink(inner, dir_fd=below)
                finally:
                    os.close(below)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    folder.rmdir()
    return count


def found(state: State, marker: bytes) -> list[Path]:
    """Every file or folder below the state folder that has the marker in its contents or its name.

    Args:
        state: the site's state folder.
        marker: at least 8 bytes that stand nowhere else.

    Raises:
        ValueError: the marker is too short to mean anything.
        LeerlabError: a file or folder cannot be read, so that nothing is known of it.
    """
    if len(marker) < 8:
        raise ValueError("a marker has at least 8 bytes")
    places = [path for path in _all_below(state.root) if marker in os.fsencode(path.name) or _holds(path, marker)]
    return sorted(places)


def _all_below(root: Path) -> Iterator[Path]:
    def closed(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise _unknown(Path(error.filename)) from error

    for folder, folders, files in os.walk(root, onerror=closed):
        for name in folders:
            if not os.access(Path(folder, name), os.R_OK | os.X_OK):
                # Members may close their folders; that keeps nothing from this look, and no company from another's.
                with suppress(OSError):
                    os.close(root_folder(Path(folder, name)))
        yield from (Path(folder, name) for name in (*folders, *files))


def _unknown(path: Path) -> LeerlabError:
    return LeerlabError(f"{path} cannot be read.", "The marker may stand in it.", "Look at it yourself.")


def _holds(path: Path, marker: bytes) -> bool:
    try:
        seen = path.lstat()
        if stat.S_ISLNK(seen.st_mode):
            return marker in os.fsencode(path.readlink())
        # Empty ones, such as the lock of munged that nobody may read, hold nothing.
        if not stat.S_ISREG(seen.st_mode) or not seen.st_size:
            return False
        with path.open("rb") as file:
            tail = b""
            while piece := file.read(_CHUNK):
                if marker in tail + piece:
                    return True
                tail = piece[-len(marker) :]
    except FileNotFoundError:
        return False
    except PermissionError as error:
        raise _unknown(path) from error
    return False
