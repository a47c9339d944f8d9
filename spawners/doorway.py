"""The door of a server on a network: a TCP port that stunnel opens to who has the hub's certificate, and nobody else.

The port is bound once, before it is reported, and accepts nothing until the hub has answered the report with a
certificate (`spawners.certificates`). Behind it the wall listens on a unix socket in a folder that only the job's
account can enter. Standard library only; stunnel(8) is Debian's stunnel4.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

STUNNEL = "/usr/bin/stunnel4"
HUB = "leerlab-hub"
"""Name in the certificate of whoever may come in."""
FILES = ("certificate", "key", "authority")
_AGAIN_SECONDS = 1.0
_LOOK_SECONDS = 0.5
_END_SECONDS = 5.0
_BACKLOG = 128
# stunnel takes the socket as from systemd (sd_listen_fds(3)): as descriptor 3, and LISTEN_PID is its own number.
# Debian's sh knows no descriptors above 9. When the thread that started it is gone, so is stunnel (PR_SET_PDEATHSIG).
_START = (
    "/bin/bash", "-c",
    'exec 3<&"$1"; LISTEN_PID=$$ LISTEN_FDS=1 exec /usr/bin/setpriv --pdeathsig KILL "$2" "$3"', "doorway",
)  # fmt: skip


class Doorway:
    """One door.

    Args:
        host: IP address on which it is.
        say: called with one sentence when something is wrong.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(self, host: str, say: Callable[[str], None]) -> None:
        self._say = say
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._public = socket.create_server((host, 0), family=family, backlog=_BACKLOG)
        self._folder = Path(tempfile.mkdtemp(prefix="leerlab-"))
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    @property
    def port(self) -> int:
        """The port that whoever may come in uses."""
        port: int = self._public.getsockname()[1]
        return port

    @property
    def inside(self) -> str:
        """Where the wall has to listen: `unix:/path`."""
        return f"unix:{self._folder / 'lab.sock'}"

    def open(self, papers: Mapping[str, str]) -> None:
        """Let the hub in from now on.

        Args:
            papers: `certificate`, `key` and `authority`, each in PEM.

        Raises:
            KeyError: one of them is missing.
            OSError: they cannot be written, or stunnel cannot be started.
        """
        for name in FILES:
            descriptor = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(papers[name])
        (self._folder / "stunnel.conf").write_text(
            "foreground = yes\nsyslog = no\npid =\ndebug = warning\n"
            "[lab]\n"
            # With a socket that was handed over, stunnel listens on that and not here.
            f"accept = {self.port}\n"
            f"connect = {self._folder / 'lab.sock'}\n"
            + "".join(
                f"{option} = {self._folder / name}\n"
                for option, name in (("cert", "certificate"), ("key", "key"), ("CAfile", "authority"))
            )
            + f"requireCert = yes\nverifyChain = yes\ncheckHost = {HUB}\nsslVersionMin = TLSv1.3\n"
            "TIMEOUTclose = 0\nTIMEOUTidle = 86400\n"
        )
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, name="doorway", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Nobody comes in any more, and nothing is left."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(_END_SECONDS)
        self._public.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _keep(self) -> None:
        """Start stunnel, and again when it ends by itself: everybody in the lab would be cut off for good."""
        while not self._closed.is_set():
            try:
                process = self._start()
            except OSError as error:
                self._say(f"stunnel cannot be started: {error}.")
                self._closed.wait(_AGAIN_SECONDS)
                continue
            with process:
                while process.poll() is None:
                    if self._closed.wait(_LOOK_SECONDS):
                        process.kill()
            if not self._closed.wait(_AGAIN_SECONDS):
                self._say(f"stunnel ended with {process.returncode}; it is started again.")

    def _start(self) -> subprocess.Popen[bytes]:
        descriptor = self._public.fileno()
        return subprocess.Popen(
            [*_START, str(descriptor), STUNNEL, str(self._folder / "stunnel.conf")],
            env={"PATH": "/usr/bin:/bin"}, cwd="/", pass_fds=(descriptor,), stdin=subprocess.DEVNULL,
        )  # fmt: skip
