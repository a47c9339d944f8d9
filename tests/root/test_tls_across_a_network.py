"""A lab on a node that is far away, over a line that loses packets: reached by the hub with TLS, and by nobody else."""

from __future__ import annotations

import http.client
import pwd
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from delay_line import DelayLine, within

from confinement import seccomp
from confinement.wall import Relay, Wall
from spawners.certificates import Certificates
from spawners.job import VARIABLE, Task

CODE = Path(__file__).resolve().parents[2]
sys.path.append(str(CODE / "tests/integration/spawners"))
from wrapped_jobs import HubSocket  # noqa: E402  needs the path above

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(180)]
HUB, NODE = ("lltls-hub", "10.231.10.1"), ("lltls-node", "10.231.10.2")
START, DELAY, LOSS, REQUESTS = "0123456789abcdef", 0.04, 0.08, 25
SERVER = """
import http.server
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = b"x" * 100_000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", 8888), Answer).serve_forever()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    account = pwd.getpwnam("leerlab")
    made = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    shutil.copytree(CODE / "spawners", made / "code/spawners")
    for name in ("confinement", "base"):
        shutil.copytree(CODE / name, made / "code" / name)
    (made / "secrets").mkdir(mode=0o700)
    seccomp.write_filter(made / "seccomp.bpf")
    (made / "home").mkdir(mode=0o700)
    for path in (made, made / "home"):
        shutil.chown(path, account.pw_uid, account.pw_gid)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def line() -> Iterator[DelayLine]:
    made = DelayLine((HUB[0], NODE[0]), (HUB[1], NODE[1]), DELAY, LOSS)
    yield made
    made.close()


def test_a_lab_far_away_is_reached_through_loss_delay_and_a_cut(folder: Path, line: DelayLine) -> None:
    papers = Certificates(folder / "secrets")
    papers.make()
    hub = HubSocket(folder / "hub.sock", lambda: papers.issue(START, NODE[1]))
    hub.open()
    (folder / "hub.sock").chmod(0o666)
    wall = Wall(
        command=("/usr/bin/python3", "-c", SERVER), home=folder / "home", seccomp=folder / "seccomp.bpf", publish=8888,
        relays=(Relay(8081, f"unix:{folder}/hub.sock"),),
    )  # fmt: skip
    task = Task(
        wall=wall, report_to=f"unix:{folder}/hub.sock", report_path=f"/hub/api/leerlab/starts/{START}", secret="s3cret",
        base="/user/sanne/", publish_on="10.231.10.0/24", log=folder / "home/server.log", log_limit=4000, tls=True,
    )  # fmt: skip
    job = subprocess.Popen(
        ["ip", "netns", "exec", NODE[0], "setpriv", "--reuid=leerlab", "--regid=leerlab", "--clear-groups", "--",
         "/usr/bin/python3", "-I", "-S", str(folder / "code/spawners/job.py")],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", VARIABLE: task.to_json()},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/",
    )  # fmt: skip
    try:
        port = hub.port()
        context = ssl.create_default_context(cafile=str(papers.authority))
        context.load_cert_chain(str(papers.hub), str(papers.hub_key))

        def fetch(connection: http.client.HTTPSConnection) -> float:
            begin = time.monotonic()
            connection.request("GET", "/user/sanne/api")
            assert len(connection.getresponse().read()) == 100_000
            return time.monotonic() - begin

        def as_the_hub() -> list[float]:
            with closing(http.client.HTTPSConnection(NODE[1], port, context=context, timeout=60)) as connection:
                seconds = [fetch(connection) for _ in range(REQUESTS)]
                # The line is cut for three seconds while an answer is on its way.
                line.loss = 1.0
                threading.Timer(3.0, lambda: setattr(line, "loss", LOSS)).start()
                seconds.append(fetch(connection))
            return seconds

        took = within(HUB[0], as_the_hub)
        assert len(took) == REQUESTS + 1
        assert took[-1] > 2.5, "the cut was one"
        assert line.lost > 0.03 * line.carried, "the line lost packets"
        assert min(took) > 2 * DELAY, "the line is slow"

        def as_a_stranger() -> bytes:
            unknown = ssl.create_default_context(cafile=str(papers.authority))
            with closing(http.client.HTTPSConnection(NODE[1], port, context=unknown, timeout=20)) as connection:
                connection.request("GET", "/user/sanne/api")
                return connection.getresponse().read()

        with pytest.raises((OSError, http.client.HTTPException)):
            within(HUB[0], as_a_stranger)
        job.send_signal(signal.SIGTERM)
        assert job.wait(20) == 143
    finally:
        job.kill()
        job.communicate(timeout=10)
        hub.close()
