"""What nftables, as the playbook writes it, lets a compute node reach; in network namespaces of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

CODE = Path(__file__).resolve().parents[2]
sys.path.append(str(CODE / "tests/machines"))

from machine import OPERATOR, PREFIX, Network, quiet  # noqa: E402  needs the path above

pytestmark = [pytest.mark.root, pytest.mark.attack, pytest.mark.slow, pytest.mark.timeout(200)]
HUB, CONTROLLER, NODE, OTHER = (f"{PREFIX}.{number}" for number in (10, 11, 12, 13))
MACHINES = {"hub1": HUB, "control1": CONTROLLER, "node1": NODE, "node2": OTHER}
# What really listens on each machine, and what might by mistake.
LISTENING = {
    "hub1": (22, 80, 443, 3128, 5432, 8000, 8701, 8702),
    "control1": (22, 3306, 6817, 6819),
    "node1": (22, 6818, 40000),
    "node2": (22, 6818, 40000),
}
LISTEN = """
import socket, sys, time
kept = [socket.create_server(("0.0.0.0", int(port))) for port in sys.argv[1:]]
print("listening", flush=True)
time.sleep(3600)
"""
REACH = """
import os, socket, sys
from concurrent.futures import ThreadPoolExecutor
os.setuid(int(sys.argv[1]))
def reach(place):
    host, _, port = place.rpartition(":")
    with socket.socket() as probe:
        probe.settimeout(1.5)
        try:
            probe.connect((host, int(port)))
            return place
        except OSError:
            return ""
with ThreadPoolExecutor(32) as pool:
    print(*pool.map(reach, sys.argv[2:]), sep="\\n")
"""
ROOT, TUNNEL, LEERLAB = 0, 65534, 880
EVERYTHING = {f"{MACHINES[name]}:{port}" for name, ports in LISTENING.items() for port in ports}


class Site:
    """Four machines' networks, each with listeners and with the rules that the playbook writes for it."""

    def __init__(self, folder: Path) -> None:
        self.network = Network(folder.name[-4:], folder)
        self.folder = folder
        self.listeners: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        self.network.make()
        for name, address in MACHINES.items():
            self.network.join(name, address)
            words = ["ip", "netns", "exec", self.network.namespace(name), sys.executable, "-c", LISTEN]
            listener = subprocess.Popen(
                [*words, *map(str, LISTENING[name])], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
            )
            self.listeners.append(listener)
            assert listener.stdout is not None and listener.stdout.readline() == "listening\n"
        self._write()
        for name in MACHINES:
            self.guard(name)

    def _write(self) -> None:
        """The rules, by Ansible itself from the playbooks' own variables."""
        host = {name: {"leerlab_address": address} for name, address in MACHINES.items()}
        inventory = {
            "all": {"vars": {"leerlab_operators": [OPERATOR]}},
            "hub": {"hosts": {"hub1": host["hub1"]}},
            "controller": {"hosts": {"control1": host["control1"]}},
            "nodes": {"hosts": {name: host[name] for name in ("node1", "node2")}},
        }
        (self.folder / "inventory.yml").write_text(yaml.safe_dump(inventory))
        environment = {
            "PATH": "/usr/bin:/bin", "HOME": str(self.folder), "LANG": "C.UTF-8",
            "ANSIBLE_CONFIG": str(CODE / "ansible/ansible.cfg"),
        }  # fmt: skip
        template = CODE / "ansible/roles/firewall/templates/nftables.conf.j2"
        done = subprocess.run(
            [
                f"{os.environ['LEERLAB_ANSIBLE_ENV']}/bin/ansible", "all", "-i", str(self.folder / "inventory.yml"),
                "-c", "local", "--playbook-dir", str(CODE / "ansible"), "-m", "ansible.builtin.template",
                "-a", f"src={template} dest={self.folder}/{{{{ inventory_hostname }}}}.nft",
            ],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        for file in self.folder.glob("*.nft"):
            # This machine has no account of that name.
            file.write_text(file.read_text().replace('"leerlab-tunnel"', str(TUNNEL)))

    def guard(self, name: str) -> None:
        quiet("ip", "netns", "exec", self.network.namespace(name), "nft", "-f", self.folder / f"{name}.nft")

    def lay_open(self, name: str) -> None:
        """Take the rules of one machine away."""
        quiet("ip", "netns", "exec", self.network.namespace(name), "nft", "delete", "table", "inet", "leerlab")

    def reached(self, name: str, account: int) -> set[str]:
        """Which listeners a program of this account on the machine gets a connection to; its own left out."""
        others = sorted(place for place in EVERYTHING if not place.startswith(f"{MACHINES[name]}:"))
        words = [
            "ip",
            "netns",
            "exec",
            self.network.namespace(name),
            sys.executable,
            "-c",
            REACH,
            str(account),
            *others,
        ]
        return set(quiet(*words).stdout.split())

    def stop(self) -> None:
        for listener in self.listeners:
            listener.kill()
            listener.communicate(timeout=10)
        time.sleep(0.1)
        self.network.remove()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("fw00"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_a_job_on_a_node_reaches_slurmctld_and_nothing_else(site: Site) -> None:
    assert site.reached("node1", LEERLAB) == {f"{CONTROLLER}:6817"}
    # Only root's and the tunnels' account get further, each to its own place.
    assert site.reached("node1", TUNNEL) == {f"{CONTROLLER}:6817", f"{HUB}:8701", f"{HUB}:8702"}
    assert site.reached("node1", ROOT) == {f"{CONTROLLER}:6817", f"{HUB}:3128"}


def test_whoever_is_root_on_a_node_still_meets_the_others_rules(site: Site) -> None:
    site.lay_open("node1")
    try:
        opened = site.reached("node1", ROOT)
        open_to_nodes = {f"{HUB}:{port}" for port in (80, 443, 3128, 8701, 8702)} | {f"{CONTROLLER}:6817"}
        assert opened == open_to_nodes
        # The positive control: with no rules anywhere all of it is in reach.
        for name in ("hub1", "control1", "node2"):
            site.lay_open(name)
        assert site.reached("node1", ROOT) == {place for place in EVERYTHING if not place.startswith(NODE)}
    finally:
        for name in MACHINES:
            site.guard(name)


def test_the_controller_reaches_slurmd_and_the_hub_reaches_labs(site: Site) -> None:
    """What must work, works; and no more of it."""
    assert site.reached("control1", ROOT) == {f"{NODE}:6818", f"{OTHER}:6818", f"{HUB}:80", f"{HUB}:443"}
    assert site.reached("hub1", LEERLAB) == {
        f"{NODE}:40000", f"{OTHER}:40000", f"{CONTROLLER}:6817", f"{CONTROLLER}:6819",
    }  # fmt: skip


def test_operators_alone_come_by_ssh(site: Site) -> None:
    words = ["ip", "netns", "exec", site.network.operator, sys.executable, "-c", REACH, "0", *sorted(EVERYTHING)]
    from_there = set(quiet(*words).stdout.split())
    assert {place for place in from_there if place.endswith(":22")} == {f"{one}:22" for one in MACHINES.values()}
    assert from_there - {f"{one}:22" for one in MACHINES.values()} == {f"{HUB}:80", f"{HUB}:443"}
