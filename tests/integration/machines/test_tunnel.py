"""Between a node and the hub: only stunnel with a certificate of the site's authority leads to the sockets."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tunnel import HUB_ADDRESS, HUB_NAME, HUB_SIDE, NODE_SIDE, PORT, Authority, Link, Stunnel, link

from confinement import seccomp
from confinement.run import start
from confinement.wall import Relay, Wall
from spawners.node_check import _deaf

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]

# In the wall, as a lab asks the hub who it is.
ASK = (
    "from http.client import HTTPConnection as C\n"
    "c = C('127.0.0.1', 8081, timeout=20); c.request('GET', '/hub/api/'); a = c.getresponse()\n"
    "print(a.status, a.read().decode())"
)
# On the node, by whoever can reach the hub's machine: a request straight to the tunnel's far end.
KNOCK = (
    "import socket, ssl, sys\n"
    "c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE\n"
    "if len(sys.argv) > 1: c.load_cert_chain(sys.argv[1])\n"
    f"s = c.wrap_socket(socket.create_connection(('{HUB_ADDRESS}', {PORT}), 10))\n"
    "s.settimeout(10); s.sendall(b'GET /hub/api/ HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n'); print(s.recv(64))"
)


@dataclass
class Machines:
    """A hub's machine with a running site, and a node.

    Args:
        link: their namespaces.
        folder: of the node.
        authority: the site's.
        hub, node: both ends.
    """

    link: Link
    folder: Path
    authority: Authority
    hub: Stunnel
    node: Stunnel

    @property
    def socket(self) -> Path:
        """Where labs on the node find the hub."""
        return Path(self.node.options["accept"])

    def lab_asks(self) -> str:
        """What a walled process on the node hears from the hub."""
        home, filter_file = Path(tempfile.mkdtemp(dir=self.folder)), self.folder / "seccomp.bpf"
        seccomp.write_filter(filter_file)
        wall = Wall(
            command=("/usr/bin/python3", "-I", "-c", ASK), home=home, seccomp=filter_file,
            relays=(Relay(8081, f"unix:{self.socket}"),),
        )  # fmt: skip
        walled = start(wall)
        walled.wait(60)
        return bytes(walled.output).decode()

    def knock(self, *certificate: Path) -> str:
        """What somebody on the node gets who goes to the hub's side itself; empty when nothing."""
        done = self.link.run("node", sys.executable, "-I", "-c", KNOCK, *map(str, certificate))
        return done.stdout


@pytest.fixture
def machines(running_site: Any) -> Iterator[Machines]:
    folder = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    try:
        with link() as cable:
            authority = Authority(folder)
            trust = {"CAfile": str(authority.certificate)}
            hub = Stunnel(cable, "hub", folder, {
                "accept": f"{HUB_ADDRESS}:{PORT}", "connect": str(running_site.state.run / "hub-api.sock"),
                "cert": str(authority.give(HUB_NAME)), **trust, **HUB_SIDE,
            })  # fmt: skip
            node = Stunnel(cable, "node", folder, {
                "accept": str(folder / "hub-api.sock"), "connect": f"{HUB_ADDRESS}:{PORT}",
                "cert": str(authority.give("node1.site.example")), **trust, **NODE_SIDE,
            })  # fmt: skip
            try:
                hub.start()
                node.start()
                yield Machines(cable, folder, authority, hub, node)
            finally:
                node.end()
                hub.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_walled_lab_on_a_node_hears_the_hub(machines: Machines) -> None:
    status, _, body = machines.lab_asks().partition(" ")
    assert status == "200", machines.node.log + machines.hub.log
    assert json.loads(body)["version"]
    assert _deaf(str(machines.socket)) == ""


@pytest.mark.attack
def test_without_a_certificate_of_the_site_nobody_gets_to_the_hub(machines: Machines) -> None:
    other = Authority(machines.folder, "other")
    assert machines.knock() == ""
    assert machines.knock(other.give("node1.site.example")) == ""
    assert "HTTP/1.1" in machines.knock(machines.authority.give("node2.site.example"))
    # The control: the same two, where the hub's side does not ask for a certificate.
    machines.hub.end()
    machines.hub.options |= {"requireCert": "no", "verifyChain": "no"}
    machines.hub.start()
    assert "HTTP/1.1" in machines.knock()
    assert "HTTP/1.1" in machines.knock(other.give("node3.site.example"))


@pytest.mark.attack
def test_a_node_tells_nothing_to_who_stands_in_the_hubs_place(machines: Machines) -> None:
    machines.hub.end()
    # A node that was taken over answers at the hub's address, with the certificate that it has.
    machines.hub.options["cert"] = str(machines.authority.give("node2.site.example"))
    machines.hub.start()
    assert not machines.lab_asks().startswith("200")
    # The control: the same, where the node does not look at the name.
    machines.node.end()
    machines.socket.unlink(missing_ok=True)
    del machines.node.options["checkHost"]
    machines.node.start()
    assert machines.lab_asks().startswith("200")


@pytest.mark.fault
def test_a_far_end_that_is_away_is_seen_and_found_again(machines: Machines) -> None:
    machines.hub.end()
    assert not machines.lab_asks().startswith("200")
    assert _deaf(str(machines.socket)), "stunnel takes the connection all the same; the doctor must not be content"
    machines.hub.start()
    assert machines.lab_asks().startswith("200")
