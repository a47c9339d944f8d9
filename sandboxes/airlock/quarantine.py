"""The way in: a file waits outside the sandbox until everything about it has been checked.

The commit point is the ledger's ARRIVED: before it a file is nowhere inside, after it `resume` puts it there, whatever
happened in between.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from weakref import WeakValueDictionary

from base.disk_use import disk_use
from base.errors import InputError, LeerlabError
from base.paths import State
from confinement.collect import CollectRefused, open_folder
from ledger.sandboxes import NoSuchSandbox, NotPossibleNow
from ledger.transfers import Direction, Transfer, TransferLedger, TransferState
from sandboxes.airlock.clamav import Scanner, ScannerAway, most_unpacked
from sandboxes.airlock.inspect import inspect
from sandboxes.airlock.names import is_fit, numbered
from sandboxes.airlock.turns import Turns
from sandboxes.folders import INCOMING, Folders
from sandboxes.settings import SandboxSettings

log = logging.getLogger("leerlab.sandboxes")

CHECKS = "checks"
"""Who decides about a file on its way in."""
MOST_NUMBERS = 999
MOST_CHECKING = 20
"""Files of one sandbox that are checked, or wait for that."""
_DATA = "data"


class Quarantine:
    """The quarantines of all sandboxes.

    Args:
        transfers: where files on their way are remembered.
        state: the site's state folder.
        settings: the section `sandboxes:`.
        scanner: the site's virus scanner.
    """

    def __init__(self, transfers: TransferLedger, state: State, settings: SandboxSettings, scanner: Scanner) -> None:
        self._transfers = transfers
        self._state = state
        self._settings = settings
        self._scanner = scanner
        self._busy: set[str] = set()
        self._turns = Turns()
        self._arriving: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def receive(self, sandbox: str, person: str, name: str, chunks: AsyncIterator[bytes]) -> Transfer:
        """Take a file in and check it.

        Args:
            sandbox: id of the sandbox.
            person: pseudonym of the member who sends it.
            name: as the browser gave it.
            chunks: its contents.

        Returns:
            The transfer: arrived, refused with a reason, or still checking when the scanner does not answer.

        Raises:
            InputError: a file cannot have this name.
            NoSuchSandbox, NotPossibleNow: not for this person, or not now.
        """
        if not is_fit(name):
            raise InputError("A file cannot have this name.", do="Give it a short name without special characters.")
        # One of each sandbox after the other: what room there is, and how many wait, holds until the file is here.
        begun: Transfer | None = None
        try:
            async with self._line(sandbox):
                waiting = [one for one in await asyncio.to_thread(self._transfers.unfinished) if one.sandbox == sandbox]
                if len(waiting) >= MOST_CHECKING:
                    raise NotPossibleNow(
                        f"{MOST_CHECKING} files of this sandbox are being checked.", do="Try again later."
                    )
                begun = await asyncio.to_thread(self._transfers.begin, sandbox, Direction.INCOMING, name, person)
                self._busy.add(begun.id)
                refused = await self._stored(begun, chunks)
                if refused:
                    return await asyncio.to_thread(self._refuse, begun, refused)
            return await self._check(begun)
        finally:
            if begun is not None:
                self._busy.discard(begun.id)

    def _line(self, sandbox: str) -> asyncio.Lock:
        """Held while a file of this sandbox comes in."""
        return self._arriving.setdefault(sandbox, asyncio.Lock())

    async def _stored(self, transfer: Transfer, chunks: AsyncIterator[bytes]) -> str | None:
        """Write the contents down; a reason when they may not be taken. Nothing stays of what was broken off."""
        try:
            return await self._store(transfer, chunks)
        except BaseException:
            # The connection broke, or the service ends.
            await asyncio.shield(asyncio.to_thread(self._refuse, transfer, "broken-off"))
            raise

    async def resume(self) -> None:
        """Go on with what another process, or a scanner that did not answer, left unfinished."""
        await asyncio.to_thread(self._put_right)
        unfinished = await asyncio.to_thread(self._transfers.unfinished)
        await asyncio.gather(*(self._go_on(one) for one in unfinished if one.id not in self._busy))

    async def _go_on(self, transfer: Transfer) -> None:
        try:
            if transfer.sha256 is None:
                await self._give_up(transfer)
                return
            self._busy.add(transfer.id)
            try:
                await self._check(transfer)
            finally:
                self._busy.discard(transfer.id)
        except (LeerlabError, OSError) as error:
            # One file that cannot be looked at keeps no other waiting.
            log.error("Transfer %s could not be checked; the next look tries again: %s", transfer.id, error)

    async def _give_up(self, transfer: Transfer) -> None:
        """Refuse a file that did not come whole; one that has just begun to come, when that was seen, is left alone."""
        async with self._line(transfer.sandbox):
            now = await asyncio.to_thread(self._transfers.get, transfer.id)
            if now.sha256 is None and now.state is TransferState.CHECKING:
                await asyncio.to_thread(self._refuse, now, "broken-off")

    def folder(self, transfer: Transfer) -> Path:
        """Where a file waits."""
        return Folders(self._state, transfer.sandbox).quarantine / transfer.id

    async def _store(self, transfer: Transfer, chunks: AsyncIterator[bytes]) -> str | None:
        """Write the contents down; a reason when they may not be taken."""
        taken = (await asyncio.to_thread(disk_use, Folders(self._state, transfer.sandbox).root)).bytes
        room, most = int(self._settings.size) - taken, int(self._settings.upload)
        folder, digest, size = self.folder(transfer), hashlib.sha256(), 0
        folder.mkdir(mode=0o700, parents=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(folder / _DATA, flags, 0o600)
        try:
            async for chunk in chunks:
                size += len(chunk)
                if size > most:
                    return "too-large"
                if size > room:
                    return "full"
                digest.update(chunk)
                await asyncio.to_thread(_write, descriptor, chunk)
            # From here on the file counts as received: it is on the disk itself.
            await asyncio.to_thread(_settle, descriptor)
        except _NoRoom:
            return "no-space"
        finally:
            os.close(descriptor)
        if size == 0:
            return "empty"
        await asyncio.to_thread(self._transfers.received, transfer.id, size=size, sha256=digest.hexdigest())
        return None

    async def _check(self, transfer: Transfer) -> Transfer:
        """Look at a file that is here whole, and let it in or refuse it."""
        data = self.folder(transfer) / _DATA
        if not data.exists():
            return await asyncio.to_thread(self._refuse, transfer, "broken-off")
        try:
            async with self._turns.of(transfer.sandbox):
                refused = await self._turns.call(self._inspect, data, transfer.name)
                if refused is None:
                    refused = await self._scanner.finds(data)
        except ScannerAway:
            return await asyncio.to_thread(self._transfers.get, transfer.id)
        if refused is not None:
            return await asyncio.to_thread(self._refuse, transfer, refused)
        return await asyncio.to_thread(self._admit, transfer)

    def _inspect(self, data: Path, name: str) -> str | None:
        unpacked = most_unpacked(self._settings)
        return inspect(data, name, unpacked=unpacked, seccomp=self._state.generated / "seccomp.bpf")

    def _refuse(self, transfer: Transfer, reason: str) -> Transfer:
        shutil.rmtree(self.folder(transfer), ignore_errors=True)
        return self._transfers.move(
            transfer.id, TransferState.REFUSED, CHECKS, expected={TransferState.CHECKING}, reason=reason
        )

    def _admit(self, transfer: Transfer) -> Transfer:
        """Let a file in, unless its sender has left or the sandbox has ended meanwhile: then nothing moves."""
        try:
            arrived = self._transfers.move(
                transfer.id,
                TransferState.ARRIVED,
                CHECKS,
                expected={TransferState.CHECKING},
                members=[transfer.asked_by],
            )
        except (NoSuchSandbox, NotPossibleNow):
            return self._refuse(transfer, "no-member")
        self._place(arrived)
        return self._transfers.get(transfer.id)

    def _put_right(self) -> None:
        """Files that were let in, or refused, and are still in quarantine because the service ended just then."""
        for quarantine in self._state.sandboxes.glob("*/quarantine/*"):
            try:
                transfer = self._transfers.get(quarantine.name)
                if transfer.id in self._busy:
                    continue
                if transfer.state is TransferState.ARRIVED:
                    self._place(transfer)
                elif transfer.state is TransferState.REFUSED:
                    shutil.rmtree(quarantine)
            except (LeerlabError, OSError) as error:
                log.error(
                    "Transfer %s could not be put in place; the next look tries again: %s", quarantine.name, error
                )

    def _place(self, transfer: Transfer) -> None:
        """Put the file into the shared folder under a name that is free; members may be writing there."""
        folders = Folders(self._state, transfer.sandbox)
        source = self.folder(transfer) / _DATA
        files = os.open(folders.files, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            with suppress(FileExistsError):
                os.mkdir(INCOMING, 0o700, dir_fd=files)
            try:
                with open_folder(files, INCOMING) as incoming:
                    self._link(source, incoming, transfer)
            except CollectRefused:
                # A member has put something else there: the file comes beside it.
                self._link(source, files, transfer)
        finally:
            os.close(files)
        shutil.rmtree(self.folder(transfer))

    def _link(self, source: Path, folder: int, transfer: Transfer) -> None:
        if not source.exists() or source.stat().st_nlink > 1:
            return  # it is inside already
        for number in range(1, MOST_NUMBERS):
            name = numbered(transfer.name, number)
            try:
                # Never over what is there: link(2) fails where a name is taken.
                os.link(source, name, dst_dir_fd=folder, follow_symlinks=False)
            except FileExistsError:
                continue
            if number > 1:
                self._transfers.rename(transfer.id, name)
            return
        raise LeerlabError(f"There are {MOST_NUMBERS} files of this name already.", do="Take some away.")


class _NoRoom(Exception):
    """The disk takes no more."""


def _write(descriptor: int, chunk: bytes) -> None:
    """Write all of it, past Python's buffers: what does not fit is known at once, and not when the file is closed."""
    left = memoryview(chunk)
    try:
        while left:
            left = left[os.write(descriptor, left) :]
    except OSError as error:
        raise _NoRoom from error


def _settle(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise _NoRoom from error
