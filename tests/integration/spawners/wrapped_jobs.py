"""Wrappers of jobs by themselves: a folder for their walls, a hub's inner API that is only a socket, and their end."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

from confinement import seccomp


class HubSocket:
    """A unix socket on which a hub could listen; answers reports as told and remembers what came.

    Args:
        path: of the socket.
        content: makes what is sent with an answer of 200.
    """

    def __init__(self, path: Path, content: Callable[[], object] | None = None) -> None:
        self.answers = [204 if content is None else 200]
        """The status of each answer in turn; the last one stays."""
        self.received: list[tuple[str, str, dict[str, Any]]] = []
        """Of each report: path, authorization, content."""
        self._path, self._content = path, content
        self._server: ThreadingUnixStreamServer | None = None

    def open(self) -> None:
        """Listen."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.received.append((self.path, self.headers["Authorization"], body))
                status = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                self.send_response(status)
                self.end_headers()
                if status == 200 and outer._content is not None:
                    self.wfile.write(json.dumps(outer._content()).encode())

            def address_string(self) -> str:
                return "unix"

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingUnixStreamServer(str(self._path), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def port(self, reports: int = 1, seconds: float = 30) -> int:
        """The one port that the job has reported, after so many reports."""
        end = time.monotonic() + seconds
        while len(self.received) < reports:
            assert time.monotonic() < end, "no report"
            time.sleep(0.01)
        (port,) = {body["port"] for _, _, body in self.received}
        return int(port)

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


@contextmanager
def wall_folder(*names: str) -> Iterator[Path]:
    """A short-named folder with a system call filter, a `home`, and private folders of these names."""
    made = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    for name in ("home", *names):
        (made / name).mkdir(mode=0o700)
    seccomp.write_filter(made / "seccomp.bpf")
    try:
        yield made
    finally:
        shutil.rmtree(made)


@contextmanager
def jobs_of(wrapper: Path) -> Iterator[Callable[[dict[str, str]], subprocess.Popen[bytes]]]:
    """Starts a job's wrapper with an environment, as its script in Slurm does; all end afterwards."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(environment: dict[str, str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            ["/usr/bin/python3", "-I", "-S", str(wrapper)],
            env={"PATH": "/usr/bin", **environment},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/",
        )  # fmt: skip
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate(timeout=30)
