"""nbgrader's steps one after the other in the one thread that may do them, and patience with the gradebook."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError

LOCKED_SECONDS = 120.0
"""How long somebody else may keep the gradebook to themselves, or its server may be away."""
PAUSE_SECONDS = 0.5

T = TypeVar("T")


class ServerEnds(Exception):
    """This process is about to end, and does no more steps."""


def in_steps(steps: Executor, act: Callable[[], T]) -> T:
    """Do something in the thread of nbgrader's steps, and wait for it.

    Args:
        steps: the executor of that one thread.

    Raises:
        ServerEnds: it takes nothing more.
    """
    try:
        future = steps.submit(act)
    except RuntimeError as error:
        raise ServerEnds from error
    return future.result()


def patiently(act: Callable[[], T], stopped: threading.Event) -> T:
    """Do what needs the gradebook, again while that is locked or away.

    Args:
        act: it does all or nothing.
        stopped: set when nobody waits for it any more.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: it stayed so for `LOCKED_SECONDS`.
    """
    until = time.monotonic() + LOCKED_SECONDS
    while True:
        try:
            return act()
        except (OperationalError, InterfaceError):
            if time.monotonic() > until or stopped.is_set():
                raise
        time.sleep(PAUSE_SECONDS)
