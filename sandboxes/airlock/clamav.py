"""Asks clamd whether a file holds something it knows. No answer, or old signatures, means: not passed.

Protocol: clamd(8), INSTREAM: chunks with their length in four bytes, big-endian, until one of length zero.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from base.daemons import Daemon
from base.errors import LeerlabError
from base.paths import State
from sandboxes.airlock.turns import TOGETHER
from sandboxes.settings import SandboxSettings

CLAMD = "/usr/sbin/clamd"
SOCKET = "clamd.sock"
ANSWER_SECONDS = 120.0
OWN_SIGNATURES = Path(__file__).parent.parent / "signatures"
"""The test virus alone: shows that the check works."""
_CHUNK = 64 * 1024
_ROOM = 2**20
_MOST_UNPACKED = 2**30
_AROUND = 64 * 2**20
"""More than what a tar archive holds besides its files: two blocks and some words for each."""
_MOST_SCANNED, _MOST_FILES = 2**32 - 1, 100_000
"""The largest number that MaxScanSize takes, and more files than the look at an archive lets through."""
VIRUS = "virus"
_NO_VIRUS = {"Heuristics.Limits.Exceeded": "unreadable", "Heuristics.Encrypted": "encrypted"}
"""What clamd calls a find although it only could not look: the beginnings of its names, and our codes."""


class ScannerAway(LeerlabError):
    """clamd cannot say anything about a file now."""


@dataclass(frozen=True)
class Scanner:
    """The site's clamd.

    Args:
        socket: its unix socket.
        signatures: folder of its signatures.
        oldest: seconds that the newest signatures may be old; None when their age does not count.
    """

    socket: Path
    signatures: Path
    oldest: float | None

    @classmethod
    def of(cls, state: State, settings: SandboxSettings) -> Scanner:
        """The scanner that `daemon` starts."""
        if settings.signatures is None:
            return cls(state.run / SOCKET, OWN_SIGNATURES, None)
        return cls(state.run / SOCKET, Path(settings.signatures), settings.signature_age.total_seconds())

    @property
    def only_the_test_virus(self) -> bool:
        """Whether no real virus can be found, as on the demo site."""
        return self.signatures == OWN_SIGNATURES

    async def finds(self, file: Path) -> str | None:
        """Why the file may not pass: `virus`, or `unreadable` and `encrypted` for what clamd could not look into.

        Args:
            file: the file, which nobody writes to any more.

        Returns:
            None when nothing was found.

        Raises:
            ScannerAway: it cannot be said; the file must not pass.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._check_age()
                answer = await self._ask(file)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise _silent(error) from error
        verdict = answer.removeprefix("stream: ")
        if verdict == "OK":
            return None
        if verdict.endswith(" FOUND"):
            return next((code for name, code in _NO_VIRUS.items() if verdict.startswith(name)), VIRUS)
        raise ScannerAway(f"The virus scanner could not look: {answer[:200]}.", "The file waits.")

    async def _ask(self, file: Path) -> str:
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        try:
            writer.write(b"zINSTREAM\0")
            with file.open("rb") as content:
                while piece := await asyncio.to_thread(content.read, _CHUNK):
                    writer.write(len(piece).to_bytes(4, "big") + piece)
                    await writer.drain()
            writer.write(bytes(4))
            await writer.drain()
            return (await reader.readuntil(b"\0"))[:-1].decode("utf-8", "replace").strip()
        finally:
            writer.close()

    async def answers(self) -> None:
        """Ask clamd whether it is there, and see that it knows enough.

        Raises:
            ScannerAway: it is not there, or its signatures are too old.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._check_age()
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise _silent(error) from error

    async def _command(self, command: bytes) -> str:
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        try:
            writer.write(b"z" + command + b"\0")
            return (await reader.readuntil(b"\0"))[:-1].decode("utf-8", "replace").strip()
        finally:
            writer.close()

    async def _check_age(self) -> None:
        version = await self._command(b"VERSION")
        if self.oldest is None:
            return
        built = made(version)
        if built is None:
            raise ScannerAway(
                "The virus scanner does not say how old its signatures are.",
                "Files that come in wait.",
                f"Let freshclam fetch ClamAV's own signatures into {self.signatures}.",
            )
        if time.time() - built > self.oldest:
            days = int((time.time() - built) / 86400)
            raise ScannerAway(
                f"The virus signatures in {self.signatures} are too old: {days} days.",
                "Files that come in wait.",
                "Run freshclam, or see why its service does not.",
            )


def made(version: str) -> float | None:
    """When the signatures that clamd has loaded were made, as seconds since 1970; None when they carry no date.

    Args:
        version: its answer to VERSION (clamd(8)), such as `ClamAV 1.4.6/27468/Sun Nov 22 09:35:21 2026`: of the file
            `daily`, in local time.
    """
    parts = version.split("/", 2)
    if len(parts) < 3:
        return None
    try:
        return time.mktime(time.strptime(parts[2].strip(), "%a %b %d %H:%M:%S %Y"))
    except (ValueError, OverflowError):
        return None


def _silent(error: BaseException) -> ScannerAway:
    return ScannerAway(
        f"The virus scanner does not answer: {error!r}.", "Files that come in wait.", "Look at logs/clamd.log."
    )


def most_unpacked(settings: SandboxSettings) -> int:
    """Bytes to which an archive may unpack: clamd looks at each file in it whole.

    Args:
        settings: the section `sandboxes:`.
    """
    return min(4 * int(settings.upload), _MOST_UNPACKED)


def daemon(state: State, settings: SandboxSettings) -> Daemon:
    """clamd for this site, and its configuration (clamd.conf(5)).

    Args:
        state: the site's state folder.
        settings: the section `sandboxes:`.
    """
    most = int(settings.upload) + _ROOM
    scratch = state.run / "clamd"
    scratch.mkdir(mode=0o700, exist_ok=True)
    configuration = state.generated / "clamd.conf"
    configuration.write_text(
        "# Written from site.yaml at every start; changes here are lost.\n"
        f"LocalSocket {state.run / SOCKET}\nLocalSocketMode 600\nFixStaleSocket yes\nForeground yes\n"
        f"DatabaseDirectory {Scanner.of(state, settings).signatures}\nTemporaryDirectory {scratch}\n"
        # Of a file in a zip archive that is larger than MaxFileSize clamd sees the beginning and says nothing
        # (AlertExceedsMax tells of others): no file that gets here may be.
        f"StreamMaxLength {most}\nMaxFileSize {max(most, most_unpacked(settings)) + _AROUND}\n"
        f"MaxScanSize {_MOST_SCANNED}\nMaxFiles {_MOST_FILES}\nAlertExceedsMax yes\n"
        f"MaxScanTime 100000\nAlertEncrypted yes\nMaxThreads {TOGETHER}\nIdleTimeout 30\nReadTimeout 60\n"
        "ExitOnOOM yes\n"
    )
    return Daemon("clamd", (CLAMD, "--config-file", str(configuration)), {"PATH": "/usr/bin:/bin"}, priority=340)
