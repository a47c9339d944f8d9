"""Free loopback ports that no outgoing connection takes meanwhile."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

from base.errors import LeerlabError

LOOPBACK = "127.0.0.1"
_FIRST = 10_240
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TRIES = 1000


def free_ports(count: int) -> list[int]:
    """That many free loopback ports, all different, where the kernel takes none for outgoing connections (ip(7)).

    Args:
        count: how many.

    Raises:
        LeerlabError: there are not as many.
    """
    below = int(_RANGE.read_text().split()[0])
    listeners: list[socket.socket] = []
    try:
        for _ in range(_TRIES):
            if len(listeners) == count:
                return [listener.getsockname()[1] for listener in listeners]
            port = _FIRST + secrets.randbelow(below - _FIRST) if below > _FIRST else 0
            try:
                listeners.append(socket.create_server((LOOPBACK, port)))
            except OSError:
                continue
    finally:
        for listener in listeners:
            listener.close()
    raise LeerlabError(f"There are no {count} free ports on {LOOPBACK}.", do="See what listens there: ss -ltn.")
