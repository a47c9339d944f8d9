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
from sandboxes.settings import SandboxSettings

CLAMD = "/usr/sbin/clamd"
SOCKET = "clamd.sock"
ANSWER_SECONDS = 120.0
OWN_SIGNATURES = Path(__file__).parent.parent / "signatures"
"""The test virus alone: shows that the check works."""
_CHUNK = 64 * 1024
_ROOM = 2**20
_SUFFIXES = (".cvd", ".cld", ".cud", ".ndb", ".hdb", ".hsb", ".ldb")


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
        """The name of what was found; None when nothing was.

        Args:
            file: the file, which nobody writes to any more.

        Raises:
            ScannerAway: it cannot be said; the file must not pass.
        """
        self._check_age()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await self._ask(file)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise ScannerAway(
                f"The virus scanner does not answer: {error!r}.", "The file waits.", "Look at logs/clamd.log."
            ) from error
        verdict = answer.removeprefix("stream: ")
        if verdict == "OK":
            return None
        if verdict.endswith(" FOUND"):
            return verdict.removesuffix(" FOUND")[:200]
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
        """Ask clamd whether it is there.

        Raises:
            OSError: it is not.
        """
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        try:
            writer.write(b"zPING\0")
            if await reader.read(16) != b"PONG\0":
                raise OSError("clamd does not say PONG")
        finally:
            writer.close()

    def _check_age(self) -> None:
        if self.oldest is None:
            return
        try:
            newest = max(path.stat().st_mtime for path in self.signatures.iterdir() if path.suffix in _SUFFIXES)
        except (OSError, ValueError) as error:
            raise ScannerAway(f"There are no virus signatures in {self.signatures}.", do="Run freshclam.") from error
        if time.time() - newest > self.oldest:
            raise ScannerAway(f"The virus signatures in {self.signatures} are too old.", do="Run freshclam.")


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
        # What is too large to be looked at whole is reported as found, not passed.
        f"StreamMaxLength {most}\nMaxFileSize {most}\nMaxScanSize {4 * most}\nAlertExceedsMax yes\n"
        "MaxScanTime 100000\nAlertEncrypted yes\nMaxThreads 2\nIdleTimeout 30\nReadTimeout 60\nExitOnOOM yes\n"
    )
    return Daemon("clamd", (CLAMD, "--config-file", str(configuration)), {"PATH": "/usr/bin:/bin"}, priority=340)
