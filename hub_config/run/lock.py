"""The lock that keeps two `up` or `down` of one site apart."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager

from base.errors import LeerlabError
from base.paths import State

WAIT_SECONDS = 180.0


@contextmanager
def only_one(state: State, wait: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the lock. The kernel gives it back when the process that holds it ends, in whatever way.

    Args:
        state: the site's state folder, which exists.
        wait: seconds to wait for another one.

    Raises:
        LeerlabError: another one is at work and does not end in that time.
    """
    deadline = time.monotonic() + wait
    with (state.root / "up.lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LeerlabError(
                        "Another leerlab up or down of this site is still at work.",
                        "Two at once would start everything twice.",
                        "Wait until it has ended, then try again.",
                    ) from None
                time.sleep(0.1)
        yield
