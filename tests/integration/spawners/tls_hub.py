"""A hub's inner API that answers a job's report with a certificate."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any


class CertifyingHub:
    """Listens on a unix socket.

    Args:
        path: of the socket.
        issue: makes the papers.
    """

    def __init__(self, path: Path, issue: Callable[[], dict[str, str]]) -> None:
        self.silent_for = 0
        """How many reports are answered with 503."""
        self._path, self._issue = path, issue
        self._ports: list[int] = []
        self._server: ThreadingUnixStreamServer | None = None

    def open(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer._ports.append(body["port"])
                known = len(outer._ports) > outer.silent_for
                self.send_response(200 if known else 503)
                self.end_headers()
                if known:
                    self.wfile.write(json.dumps(outer._issue()).encode())

            def address_string(self) -> str:
                return "unix"

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingUnixStreamServer(str(self._path), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def port(self, reports: int = 1, seconds: float = 30) -> int:
        """The port that the job has reported, after so many reports."""
        end = time.monotonic() + seconds
        while len(self._ports) < reports:
            assert time.monotonic() < end, "no report"
            time.sleep(0.01)
        assert len(set(self._ports)) == 1
        return self._ports[0]

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
