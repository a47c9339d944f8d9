"""The job of a notebook server, outside the wall: starts the wall, reports the port once the server answers.

Run as `/usr/bin/python3 -I -S spawners/job.py` by a Slurm job: standard library and `confinement` only. What to do
stands in the environment variable LEERLAB_JOB (see `spawners.submission`), which is removed before anything else.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parent.parent))

from confinement import gpu
from confinement.errors import WallRefused
from confinement.run import Walled, start
from confinement.wall import Wall
from spawners.node_address import NoAddress, address_in

if TYPE_CHECKING:
    from http.client import HTTPConnection

    from spawners.doorway import Doorway

VARIABLE = "LEERLAB_JOB"
PROBE_SECONDS = 0.01
"""Between two looks at whether the server answers yet: nothing inside tells when it listens."""
EARLY_PROBE_SECONDS = 0.25
"""The same until the server has asked the hub something, which JupyterHub's servers do just before they listen.

Each look costs three processes a little work, and a class that starts together would pay for thousands of them.
"""
REPORT_FIRST_SECONDS = 0.1
REPORT_MOST_SECONDS = 5.0
_REQUEST_SECONDS = 10.0
_ACCEPTED = 204
_CERTIFIED = 200
# Answers after which another try cannot help.
_REFUSED = {
    400: "this port cannot be a server's",
    403: "the hub does not know this start's secret",
    409: "this start has reported another port before: Slurm has run the job a second time, as it does after a crash",
}
_NOT_STARTED = 70
_NO_LIMIT = 2**62
_LONGEST_ANSWER = 64 * 1024


@dataclass(frozen=True)
class Task:
    """What the hub asks of one job.

    Args:
        wall: the server's wall.
        report_to: the hub's inner API: `unix:/path` or `tcp:host:port`.
        report_path: path of the report's URL.
        secret: one-time secret of the start.
        base: the server's base URL, ending in a slash.
        publish_on: IP address on which the server is offered, or the network in which the node has one.
        log: file that gets the server's output.
        log_limit: most bytes of output kept in the folder of `log`.
        use: file that gets what the job uses (`confinement.meter`); None: nobody counts.
        tls: whether the server is offered behind TLS, with the certificate that the report is answered with.
        home_size: bytes that the home may take (`confinement.home_size`); None: nobody looks.
    """

    wall: Wall
    report_to: str
    report_path: str
    secret: str
    base: str
    publish_on: str
    log: Path
    log_limit: int
    use: Path | None = None
    tls: bool = False
    home_size: int | None = None

    def to_json(self) -> str:
        """As the value of LEERLAB_JOB."""
        use = str(self.use) if self.use is not None else None
        plain: dict[str, Any] = {**self.__dict__, "wall": self.wall.to_json(), "log": str(self.log), "use": use}
        return json.dumps(plain)

    @classmethod
    def from_json(cls, text: str) -> Task:
        """Read what `to_json` wrote.

        Raises:
            KeyError, ValueError: it is not complete.
            confinement.errors.WallInvalid: the wall is not one that may be built.
        """
        raw = json.loads(text)
        use = Path(raw["use"]) if raw.get("use") is not None else None
        return cls(**{**raw, "wall": Wall.from_json(raw["wall"]), "log": Path(raw["log"]), "use": use})


class RotatingLog:
    """The server's output in a file and its predecessor, together never above a limit; the newest lines are kept.

    Args:
        path: the file; the predecessor is `<path>.1`.
        limit: most bytes of both together.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._half = max(1, limit // 2)
        self._size = 0
        self._file = self._open()

    def write(self, piece: bytes) -> None:
        """Append, and begin a new file when this one is full."""
        for offset in range(0, len(piece), self._half):
            part = piece[offset : offset + self._half]
            if self._size + len(part) > self._half:
                self._file.close()
                self._path.replace(f"{self._path}.1")
                self._file = self._open()
            self._file.write(part)
            self._size += len(part)

    def close(self) -> None:
        """Nothing is written after this."""
        self._file.close()

    def _open(self) -> Any:
        self._size = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(self._path, flags, 0o600), "wb", buffering=0)


def connection(address: str) -> HTTPConnection:
    """An HTTP connection to `unix:/path` or `tcp:host:port`."""
    # Imported while the wall is starting, not before: it takes as long as bubblewrap itself.
    import socket  # noqa: PLC0415
    from http.client import HTTPConnection  # noqa: PLC0415

    kind, _, rest = address.partition(":")
    if kind == "tcp":
        host, _, port = rest.rpartition(":")
        return HTTPConnection(host.strip("[]"), int(port), timeout=_REQUEST_SECONDS)
    made = HTTPConnection("localhost", timeout=_REQUEST_SECONDS)
    made.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.sock.settimeout(_REQUEST_SECONDS)
    try:
        made.sock.connect(rest)
    except OSError:
        made.sock.close()
        raise
    return made


def ask(address: str, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int | None, bytes]:
    """The status and the content of one request's answer; None when nobody answers."""
    from http.client import HTTPException  # noqa: PLC0415

    try:
        made = connection(address)
        try:
            made.request(method, path, body=body, headers=headers)
            answer = made.getresponse()
            return answer.status, answer.read(_LONGEST_ANSWER)
        finally:
            made.close()
    except (OSError, HTTPException):
        return None, b""


class Announcement:
    """Waits for the server and tells the hub its port: tries as long as the job lives.

    A server whose report is refused for good is ended, because nobody could ever reach it.
    """

    def __init__(self, task: Task, walled: Walled, published: tuple[str, int], doorway: Doorway | None) -> None:
        self._task = task
        self._walled = walled
        host, port = published
        self._server = host if doorway is not None else f"tcp:{host}:{port}"
        self._port = port if doorway is None else doorway.port
        self._doorway = doorway
        self._ended = threading.Event()
        self.refused = False

    def run(self) -> None:
        """Probe, then report."""
        while ask(self._server, "GET", f"{self._task.base}api", None, {})[0] != 200:
            pause = PROBE_SECONDS if self._walled.wait_for_relay(EARLY_PROBE_SECONDS) else 0.0
            if self._ended.wait(pause):
                return
        pause = REPORT_FIRST_SECONDS
        body = json.dumps({"port": self._port}).encode()
        headers = {"Authorization": f"start {self._task.secret}", "Content-Type": "application/json"}
        while True:
            status, answer = ask(self._task.report_to, "POST", self._task.report_path, body, headers)
            if status == (_ACCEPTED if self._doorway is None else _CERTIFIED) and self._let_in(answer):
                return
            if status in _REFUSED:
                self.refused = True
                say(f"The hub refused the report of port {self._port}: {_REFUSED[status]}. The server is ended.")
                end(self._walled)
                return
            # No answer, 404 while the hub starts, 5xx: it may know this start later.
            say(f"The hub did not take the report (status {status}); next try in {pause:.1f} s.")
            if self._ended.wait(pause):
                return
            pause = min(REPORT_MOST_SECONDS, pause * 1.5)

    def _let_in(self, answer: bytes) -> bool:
        """Open the door with the papers in the hub's answer, where there is one."""
        if self._doorway is None:
            return True
        try:
            self._doorway.open(json.loads(answer))
        except (ValueError, KeyError, TypeError, OSError) as error:
            say(f"The server cannot be offered with the certificate that the hub gave: {error!r}.")
            return False
        return True

    def end(self) -> None:
        """Stop trying."""
        self._ended.set()


def say(sentence: str) -> None:
    """A line in Slurm's own output of the job."""
    sys.stderr.write(sentence + "\n")
    sys.stderr.flush()


def run(task: Task) -> int:
    """Run the server until it ends or the job gets SIGTERM.

    Returns:
        The server's exit code; 70 when it was never there for anybody: the wall could not be built, or the hub refused
        the report (EX_SOFTWARE, sysexits.h(3)); `confinement.home_size.FULL` when its home was full.
    """
    log = RotatingLog(task.log, task.log_limit)
    asked_to_end = threading.Event()
    walled: Walled | None = None

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        asked_to_end.set()
        if walled is not None:
            # Not from within the handler: ending waits, and the main thread may hold the lock it waits for.
            threading.Thread(target=end, args=(walled,), daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, on_signal)
    try:
        offered_on = address_in(task.publish_on) if "/" in task.publish_on else task.publish_on
    except NoAddress as error:
        log.write(f"{error}\n".encode())
        say(str(error))
        return _NOT_STARTED
    try:
        wall, devices = gpu.admit(task.wall, os.environ)
        doorway = _doorway(offered_on) if task.tls else None
        place = offered_on if doorway is None else doorway.inside
        walled = start(wall, publish_on=place, output=log.write, output_limit=_NO_LIMIT)
    except (WallRefused, OSError) as error:
        log.write(f"{error}\n".encode())
        say(str(error))
        return _NOT_STARTED
    if asked_to_end.is_set():
        return walled.terminate()
    if walled.published is None:
        say("The wall publishes no port, so nobody could reach the server.")
        walled.terminate()
        return _NOT_STARTED
    announcement = Announcement(task, walled, walled.published, doorway)
    thread = threading.Thread(target=announcement.run, name="announcement", daemon=True)
    thread.start()
    # Imported now that the wall has started: nobody waits for it.
    from confinement.home_size import FULL, HomeSize  # noqa: PLC0415
    from confinement.meter import Meter  # noqa: PLC0415

    try:
        with Meter(task.use, devices), HomeSize(task.wall.home, task.home_size, lambda: end(walled)) as home:
            code = walled.wait()
    finally:
        announcement.end()
        if doorway is not None:
            doorway.close()
    if home.overrun is not None:
        say(f"The home takes {home.overrun.bytes} bytes, of the {task.home_size} that it may.")
        return FULL
    return _NOT_STARTED if announcement.refused else code


def _doorway(host: str) -> Doorway:
    from spawners.doorway import Doorway  # noqa: PLC0415  only servers on a network have one

    return Doorway(host, say)


def end(walled: Walled) -> None:
    """End everything inside at once."""
    with suppress(TimeoutError):
        walled.terminate()


def main() -> int:
    """Take the task out of the environment and run it."""
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        say(f"{VARIABLE} is not set: this program is started by Leerlab's hub, as a Slurm job.")
        return 2
    return run(Task.from_json(text))


if __name__ == "__main__":
    sys.exit(main())
