"""What the proxy's node does where a server on a unix socket answers and closes before node is done sending."""

from __future__ import annotations

import socket
import subprocess
import threading
from pathlib import Path

import pytest

from base.paths import Installation
from hub_config.run.processes import EMPTY_WRITES, NODE

pytestmark = [pytest.mark.integration, pytest.mark.fault]

ASK = """
const { Socket } = require("node:net");
const { existsSync } = require("node:fs");
for (const name of ["_write", "_writev"]) {
  const write = Socket.prototype[name];
  Socket.prototype[name] = function (...asked) {
    const done = asked.pop();
    const last = [asked[0]].flat().some((part) => String(part.chunk ?? part).endsWith("{}"));
    write.call(this, ...asked, (error) => {
      for (const until = Date.now() + 40_000; last && !existsSync(process.argv[2]) && Date.now() < until; );
      done(error);
    });
  };
}
const request = require("node:http").request(
  { method: "POST", socketPath: process.argv[1], headers: { "Content-Length": 2 } },
  (answer) => { console.log(answer.statusCode); answer.resume(); });
request.on("error", (error) => console.log(error.code));
const body = new (require("node:stream").PassThrough)();
body.pipe(request);
body.end("{}");
"""
"""Once the body is written the process is held up until the server has closed, as by a kernel that lets it go first."""


def asked(folder: Path, *options: str) -> str:
    """What node is told by a server that answers as soon as it has the body, and closes."""
    place, closed = folder / "s", folder / "closed"

    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            read = b""
            while not read.endswith(b"{}"):
                read += connection.recv(65536)
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        closed.touch()

    with socket.socket(socket.AF_UNIX) as listening:
        listening.settimeout(60)
        listening.bind(str(place))
        listening.listen()
        serving = threading.Thread(target=serve, args=(listening,))
        serving.start()
        node = str(Installation.current().hub_env / NODE)
        ended = subprocess.run(
            [node, *options, "--eval", ASK, str(place), str(closed)],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        serving.join()
    return ended.stdout.strip()


def test_an_answer_is_not_lost_where_the_server_closes_first(tmp_path: Path) -> None:
    assert asked(tmp_path, "--require", str(Installation.current().code / EMPTY_WRITES)) == "403"


def test_without_our_change_node_loses_it(tmp_path: Path) -> None:
    # Control, and the sign that the change can go: a newer node that gives the answer.
    assert asked(tmp_path) == "EPIPE"
