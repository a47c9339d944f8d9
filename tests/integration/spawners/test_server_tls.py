"""A server on a network is offered behind TLS: to the hub's certificate and to nobody else."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from wrapped_jobs import HubSocket, jobs_of, wall_folder

from base.ports import free_ports
from confinement.wall import Relay, Wall
from spawners.certificates import Certificates
from spawners.job import VARIABLE, Task

JOB = Path(__file__).resolve().parents[3] / "spawners" / "job.py"
SERVER = """
import http.server
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/user/sanne/api" else 404)
        self.end_headers()
        self.wfile.write(b"the lab")
http.server.ThreadingHTTPServer(("127.0.0.1", 8888), Answer).serve_forever()
"""
START = "0123456789abcdef"

pytestmark = pytest.mark.integration


@pytest.fixture
def folder() -> Iterator[Path]:
    with wall_folder("secrets") as made:
        yield made


@pytest.fixture
def papers(folder: Path) -> Certificates:
    made = Certificates(folder / "secrets")
    made.make()
    return made


@pytest.fixture
def hub(folder: Path, papers: Certificates) -> Iterator[HubSocket]:
    made = HubSocket(folder / "hub.sock", lambda: papers.issue(START, "127.0.0.1"))
    made.open()
    yield made
    made.close()


@pytest.fixture
def begin(folder: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    with jobs_of(JOB) as start:

        def begin() -> subprocess.Popen[bytes]:
            wall = Wall(
                command=("/usr/bin/python3", "-c", SERVER), home=folder / "home", seccomp=folder / "seccomp.bpf",
                publish=8888, relays=(Relay(8081, f"unix:{folder}/hub.sock"),),
            )  # fmt: skip
            task = Task(
                wall=wall, report_to=f"unix:{folder}/hub.sock", report_path=f"/hub/api/leerlab/starts/{START}",
                secret="s3cret", base="/user/sanne/", publish_on="127.0.0.1", log=folder / "server.log",
                log_limit=2000, tls=True,
            )  # fmt: skip
            return start({VARIABLE: task.to_json(), "TMPDIR": str(folder)})

        yield begin


def context_of(papers: Certificates) -> ssl.SSLContext:
    """As JupyterHub makes it (`jupyterhub.utils.make_ssl_context`)."""
    made = ssl.create_default_context(cafile=str(papers.authority))
    made.load_cert_chain(str(papers.hub), str(papers.hub_key))
    return made


def get(port: int, context: ssl.SSLContext, host: str = "127.0.0.1") -> bytes:
    """What the lab says to whoever comes so.

    Raises:
        OSError: nobody answers such a one.
    """
    connection = http.client.HTTPSConnection(host, port, context=context, timeout=30)
    try:
        connection.request("GET", "/user/sanne/api")
        return connection.getresponse().read()
    except http.client.HTTPException as error:
        raise OSError(repr(error)) from error
    finally:
        connection.close()


def until_open(port: int, context: ssl.SSLContext) -> bytes:
    end = time.monotonic() + 40
    while True:
        try:
            return get(port, context)
        except OSError:
            assert time.monotonic() < end, "nobody answers the hub"
            time.sleep(0.05)


def living(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended; who takes leave of them may come later."""
    found = []
    for one in processes:
        with suppress(psutil.NoSuchProcess):
            if one.is_running() and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
    return found


def test_the_hub_reaches_the_lab_and_at_the_end_nothing_is_left(
    begin: Callable[..., Any], hub: HubSocket, papers: Certificates, folder: Path
) -> None:
    process = begin()
    port = hub.port()
    assert until_open(port, context_of(papers)) == b"the lab"
    (door,) = folder.glob("leerlab-*")
    assert door.stat().st_mode & 0o777 == 0o700
    stunnel = [one for one in psutil.Process(process.pid).children(recursive=True) if one.name().startswith("stunnel")]
    assert stunnel
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
    assert not door.exists()
    assert living(stunnel) == []
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=2)


def test_a_hub_that_does_not_know_the_node_yet_is_asked_again(
    begin: Callable[..., Any], hub: HubSocket, papers: Certificates
) -> None:
    hub.answers = [503, 503, 200]
    begin()
    port = hub.port(reports=3)
    assert until_open(port, context_of(papers)) == b"the lab"


@pytest.mark.fault
def test_when_stunnel_dies_the_lab_is_reached_again(
    begin: Callable[..., Any], hub: HubSocket, papers: Certificates
) -> None:
    process = begin()
    port, context = hub.port(), context_of(papers)
    until_open(port, context)
    for one in psutil.Process(process.pid).children(recursive=True):
        if one.name().startswith("stunnel"):
            one.kill()
    assert until_open(port, context) == b"the lab"
    assert process.poll() is None


@pytest.mark.fault
def test_when_the_wrapper_is_killed_the_door_is_gone(
    begin: Callable[..., Any], hub: HubSocket, papers: Certificates
) -> None:
    process = begin()
    port = hub.port()
    until_open(port, context_of(papers))
    inside = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    end = time.monotonic() + 20
    while living(inside) and time.monotonic() < end:
        time.sleep(0.05)
    assert living(inside) == []
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=2)


@pytest.mark.attack
def test_nobody_but_the_hub_comes_in(
    begin: Callable[..., Any], hub: HubSocket, papers: Certificates, folder: Path
) -> None:
    """Without a certificate, with a neighbouring lab's, and with one of another authority that bears the hub's name."""
    begin()
    port = hub.port()
    until_open(port, context_of(papers))

    def coming(certificate: Path | None, key: Path | None) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(papers.authority))
        if certificate is not None:
            made.load_cert_chain(str(certificate), str(key))
        return made

    neighbour = papers.issue("f" * 16, "127.0.0.1")
    for name in ("certificate", "key"):
        (folder / name).write_text(neighbour[name])
    (folder / "other").mkdir()
    foreign = Certificates(folder / "other")
    foreign.make()
    for certificate, key in (
        (None, None), (folder / "certificate", folder / "key"), (foreign.hub, foreign.hub_key),
    ):  # fmt: skip
        with pytest.raises(OSError):
            get(port, coming(certificate, key))
    # In plain text neither.
    with pytest.raises((OSError, http.client.HTTPException)):
        plain = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        plain.request("GET", "/user/sanne/api")
        plain.getresponse()
    # The control: the same three come in where stunnel does not ask who they are.
    (door,) = folder.glob("leerlab-*")
    text = (door / "stunnel.conf").read_text()
    for line in ("requireCert = yes\n", "verifyChain = yes\n", "checkHost = leerlab-hub\n"):
        assert line in text
        text = text.replace(line, "")
    (other_port,) = free_ports(1)
    (folder / "open.conf").write_text(text.replace(f"accept = {port}", f"accept = 127.0.0.1:{other_port}"))
    with subprocess.Popen(["/usr/bin/stunnel4", str(folder / "open.conf")], stderr=subprocess.DEVNULL) as opened:
        try:
            until_open(other_port, coming(None, None))
            for certificate, key in ((None, None), (folder / "certificate", folder / "key")):
                assert get(other_port, coming(certificate, key)) == b"the lab"
        finally:
            opened.kill()


@pytest.mark.attack
def test_a_server_that_is_not_the_start_s_is_not_believed(papers: Certificates, folder: Path) -> None:
    """Somebody listens at the address of a node: with a certificate for another node, and with another authority's."""
    (folder / "other").mkdir()
    foreign = Certificates(folder / "other")
    foreign.make()

    def met(issued: dict[str, str]) -> bytes:
        for name in ("certificate", "key"):
            (folder / name).write_text(issued[name])
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(str(folder / "certificate"), str(folder / "key"))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            import threading

            def serve() -> None:
                connection, _ = listening.accept()
                try:
                    with serving.wrap_socket(connection, server_side=True) as secure:
                        secure.recv(1000)
                        secure.sendall(b"HTTP/1.0 200 OK\r\n\r\nfalse")
                except OSError:
                    pass

            thread = threading.Thread(target=serve)
            thread.start()
            try:
                return get(listening.getsockname()[1], context_of(papers))
            finally:
                thread.join(30)

    for issued in (papers.issue(START, "127.0.0.2"), foreign.issue(START, "127.0.0.1")):
        with pytest.raises(ssl.SSLCertVerificationError):
            met(issued)
    # The control: with the certificate that this start's job was given.
    assert met(papers.issue(START, "127.0.0.1")) == b"false"


def test_the_authority_stays_and_the_hubs_certificate_is_new_each_time(papers: Certificates) -> None:
    authority, hub = papers.authority.read_text(), papers.hub.read_text()
    papers.make()
    assert papers.authority.read_text() == authority and papers.hub.read_text() != hub
    for path in papers.folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    issued = papers.issue(START, "node1.example.nl")
    assert json.dumps(issued) and set(issued) == {"certificate", "key", "authority"}
