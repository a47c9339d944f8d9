"""Whoever has a node, a foreign certificate or a log gets no further; each with the defence taken away too."""

from __future__ import annotations

import base64
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from deploy import Operator
from machine import Machine
from outside import CLIENT_SECRET, Authority
from rootfs import CODE

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.site, pytest.mark.attack, pytest.mark.timeout(7200)]
# Connects to each place and prints those that take the connection.
REACH = """
import socket, sys
for place in sys.argv[1:]:
    kind = socket.AF_UNIX if place.startswith("/") else socket.AF_INET
    with socket.socket(kind) as probe:
        probe.settimeout(2)
        try:
            host, _, port = place.rpartition(":")
            probe.connect(place if kind == socket.AF_UNIX else (host, int(port)))
            print(place)
        except OSError:
            pass
"""

LEERLAB = "setpriv --reuid=leerlab --regid=leerlab --clear-groups"
HUB_PYTHON = "$(ls -d /var/lib/leerlab/env/hub-*/bin/python | head -n 1) -P"
# On the hub, in the place of squid, which a site without sandboxes does not run: two listeners that say whose they are.
PROXIES = """
import json, socket, sys, threading
sys.path.append(sys.argv[1])
from pathlib import Path
from base.paths import State
from sandboxes.way_out import Door, ticket
key, state = "5" * 64, State(Path(sys.argv[2]))
if sys.argv[3] == "tickets":
    print(ticket(key, "ours"), ticket(key, "theirs"), sep="\\n")
    sys.exit()
def serve(name, server):
    while True:
        with server.accept()[0] as connection:
            connection.sendall(f"proxy of {name}\\n".encode())
servers = {name: socket.create_server(("127.0.0.1", 0)) for name in ("ours", "theirs")}
(state.run / "egress.json").write_text(json.dumps({name: one.getsockname()[1] for name, one in servers.items()}))
for each in servers.items():
    threading.Thread(target=serve, args=each, daemon=True).start()
Door(state, key).loop.run()
"""
# On the node: a wall whose relay has the ticket that was given, and in it a program that listens to what is at its end.
INSIDE = """
import sys, tempfile
from pathlib import Path
sys.path.append(sys.argv[1])
from confinement.run import start
from confinement.wall import Relay, Wall
state = Path(sys.argv[2])
look = "import socket; print(socket.create_connection(('127.0.0.1', 3128), 20).makefile().readline().strip())"
with tempfile.TemporaryDirectory() as home:
    relay = Relay(3128, f"unix:{state / 'run/egress.sock'}", sys.argv[3])
    command = ("/usr/bin/python3", "-I", "-c", look)
    wall = Wall(command=command, home=Path(home), seccomp=state / "generated/seccomp.bpf", relays=(relay,))
    start(wall, output=lambda piece: sys.stdout.write(piece.decode()) and None).wait(60)
"""


def reached(machine: Machine, account: str, *places: str) -> set[str]:
    """Which places take a connection from a program of this account on the machine, outside every wall."""
    machine.file("/var/tmp/reach.py").write_text(REACH)
    words = f"setpriv --reuid={account} --regid={account} --clear-groups python3 /var/tmp/reach.py {' '.join(places)}"
    return set(machine.run(words, timeout=90).stdout.split())


@contextmanager
def no_firewall(*machines: Machine) -> Iterator[None]:
    """Without nftables on these machines."""
    for machine in machines:
        machine.run("nft delete table inet leerlab")
    try:
        yield
    finally:
        for machine in machines:
            machine.run("systemctl restart nftables")


def test_from_a_node_only_what_jobs_need_can_be_reached(site: Operator) -> None:
    hub, controller = site.hub.address, site.controller.address
    needed = f"{controller}:6817"
    forbidden = {
        f"{hub}:22", f"{hub}:443", f"{hub}:8701", f"{hub}:3128", f"{hub}:8000", f"{hub}:5432",
        f"{controller}:22", f"{controller}:6819", f"{controller}:3306",
    }  # fmt: skip
    assert reached(site.node, "leerlab", needed, *forbidden) == {needed}
    with no_firewall(site.node, site.hub, site.controller):
        opened = reached(site.node, "leerlab", needed, *forbidden)
    # What listens on no port at all, or on loopback, stays out of reach even so.
    assert opened == {
        needed,
        f"{hub}:22",
        f"{hub}:443",
        f"{hub}:8701",
        f"{hub}:3128",
        f"{controller}:22",
        f"{controller}:6819",
    }


def test_a_lab_reaches_neither_controller_nor_hub_nor_the_nodes_own_sockets(site: Operator) -> None:
    hub, controller = site.hub.address, site.controller.address
    places = (
        f"{controller}:6817",
        f"{hub}:8701",
        f"{hub}:3128",
        f"{site.state}/run/hub-api.sock",
        "/run/munge/munge.socket.2",
    )
    walled = f"""
import json, sys, tempfile
from pathlib import Path
code = Path(sys.argv[1])
sys.path.append(str(code))
from confinement.run import start
from confinement.wall import Wall
with tempfile.TemporaryDirectory() as home:
    Path(home, "reach.py").write_text({REACH!r})
    command = ("/usr/bin/python3", "reach.py", *{places!r})
    wall = Wall(command=command, home=Path(home), seccomp=Path({site.state!r}) / "generated/seccomp.bpf")
    start(wall, output=lambda piece: sys.stdout.write(piece.decode()) and None, output_limit=100000).wait(60)
"""
    site.node.file("/var/tmp/walled.py").write_text(walled)
    code = site.node.run("ls -dt /var/lib/leerlab/code/*/ | head -n 1").stdout.strip()
    inside = site.node.run(
        f"setpriv --reuid=leerlab --regid=leerlab --clear-groups python3 -I /var/tmp/walled.py {code}", timeout=90
    ).stdout
    assert inside.split() == []
    # The same program, as the same account, without the wall: what the firewall leaves to jobs, and the sockets.
    assert {f"{controller}:6817", f"{site.state}/run/hub-api.sock", "/run/munge/munge.socket.2"} <= reached(
        site.node, "leerlab", *places
    )


def test_a_sandbox_on_a_node_reaches_its_own_proxy_by_its_ticket_alone(site: Operator) -> None:
    """What leads from a wall on a node to the hub's door: the relay, the node's socket, the tunnel, the ticket."""
    code = site.node.run("ls -dt /var/lib/leerlab/code/*/ | head -n 1").stdout.strip()
    site.hub.file("/var/tmp/proxies.py").write_text(PROXIES)
    site.node.file("/var/tmp/inside.py").write_text(INSIDE)
    door = f"{LEERLAB} {HUB_PYTHON} /var/tmp/proxies.py {code} {site.state}"
    tickets = [line.strip() for line in site.hub.run(f"{door} tickets").stdout.splitlines()]
    site.hub.run(f"systemd-run --quiet --unit=test-door {door} serve")
    try:
        wait = f"{LEERLAB} python3 -I /var/tmp/inside.py {code} {site.state}"
        until = time.monotonic() + 60
        while (heard := site.node.run(f"{wait} '{tickets[0]}'", timeout=90).stdout.strip()) == "":
            assert time.monotonic() < until, site.hub.run("journalctl --no-pager -u test-door").stdout
        assert heard == "proxy of ours"
        assert site.node.run(f"{wait} '{tickets[1]}'", timeout=90).stdout.strip() == "proxy of theirs"
        forged = f"theirs {tickets[0].partition(' ')[2]}"
        assert site.node.run(f"{wait} '{forged}'", timeout=90).stdout.strip() == "HTTP/1.1 403 Forbidden"
    finally:
        site.hub.run("systemctl stop test-door")
        site.hub.run(f"rm -f {site.state}/run/egress.sock {site.state}/run/egress.json")


def _ask(site: Operator, folder: str, port: int) -> str:
    """What the hub's tunnel answers to the node's own account with a certificate of this folder."""
    return site.node.run(
        f"setpriv --reuid=leerlab-tunnel --regid=leerlab-tunnel --clear-groups curl -sk --max-time 8 --tls13-ciphers "
        f"TLS_AES_128_GCM_SHA256 --cert {folder}/cert.pem --key {folder}/key.pem -o /dev/null -w '%{{http_code}}' "
        f"https://{site.hub.address}:{port}/status",
        check=False,
    ).stdout.strip()


def _lay(site: Operator, folder: str, certificate: bytes, key: bytes) -> None:
    where = site.node.file(folder)
    where.mkdir(mode=0o755, parents=True, exist_ok=True)
    (where / "cert.pem").write_bytes(certificate)
    (where / "key.pem").write_bytes(key)
    (where / "key.pem").chmod(0o644)


def test_the_node_certificate_of_another_site_opens_no_tunnel(site: Operator, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    other.make()
    certificate, key = other.certify("node1")
    _lay(site, "/var/tmp/foreign", certificate.read_bytes(), key.read_bytes())
    own = site.node.file("/etc/leerlab/tls")
    _lay(site, "/var/tmp/own", (own / "certificate.pem").read_bytes(), (own / "key.pem").read_bytes())
    assert _ask(site, "/var/tmp/own", 8702) not in {"", "000"}
    assert _ask(site, "/var/tmp/foreign", 8702) == "000"
    # The same tunnel without the look at who signed.
    site.hub.run(
        "sed -e '/^requireCert/d' -e '/^verifyChain/d' -e '/^CAfile/d' -e 's/:8702/:8799/' "
        "/etc/leerlab/tunnel-grading.conf > /var/tmp/open.conf && "
        "nft add rule inet leerlab input tcp dport 8799 accept && "
        "systemd-run --unit=open-tunnel -q stunnel4 /var/tmp/open.conf"
    )
    site.node.run("nft insert rule inet leerlab output tcp dport 8799 accept")
    try:
        assert _ask(site, "/var/tmp/foreign", 8799) not in {"", "000"}
    finally:
        site.hub.run("systemctl stop open-tunnel; systemctl restart nftables")
        site.node.run("systemctl restart nftables; rm -rf /var/tmp/foreign /var/tmp/own")


FAKE = """
import http.server, ssl
server = http.server.HTTPServer(("0.0.0.0", 8702), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/var/tmp/stolen.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


def test_a_stolen_node_certificate_cannot_play_the_hub(site: Operator) -> None:
    own = site.node.file("/etc/leerlab/tls")
    site.hub.file("/var/tmp/stolen.pem").write_bytes(
        (own / "certificate.pem").read_bytes() + (own / "key.pem").read_bytes()
    )
    site.hub.file("/var/tmp/fake.py").write_text(FAKE)
    ask = f"curl -s --max-time 8 -o /dev/null -w '%{{http_code}}' --unix-socket {site.state}/run/grading.sock http://localhost/"
    site.hub.run("systemctl stop leerlab-tunnel-grading && systemd-run --unit=fake -q python3 /var/tmp/fake.py")
    try:
        assert site.node.run(ask, check=False).stdout.strip() == "000"
        site.node.run(
            "cp /etc/leerlab/tunnel-grading.conf /var/tmp/kept && "
            "sed -i -e '/^verifyChain/d' -e '/^checkHost/d' -e '/^CAfile/d' "
            "/etc/leerlab/tunnel-grading.conf && systemctl restart leerlab-tunnel-grading.service"
        )
        assert site.node.run(ask).stdout.strip() == "200"
    finally:
        site.node.run("[ ! -e /var/tmp/kept ] || mv /var/tmp/kept /etc/leerlab/tunnel-grading.conf")
        site.node.run("systemctl restart leerlab-tunnel-grading.service")
        site.hub.run("systemctl stop fake; rm -f /var/tmp/stolen.pem; systemctl start leerlab-tunnel-grading")


def test_a_node_cannot_use_squid_to_look_inside(site: Operator) -> None:
    def answers(port: int) -> list[str]:
        # Each squid takes for its own manager what is asked of its own port; anything else it passes on.
        asked = (f"http://{site.hub.address}:{port}/squid-internal-mgr/info", f"http://{site.hub.address}:80/")
        return [
            site.node.run(
                f"curl -s --max-time 8 -o /dev/null -w '%{{http_code}}' -x http://{site.hub.address}:{port} {address}",
                check=False,
            ).stdout.strip()
            for address in asked
        ]

    assert answers(3128) == ["403", "403"]
    site.hub.run(
        "sed -e '/^http_access deny/d' -e 's/:3128/:3129/' -e 's/^http_access allow.*/http_access allow all/' "
        "-e 's#/var/log/squid/access#/var/tmp/access#' /etc/squid/squid.conf > /var/tmp/open-squid.conf && "
        "echo 'pid_filename /var/tmp/open-squid.pid' >> /var/tmp/open-squid.conf && "
        "nft add rule inet leerlab input tcp dport 3129 accept && "
        "systemd-run --unit=open-squid -q squid -N -f /var/tmp/open-squid.conf"
    )
    site.node.run("nft insert rule inet leerlab output tcp dport 3129 accept")
    try:
        site.hub.run("for i in $(seq 50); do ss -ltn | grep -q :3129 && break; sleep 0.2; done")
        # The manager answers; and squid tells that it was at the site's own front, which says nothing to strangers.
        assert answers(3129) == ["200", "502"]
    finally:
        site.hub.run("systemctl stop open-squid; systemctl restart nftables")
        site.node.run("systemctl restart nftables")


class Looker(threading.Thread):
    """Reads every command line on this machine, machines of the test included, as fast as it can."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[str] = set()
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.02):
            for process in psutil.process_iter():
                try:
                    self.seen.add("\0".join(process.cmdline()))
                except psutil.Error:
                    continue


def secrets_of(site: Operator) -> dict[str, list[str]]:
    """Each secret, as it is and as it would look in a log."""
    raw = {
        "munge": site.controller.file("/etc/munge/munge.key").read_bytes(),
        "backup": (site.folder / "backup-password").read_bytes().strip(),
        "provider": CLIENT_SECRET.encode(),
    }
    return {
        name: [value.decode("latin-1"), base64.b64encode(value).decode().rstrip("=")[:-2]]
        for name, value in raw.items()
    }


def found_in(text: str, secrets: dict[str, list[str]]) -> set[str]:
    return {name for name, looks in secrets.items() if any(look in text for look in looks)}


def test_no_secret_shows_in_a_command_line_a_log_or_what_the_playbook_prints(site: Operator, tmp_path: Path) -> None:
    secrets = secrets_of(site)
    wipe = "rm -f /etc/leerlab/backup-password /etc/leerlab/surf-secret"
    looker = Looker()
    looker.start()
    try:
        # Everything that carries a secret is done anew, and told in full.
        site.hub.run(wipe)
        site.node.run("head -c 128 /dev/urandom > /etc/munge/munge.key")
        played = site.play("site.yml", "-vvv", "--diff")
    finally:
        looker.done.set()
        looker.join()
    assert found_in(played.output, secrets) == set()
    assert found_in("\n".join(looker.seen), secrets) == set()
    for machine in site.machines.values():
        journal = machine.run("journalctl --no-pager -o export | head -c 200000000", timeout=120).stdout
        assert found_in(journal, secrets) == set()
    # The same run of the same playbook, with no_log taken out.
    open_tree = tmp_path / "open"
    subprocess.run(["cp", "-a", str(CODE / "."), str(open_tree)], check=True, timeout=120)
    for file in (open_tree / "ansible").rglob("*.yml"):
        file.write_text("".join(line for line in file.read_text().splitlines(True) if "no_log:" not in line))
    site.hub.run(wipe)
    site.node.run("head -c 128 /dev/urandom > /etc/munge/munge.key")
    site.tree = open_tree
    try:
        assert "munge" in found_in(site.play("site.yml", "-vvv", "--diff").output, secrets)
    finally:
        site.tree = CODE
