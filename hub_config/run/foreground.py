"""`leerlab up --foreground`: the site as one process that lives as long as the site does, for systemd.

supervisord runs below it. SIGTERM ends the daemons and no job; the next start finds the jobs again. Ready is said in
the way of sd_notify(3). Exit codes: 0 ended when asked, by a signal or by `leerlab down`; 1 did not start, or ended by
itself; 2 site.yaml is wrong.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from base.errors import LeerlabError
from base.paths import Installation, State
from hub_config.run import start
from hub_config.run.lock import only_one
from hub_config.run.supervisor_client import STOP_SECONDS, Supervisor, SupervisorSilent
from hub_config.site import Site

NOTIFY = "NOTIFY_SOCKET"
# An abstract socket's name begins with a NUL, which sd_notify(3) writes as @.
_ABSTRACT = "@"


class _Asked(BaseException):
    """Somebody sent SIGTERM or SIGINT: not an error, so that nothing on the way takes it for one."""


@dataclass(frozen=True)
class Ended:
    """How a site in the foreground ended.

    Args:
        by_signal: by SIGTERM or SIGINT; otherwise by `leerlab down`.
    """

    by_signal: bool


def notify(message: str) -> None:
    """Tell systemd something, where it listens (sd_notify(3)); elsewhere nothing.

    Args:
        message: such as `READY=1`.
    """
    address = os.environ.get(NOTIFY, "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.sendto(message.encode(), address.replace(_ABSTRACT, "\0", 1) if address[0] == _ABSTRACT else address)


def run(
    site: Site,
    site_file: Path,
    state: State,
    installation: Installation,
    step: start.Step,
    *,
    ready: Callable[[start.Started], None],
) -> Ended:
    """Start the site and stay until it ends.

    Args:
        site: the checked settings.
        site_file: where they were read from.
        state: the site's state folder.
        installation: the environments to use.
        step: called with one English phrase at each step.
        ready: called once everything answers.

    Raises:
        LeerlabError: it does not start, runs already, or ended by itself.
    """

    def told(phrase: str) -> None:
        step(phrase)
        notify(f"STATUS={phrase}")

    supervisord: list[subprocess.Popen[bytes]] = []
    with _asked_by_signal():
        try:
            begun = start.up(site, site_file, state, installation, told, stay=supervisord.append)
            notify("READY=1\nSTATUS=everything answers")
            ready(begun)
            code = supervisord[0].wait()
        except _Asked:
            notify("STOPPING=1")
            _end(state, supervisord)
            return Ended(by_signal=True)
        except LeerlabError:
            # `up` leaves what did start for a second `up`; a service that failed leaves nothing.
            _end(state, supervisord)
            raise
    if code:
        raise LeerlabError(
            f"supervisord ended by itself ({code}).",
            "Daemons of the site may be gone; running jobs go on.",
            f"Start it again; its messages are in {state.logs / 'supervisord.log'}.",
        )
    return Ended(by_signal=False)


@contextmanager
def _asked_by_signal() -> Iterator[None]:
    """SIGTERM and SIGINT end what goes on once; a second one while it ends changes nothing."""
    asked = False

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if not asked:
            asked = True
            raise _Asked

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(state: State, supervisord: list[subprocess.Popen[bytes]]) -> None:
    """End the daemons, all at once, and supervisord; no job."""
    for process in supervisord:
        if process.poll() is not None:
            continue
        try:
            with only_one(state):
                Supervisor(state).shutdown()
        except SupervisorSilent:
            process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
