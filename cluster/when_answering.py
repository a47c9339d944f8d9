"""Becomes a program once an address accepts connections, or some seconds later all the same.

`python3 -I -S when_answering.py SECONDS ADDRESS PROGRAM ARGUMENT...`, where ADDRESS is `unix:PATH` or `tcp:HOST:PORT`.
For daemons that take seconds to try again when what they need is not there yet. Standard library only: starts in tens
of milliseconds.
"""

from __future__ import annotations

import os
import socket
import sys
import time

# Seconds between two attempts: nothing tells another process that a listener has come up.
_PAUSE = 0.02


def answers(address: str) -> bool:
    """Whether something accepts a connection there.

    Args:
        address: `unix:PATH` or `tcp:HOST:PORT`.

    Raises:
        ValueError: the address is neither.
    """
    kind, _, rest = address.partition(":")
    if kind == "unix":
        return _connects(socket.AF_UNIX, rest)
    if kind == "tcp":
        host, _, port = rest.rpartition(":")
        return _connects(socket.AF_INET, (host, int(port)))
    raise ValueError(f"{address!r} is no address (allowed: unix:PATH, tcp:HOST:PORT)")


def _connects(family: socket.AddressFamily, target: str | tuple[str, int]) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(target)
        except OSError:
            return False
        return True


def main(words: list[str]) -> None:
    """Wait, then become the program.

    Args:
        words: seconds, address, program and its arguments.
    """
    seconds, address, *program = words
    deadline = time.monotonic() + float(seconds)
    while not answers(address):
        if time.monotonic() > deadline:
            sys.stderr.write(f"{address} does not answer after {seconds} s; {program[0]} starts without it\n")
            break
        time.sleep(_PAUSE)
    os.execv(program[0], program)  # noqa: S606 - the words come from Leerlab's own configuration


if __name__ == "__main__":
    main(sys.argv[1:])
