"""The wrapper of a job by itself: a real wall, and a hub's API that is only a socket."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from wrapped_jobs import HubSocket, jobs_of, wall_folder

from cluster.embedded import KILL_WAIT
from confinement.wall import Relay, Wall
from spawners.job import VARIABLE, Task

JOB = Path(__file__).resolve().parents[3] / "spawners" / "job.py"
SERVER = """
import http.server, os, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/user/sanne/api" else 404)
        self.end_headers()
        self.wfile.write(repr(sorted(os.environ.items())).encode())
print("server begins", flush=True)
http.server.HTTPServer(("127.0.0.1", 8888), Answer).serve_forever()
"""

pytestmark = pytest.mark.integration


@pytest.fixture
def folder() -> Iterator[Path]:
    with wall_folder() as made:
        yield made


@pytest.fixture
def hub(folder: Path) -> Iterator[HubSocket]:
    made = HubSocket(folder / "hub.sock")
    yield made
    made.close()


@pytest.fixture
def begin(folder: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    with jobs_of(JOB) as start:

        def begin(program: str, **environment: str) -> subprocess.Popen[bytes]:
            wall = Wall(
                command=("/usr/bin/python3", "-c", program), home=folder / "home",
                seccomp=folder / "seccomp.bpf", publish=8888,
                relays=(Relay(8081, f"unix:{folder}/hub.sock"),), environment={"JUPYTERHUB_API_TOKEN": "abc"},
            )  # fmt: skip
            task = Task(
                wall=wall, report_to=f"unix:{folder}/hub.sock", report_path="/hub/api/leerlab/starts/00",
                secret="s3cret", base="/user/sanne/", publish_on="127.0.0.1", log=folder / "server.log",
                log_limit=2000,
            )  # fmt: skip
            return start({VARIABLE: task.to_json(), **environment})

        yield begin


def test_it_reports_the_port_on_which_the_server_answers(
    begin: Callable[..., Any], hub: HubSocket, folder: Path
) -> None:
    hub.open()
    process = begin(SERVER, CUDA_VISIBLE_DEVICES="1")
    hub.port()
    path, authorization, body = hub.received[0]
    assert (path, authorization, list(body)) == ("/hub/api/leerlab/starts/00", "start s3cret", ["port"])
    inside = httpx.get(f"http://127.0.0.1:{body['port']}/user/sanne/api", timeout=30).text
    # It came along with the job and is not of Slurm's giving, so it enters no wall.
    assert "CUDA_VISIBLE_DEVICES" not in inside
    assert "('JUPYTERHUB_API_TOKEN', 'abc')" in inside
    assert VARIABLE not in inside
    assert "s3cret" not in inside
    assert b"server begins" in (folder / "server.log").read_bytes()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143


def test_on_term_everything_inside_is_gone_at_once(begin: Callable[..., Any], hub: HubSocket) -> None:
    hub.open()
    process = begin("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVER)
    hub.port()
    port = hub.port()
    process.send_signal(signal.SIGTERM)
    # Sooner than Slurm's KillWait would end it, although the server does not heed SIGTERM.
    assert process.wait(KILL_WAIT) == 143
    with pytest.raises(ConnectionError), socket.create_connection(("127.0.0.1", port), 1):
        pass


@pytest.mark.fault
def test_a_hub_that_is_away_is_told_when_it_is_back(begin: Callable[..., Any], hub: HubSocket) -> None:
    process = begin(SERVER)
    time.sleep(1)
    hub.answers = [502, 404, 204]
    hub.open()
    hub.port(reports=3)
    time.sleep(0.5)
    assert len(hub.received) == 3
    assert process.poll() is None


@pytest.mark.fault
@pytest.mark.parametrize("status", [400, 403, 409])
def test_a_server_whose_report_is_refused_for_good_is_ended(
    begin: Callable[..., Any], hub: HubSocket, status: int
) -> None:
    """409 is what the wrapper of a job gets that Slurm runs a second time."""
    hub.answers = [status]
    hub.open()
    process = begin(SERVER)
    hub.port()
    assert process.wait(20) == 70
    assert len(hub.received) == 1
    with pytest.raises(ConnectionError), socket.create_connection(("127.0.0.1", hub.port()), 1):
        pass


def test_the_jobs_exit_code_is_the_servers(begin: Callable[..., Any], folder: Path) -> None:
    process = begin("import sys; print('no model'); sys.exit(7)")
    assert process.wait(30) == 7
    assert (folder / "server.log").read_text() == "no model\n"


def test_the_log_stays_below_its_limit(begin: Callable[..., Any], folder: Path) -> None:
    begin("for i in range(5000): print(i)").wait(30)
    assert sum(path.stat().st_size for path in folder.glob("server.log*")) <= 2000
    assert (folder / "server.log").read_text().endswith("4999\n")


def test_a_wall_that_cannot_be_built_starts_nothing_and_says_why(begin: Callable[..., Any], folder: Path) -> None:
    (folder / "seccomp.bpf").unlink()
    process = begin("open('started', 'w')")
    assert process.wait(30) == 70
    assert "system call filter" in (folder / "server.log").read_text()
    assert list((folder / "home").iterdir()) == []


def test_without_a_task_it_says_who_starts_it() -> None:
    result = subprocess.run(
        ["/usr/bin/python3", "-I", "-S", str(JOB)],
        check=False,
        env={"PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert result.returncode == 2
    assert VARIABLE in result.stderr


@pytest.mark.attack
def test_the_secret_is_not_in_the_environment_of_the_job_after_its_start(
    begin: Callable[..., Any], hub: HubSocket
) -> None:
    """A child of the wrapper would inherit what os.environ holds: bubblewrap gets none of it."""
    hub.open()
    process = begin(SERVER)
    hub.port()
    children: set[str] = set()
    for thread in Path(f"/proc/{process.pid}/task").iterdir():
        with suppress(OSError):  # the one that has reported ends about now
            children |= set((thread / "children").read_text().split())
    assert children
    for child in children:
        assert b"s3cret" not in Path(f"/proc/{child}/environ").read_bytes()
        assert b"s3cret" not in Path(f"/proc/{child}/cmdline").read_bytes()
    # Control: the wrapper itself was given it.
    assert b"s3cret" in Path(f"/proc/{process.pid}/environ").read_bytes()
    assert os.getpid() != process.pid
