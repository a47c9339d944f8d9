"""The embedded Slurm is private to its machine and account, and works where the machine's name does not resolve."""

from __future__ import annotations

import asyncio
import stat
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from cluster import embedded
from cluster.jobs import JobState
from cluster.settings import EmbeddedCluster

pytestmark = pytest.mark.integration

NAMELESS = "naamloos"


def listening(process: psutil.Process) -> set[str]:
    return {
        connection.laddr.ip for connection in process.connections("inet") if connection.status == psutil.CONN_LISTEN
    }


@pytest.mark.attack
def test_nobody_outside_this_machine_can_reach_its_daemons(cluster):
    addresses = {name: listening(psutil.Process(process.pid)) for name, process in cluster.processes.items()}
    assert addresses == {"munged": set(), **{name: {"127.0.0.1"} for name in addresses if name != "munged"}}


@pytest.mark.attack
@pytest.mark.parametrize("name", ["slurmctld", "slurmd-cpu01"])
def test_that_is_because_of_one_line_in_its_configuration(cluster, start_slurm, name):
    """The control: without that line the same daemon listens everywhere; in a network namespace of its own."""

    def everywhere(state):
        conf = embedded.slurm_conf(state)
        lines = conf.read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith("CommunicationParameters=")]
        assert len(kept) == len(lines) - 1
        conf.write_text("".join(kept))

    # Slurm needs one address besides loopback to listen at all; this one is for documentation (RFC 5737).
    wrapper = (
        *("/usr/bin/unshare", "--user", "--map-current-user", "--net", "--keep-caps", "--", "/bin/sh", "-c"),
        'ip link set lo up && ip address add 192.0.2.1/24 dev lo && exec setpriv --ambient-caps=-all -- "$@"',
        "sh",
    )
    with start_slurm(wrapper=wrapper, change=everywhere, only=("munged", name)) as running:
        deadline = time.monotonic() + 20
        seen: set[str] = set()
        while not seen and time.monotonic() < deadline:
            process = Path(f"/proc/{running.processes[name].pid}")
            if (process / "ns/net").readlink() != Path("/proc/self/ns/net").readlink():
                rows = [row.split() for row in (process / "net/tcp").read_text().splitlines()[1:]]
                seen = {row[1].partition(":")[0] for row in rows if row[3] == "0A"}
            time.sleep(0.05)
        assert seen == {"00000000"}


def test_its_files_are_its_accounts_own(cluster):
    state = cluster.state
    assert stat.S_IMODE(embedded.munge_key(state).stat().st_mode) == 0o400
    assert embedded.munge_key(state).stat().st_size == 128
    for folder in (state.root, state.run, state.secrets, state.slurm, state.generated, state.slurm / "controller"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("slurm.conf", "gres.conf", "cgroup.conf"):
        assert stat.S_IMODE((state.generated / name).stat().st_mode) == 0o600


def test_no_secret_is_in_the_daemons_arguments_or_environment(cluster):
    key = embedded.munge_key(cluster.state).read_bytes()
    for daemon in cluster.daemons.values():
        words = [*daemon.argv, *daemon.environment.values()]
        assert all(key not in word.encode() and key.hex() not in word for word in words)


async def test_it_works_where_the_machines_name_does_not_resolve(start_slurm, request_for, tmp_path):
    wrapper = (
        "/usr/bin/bwrap", "--dev-bind", "/", "/", "--ro-bind", "/dev/null", "/etc/resolv.conf", "--unshare-user",
        "--unshare-uts", "--hostname", NAMELESS, "--die-with-parent",
    )  # fmt: skip
    look_up = [*wrapper, "/usr/bin/getent", "hosts", NAMELESS]
    looked_up = await asyncio.to_thread(subprocess.run, look_up, capture_output=True, timeout=20, check=False)
    assert looked_up.returncode == 2, "the name resolves, so this test would show nothing"

    def run() -> str:
        with start_slurm(wrapper=wrapper) as running:
            job_id = asyncio.run(running.slurm.submit(request_for("/bin/hostname")))
            assert asyncio.run(running.ended(job_id)).state is JobState.COMPLETED
            assert asyncio.run(running.slurm.address("cpu01")) == "127.0.0.1"
        return (tmp_path / "log").read_text()

    assert await asyncio.to_thread(run) == "localhost\n"


def test_it_starts_cold_within_seconds(start_slurm):
    settings = EmbeddedCluster.model_validate(
        {
            "kind": "embedded",
            "nodes": [{"name": f"n{number}", "cpus": 2, "memory": "1G"} for number in range(3)],
            "partitions": [{"name": "all-of-it", "nodes": ["n0", "n1", "n2"], "time": "5m", "default": True}],
        }
    )
    begin = time.monotonic()
    with start_slurm(settings) as running:
        took = time.monotonic() - begin
        assert {node.name for node in asyncio.run(running.slurm.nodes())} == {"n0", "n1", "n2"}
    assert took < 15
