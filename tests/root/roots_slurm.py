"""A Slurm whose jobs run as whoever submits them, with munge, MariaDB and slurmdbd, on this one machine."""

from __future__ import annotations

import json
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

CODE = Path(__file__).resolve().parents[2]
SITE = "leerlab"
DESCRIPTION = {
    "kind": "embedded",
    "accounting": True,
    "nodes": [{"name": "n1", "cpus": 8, "memory": "8G"}],
    "partitions": [{"name": "cpu", "nodes": ["n1"], "time": "1h", "default": True}],
}
# What root's slurmd can do in place of what an ordinary account's does (slurm.conf(5), cgroup.conf(5)).
OF_CGROUPS = {
    "ProctrackType=proctrack/linuxproc": "ProctrackType=proctrack/cgroup",
    "TaskPlugin=task/none": "TaskPlugin=task/cgroup",
    "JobAcctGatherType=jobacct_gather/linux": "JobAcctGatherType=jobacct_gather/cgroup",
    "JobAcctGatherParams=OverMemoryKill\n": "",
}
# Writes the Slurm of a site as its account would, and prints its daemons.
WRITE = """
import json, sys
from pathlib import Path
from base.paths import State
from base.ports import free_ports
from cluster.embedded import ports_needed, prepare
from cluster.settings import EmbeddedCluster
settings, state = EmbeddedCluster.model_validate_json(sys.argv[1]), State(Path(sys.argv[2]))
state.make()
daemons = prepare(settings, state, free_ports(ports_needed(settings)))
print(json.dumps([[one.name, one.argv, dict(one.environment)] for one in daemons]))
"""


@dataclass(frozen=True)
class Cluster:
    """A Slurm whose jobs run as whoever submits them."""

    conf: Path

    def run(self, account: str, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env={"SLURM_CONF": str(self.conf), "PATH": "/usr/bin:/bin"}, cwd="/", user=account, group=None,
            extra_groups=[], capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip


def until(seen: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 90
    while not seen():
        assert time.monotonic() < end, what
        time.sleep(0.2)


@contextmanager
def roots_slurm(address: str = "127.0.0.1", *, cgroups: bool = False) -> Iterator[Cluster]:
    """The site's account keeps Slurm; slurmd is root's, so that another account's job can run.

    Args:
        address: of the node.
        cgroups: whether jobs are held in control groups, as on a cluster, which only root can set up.
    """
    root = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    account = pwd.getpwnam(SITE)
    shutil.chown(root, SITE, SITE)
    root.chmod(0o755)
    # The clone may lie where that account cannot read.
    code = root / "code"
    for name in ("base", "cluster"):
        shutil.copytree(CODE / name, code / name)
    as_site = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    written = subprocess.run(
        [sys.executable, "-c", WRITE, json.dumps(DESCRIPTION), str(root / "s")], check=True, capture_output=True,
        text=True, cwd="/", env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(code), "HOME": str(root)}, **as_site,
    )  # fmt: skip
    state = root / "s"
    conf = state / "generated/slurm.conf"
    text = conf.read_text().replace(f"SlurmdUser={SITE}", "SlurmdUser=root")
    if address != "127.0.0.1":
        text = text.replace("NodeAddr=127.0.0.1", f"NodeAddr={address}").replace("NoInAddrAny,", "")
    if cgroups:
        for plain, grouped in OF_CGROUPS.items():
            assert plain in text
            text = text.replace(plain, grouped)
        (conf.parent / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nConstrainRAMSpace=yes\nConstrainCores=yes\n")
    conf.write_text(text)
    for folder in (state, state / "generated", state / "run", state / "slurm"):
        folder.chmod(0o755)
    conf.chmod(0o644)
    running = []
    try:
        for name, argv, environment in json.loads(written.stdout):
            owned = as_site
            if name.startswith("slurmd-"):
                node, owned = name.removeprefix("slurmd-"), {}
                slurmd = f"hostname localhost && exec /usr/sbin/slurmd -D -f {conf} -N {node}"
                argv = ["/usr/bin/unshare", "--uts", "/bin/sh", "-c", slurmd]  # noqa: PLW2901
            with (root / f"{name}.log").open("ab") as log:
                running.append(
                    subprocess.Popen(
                        argv, env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, **owned
                    )
                )
            if name == "munged":
                until((state / "run/munge.sock").exists, "munge")
        made = Cluster(conf)
        until(lambda: "idle" in made.run(SITE, "sinfo", "-h").stdout, "Slurm")
        yield made
        made.run(SITE, "scancel", "--state=PENDING")
        made.run(SITE, "scancel", "--state=RUNNING")
        until(lambda: not made.run(SITE, "squeue", "-h").stdout, "no job")
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
        shutil.rmtree(root, ignore_errors=True)
