"""The door to the way out: one unix socket on every machine, through which a relay reaches its own sandbox's proxy.

squid's ports are the hub machine's own, and a sandbox's server may run on any node. So a wall's relay leads to this
socket, as to the hub's others, and begins each connection with a ticket that nothing inside the wall ever sees. The
door, on the hub's machine, leads a connection with a good ticket to that sandbox's port.
"""

from __future__ import annotations

import hashlib
import hmac
import resource
import socket
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from base.daemons import Daemon
from base.paths import State
from base.ports import LOOPBACK
from confinement.relay import Listener, Loop, Pair, connect, listen_at
from sandboxes.egress_ports import port_of

SOCKET = "egress.sock"
KEY = "egress-key"
"""Name of the secret that makes tickets."""
LONGEST_TICKET = 256
TICKET_SECONDS = 10.0
MOST = 2048
MOST_EACH = 128
"""Connections at one time, of all sandboxes and of one."""
REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_READ = 1


def ticket(key: str, sandbox: str) -> str:
    """What a relay of a sandbox's wall says first; whoever has it is let out as that sandbox.

    Args:
        key: the site's secret of the name `KEY`.
        sandbox: the sandbox's id.
    """
    proof = hmac.new(key.encode(), b"way out of " + sandbox.encode(), hashlib.sha256).hexdigest()
    return f"{sandbox} {proof}"


def sandbox_of(key: str, said: bytes) -> str | None:
    """Whose ticket that is; None when it is nobody's.

    Args:
        key: as for `ticket`.
        said: what came, without its newline.
    """
    sandbox = said.partition(b" ")[0].decode("ascii", "replace")
    return sandbox if hmac.compare_digest(ticket(key, sandbox).encode(), said) else None


def daemon(state: State, python: Path, code: Path) -> Daemon:
    """The door, as a process of the site.

    Args:
        state: the site's state folder.
        python: of the hub's environment.
        code: folder of Leerlab's code.
    """
    command = (str(python), "-m", "sandboxes.way_out", str(state.root))
    return Daemon("way-out", command, {"PYTHONPATH": str(code), "PATH": "/usr/bin:/bin"}, priority=360)


class Door:
    """Leads connections on.

    Args:
        state: the site's state folder.
        key: the site's secret of the name `KEY`.

    Raises:
        OSError: its socket cannot be made.
    """

    def __init__(self, state: State, key: str) -> None:
        self.loop = Loop()
        self._state, self._key = state, key
        self._open: Counter[str] = Counter()
        path = state.run / SOCKET
        # One of before; nobody else's, since the folder is the site's own.
        path.unlink(missing_ok=True)
        self._listener = Listener(self.loop, listen_at(str(path)), self._came, most=MOST)

    def close(self) -> None:
        """Take no more connections; for who runs the loop itself."""
        self._listener.close()

    def _came(self, near: socket.socket, ended: Callable[[], None]) -> None:
        _Visitor(self, near, ended)

    def lead(self, said: bytes, rest: bytes, near: socket.socket, ended: Callable[[], None]) -> None:
        """Lead a connection to where its ticket leads; a bad ticket is answered as squid answers what it refuses.

        Args:
            said: the ticket that came.
            rest: what came after it.
            near: the connection.
            ended: called when it is over.
        """
        sandbox = sandbox_of(self._key, said)
        port = port_of(self._state, sandbox) if sandbox is not None else None
        if sandbox is None or port is None or self._open[sandbox] >= MOST_EACH:
            refuse(near, ended)
            return
        self._open[sandbox] += 1

        def over() -> None:
            self._open[sandbox] -= 1
            ended()

        def there(far: socket.socket | None) -> None:
            if far is None:
                refuse(near, over)
                return
            with suppress(OSError):
                # A few bytes on a new connection; one that is broken already ends by itself.
                far.send(rest)
            Pair(self.loop, near, far, over)

        connect(self.loop, (LOOPBACK, port), there)


class _Visitor:
    """A connection that has not shown its ticket yet."""

    def __init__(self, door: Door, near: socket.socket, ended: Callable[[], None]) -> None:
        self._door, self._near, self._ended = door, near, ended
        self._heard = b""
        self._over = False
        near.setblocking(False)
        door.loop.watch(near, _READ, self._ready)
        door.loop.later(TICKET_SECONDS, self._too_late)

    def _ready(self, _events: int) -> None:
        try:
            piece = self._near.recv(LONGEST_TICKET)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            piece = b""
        self._heard += piece
        said, newline, rest = self._heard.partition(b"\n")
        if newline:
            self._finish()
            self._door.lead(said, rest, self._near, self._ended)
        elif not piece or len(self._heard) >= LONGEST_TICKET:
            self._too_late()

    def _too_late(self) -> None:
        if not self._over:
            self._finish()
            refuse(self._near, self._ended)

    def _finish(self) -> None:
        self._over = True
        self._door.loop.watch(self._near, 0, self._ready)


def refuse(near: socket.socket, ended: Callable[[], None]) -> None:
    """Say no, and close.

    Args:
        near: the connection.
        ended: called when it is over.
    """
    with suppress(OSError):
        near.send(REFUSED)
    near.close()
    ended()


def main(root: str) -> None:
    """Serve until the process is ended."""
    state = State(Path(root))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    Door(state, (state.secrets / KEY).read_text().strip()).loop.run()


if __name__ == "__main__":
    main(sys.argv[1])
