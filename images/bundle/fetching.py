"""Run the clients that ask registries (apt, pip, npm, git): bounded, followed line by line, stopped as a whole."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from base.errors import LeerlabError

# One client at its work; a slow line needs most of it for the packages of one lock.
LIMIT_SECONDS = 3600.0
# Of what a client said, in the error.
TAIL = 8


def fetched(
    argv: Sequence[str],
    what: str,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    seconds: float = LIMIT_SECONDS,
    each: Callable[[str], None] = lambda line: None,
) -> list[str]:
    """Run a client to its end; gives what it printed, in lines.

    Args:
        argv: the client and its arguments.
        what: what it fetches, for the error: "Debian's packages".
        cwd: where it runs.
        env: variables besides this process's own.
        seconds: after which it is stopped.
        each: is called with every line that it prints.

    Raises:
        LeerlabError: it failed, or took too long.
    """
    said: list[str] = []
    late = threading.Event()
    with subprocess.Popen(
        argv, cwd=cwd, env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
    ) as client:  # fmt: skip
        assert client.stdout
        clock = threading.Timer(seconds, _stop, (client, late))
        clock.start()
        try:
            for line in client.stdout:
                said.append(line.rstrip("\n"))
                each(said[-1])
            client.wait()
        finally:
            clock.cancel()
            _stop(client)
    if late.is_set():
        raise LeerlabError(
            f"{what} could not be fetched within {seconds:.0f} s.",
            "The registry or the line to it is too slow.",
            "Try again: what pip has fetched it finds in its cache.",
        )
    if client.returncode:
        tail = "\n  ".join(said[-TAIL:]) or f"it ended with {client.returncode}"
        raise LeerlabError(f"{what} could not be fetched: {argv[0]} says\n  {tail}", do="Mend that, and try again.")
    return said


def _stop(client: subprocess.Popen[str], late: threading.Event | None = None) -> None:
    """End a client and all that it started; `late` is set when that is because of the time."""
    if late:
        late.set()
    try:
        os.killpg(client.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
