"""The way out: a copy is made when somebody asks, a second member agrees to that very copy, and only that leaves."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from base.disk_use import disk_use
from base.errors import InputError
from base.paths import State
from confinement.collect import CollectRefused, open_file
from ledger.sandboxes import NoSuchSandbox, NotPossibleNow, SandboxLedger
from ledger.transfers import Direction, Transfer, TransferLedger, TransferState
from sandboxes.airlock.leaving import Leaving
from sandboxes.airlock.names import is_fit
from sandboxes.folders import Folders
from sandboxes.settings import SandboxSettings

OPEN_FOR = timedelta(days=7)
"""How long a file waits for an answer, and from a yes on how long it can be fetched."""
LONGEST_REASON = 200
MOST_SHOWN, MOST_SEEN, MOST_DEEP = 300, 20_000, 4
UNINTERESTING = frozenset({"__pycache__"})
"""Folders that programs make for themselves; nobody takes anything out of them."""
MOST_WAITING = 20
LEFT_SECONDS = 3600
"""Older than the longest copying: what a process that ended has left."""
_CHUNK = 2**20


class Outgoing:
    """The way out of all sandboxes.

    Args:
        sandboxes: says who is a member.
        transfers: where files on their way are remembered.
        state: the site's state folder.
        settings: the section `sandboxes:`.
    """

    def __init__(
        self, sandboxes: SandboxLedger, transfers: TransferLedger, state: State, settings: SandboxSettings
    ) -> None:
        self._sandboxes = sandboxes
        self._transfers = transfers
        self._state = state
        self._most = int(settings.upload)
        self._size = int(settings.size)

    def files(self, sandbox: str, person: str) -> list[str]:
        """Paths of plain files to choose from, newest first: not the hidden ones, and not all of very many.

        Args:
            sandbox: id of the sandbox.
            person: pseudonym of the member who looks.

        Raises:
            NoSuchSandbox: not for this person.
        """
        self._sandboxes.get_for(sandbox, person)
        return newest(Folders(self._state, sandbox).files)

    def ask(self, sandbox: str, person: str, path: str) -> Transfer:
        """Ask for a file of the shared folder: it is copied and hashed now.

        Args:
            sandbox: id of the sandbox.
            person: pseudonym of the member who asks.
            path: below the shared folder.

        Raises:
            InputError: there is no such plain file, or it is too large.
            NoSuchSandbox, NotPossibleNow: not for this person, or not now.
        """
        self._sandboxes.get_for(sandbox, person)
        name = path.rpartition("/")[2]
        if not is_fit(name):
            raise InputError(
                "A file with this name cannot go out.", do="Give it a short name without special characters."
            )
        folders = Folders(self._state, sandbox)
        folders.outgoing.mkdir(mode=0o700, exist_ok=True)
        self._tidy(sandbox)
        waiting = [
            one for one in self._transfers.of(sandbox) if one.state is TransferState.ASKED and not too_long_ago(one)
        ]
        if len(waiting) >= MOST_WAITING:
            raise NotPossibleNow(f"{MOST_WAITING} files wait for an answer already.", do="Answer those first.")
        if disk_use(folders.root).bytes > self._size:
            raise NotPossibleNow("There is no room for a copy of the file.", do="Take something away first.")
        copy = folders.outgoing / f".{secrets.token_hex(8)}"
        try:
            size, digest = self._copy(folders.files, path, copy)
            asked = self._transfers.begin(sandbox, Direction.OUTGOING, name, person, size=size, sha256=digest)
            copy.rename(folders.outgoing / asked.id)
        finally:
            copy.unlink(missing_ok=True)
        return asked

    def _tidy(self, sandbox: str) -> None:
        """Remove copies that nobody can fetch any more, and what a crash left of copies that were being made."""
        # First the folder, then the ledger: every copy that has its name already is known there.
        copies = [(copy, copy.lstat().st_mtime) for copy in Folders(self._state, sandbox).outgoing.iterdir()]
        still = (TransferState.ASKED, TransferState.APPROVED, TransferState.FETCHED)
        kept = {one.id for one in self._transfers.of(sandbox) if one.state in still and not too_long_ago(one)}
        for copy, made in copies:
            left = copy.name.startswith(".") and time.time() - made > LEFT_SECONDS
            if left or (not copy.name.startswith(".") and copy.name not in kept):
                copy.unlink(missing_ok=True)

    def _copy(self, files: Path, path: str, copy: Path) -> tuple[int, str]:
        folder = os.open(files, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        digest, size = hashlib.sha256(), 0
        try:
            with open_file(folder, path) as source, copy.open("xb") as target:
                copy.chmod(0o600)
                while piece := os.read(source, _CHUNK):
                    size += len(piece)
                    if size > self._most:
                        raise InputError(f"The file is larger than {self._most} bytes.", do="Split it.")
                    digest.update(piece)
                    target.write(piece)
        except CollectRefused as error:
            raise InputError(
                "There is no plain file of that name.", do="Look in the sandbox what it is called."
            ) from error
        finally:
            os.close(folder)
        return size, digest.hexdigest()

    def decide(self, transfer: str, person: str, *, yes: bool, reason: str = "") -> Transfer:
        """A second member's answer.

        Args:
            transfer: its id.
            person: pseudonym of who answers.
            yes: whether the file may leave.
            reason: in the member's own words, for the others.

        Raises:
            NoSuchSandbox: the person is no member.
            NotPossibleNow: the person asked for it, it was answered already, or asked for too long ago.
        """
        asked = self._for_member(transfer, person)
        if asked.asked_by == person:
            raise NotPossibleNow("You asked for this file yourself.", "Somebody else has to agree.")
        if asked.state is TransferState.ASKED and too_long_ago(asked):
            raise NotPossibleNow("This file was asked for too long ago.", do="Ask for it again.")
        state = TransferState.APPROVED if yes else TransferState.DECLINED
        answered = self._transfers.move(
            transfer,
            state,
            person,
            expected={TransferState.ASKED},
            members=[person],
            reason=reason[:LONGEST_REASON],
        )
        if not yes:
            self._file(asked).unlink(missing_ok=True)
        return answered

    def fetch(self, transfer: str, person: str) -> tuple[Transfer, Leaving]:
        """An approved file, opened, once its contents are known to be those that were approved.

        Args:
            transfer: its id.
            person: pseudonym of the member who fetches it.

        Returns:
            The transfer, and the open file, which the caller closes.

        Raises:
            NoSuchSandbox: the person is no member.
            NotPossibleNow: it is not approved, or too long ago.
            LeerlabError: its contents have changed.
        """
        found = self._for_member(transfer, person)
        if found.state not in (TransferState.APPROVED, TransferState.FETCHED) or found.sha256 is None:
            raise NotPossibleNow("This file has not been approved.", do="Ask another member.")
        if too_long_ago(found):
            raise NotPossibleNow("This file was approved too long ago.", do="Ask for it again.")
        try:
            leaving = Leaving(self._file(found), found.sha256)
        except FileNotFoundError as error:
            raise NotPossibleNow("There is no copy of this file any more.", do="Ask for it again.") from error
        try:
            return self._transfers.fetched(transfer, person), leaving
        except BaseException:
            leaving.close()
            raise

    def _for_member(self, transfer: str, person: str) -> Transfer:
        found = self._transfers.get(transfer)
        if found.direction is not Direction.OUTGOING:
            raise NoSuchSandbox("This transfer does not exist.", do="Look at the sandbox's page.")
        self._sandboxes.get_for(found.sandbox, person)
        return found

    def _file(self, transfer: Transfer) -> Path:
        return Folders(self._state, transfer.sandbox).outgoing / transfer.id


def too_long_ago(transfer: Transfer) -> bool:
    """Whether nothing can become of a file on its way out any more: its answer, or its fetching, took too long."""
    return (transfer.decided or transfer.asked) + OPEN_FOR < datetime.now(UTC)


def newest(root: Path) -> list[str]:
    """Paths of plain files below a folder in which people may be writing, the newest first; no link is followed.

    Args:
        root: the folder.
    """
    found: list[tuple[int, str]] = []
    for here, folders, files, descriptor in os.fwalk(root, follow_symlinks=False):
        below = os.path.relpath(here, root)
        depth = 0 if below == "." else below.count("/") + 1
        interesting = sorted(name for name in folders if is_fit(name) and name not in UNINTERESTING)
        folders[:] = interesting if depth < MOST_DEEP else []
        for name in files:
            if not is_fit(name):
                continue
            with suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    found.append((-status.st_mtime_ns, name if below == "." else f"{below}/{name}"))
        if len(found) >= MOST_SEEN:
            break
    return [path for _, path in sorted(found)[:MOST_SHOWN]]
