"""The embedded Slurm: a whole Slurm on one machine, run by one ordinary account, configured from site.yaml.

What it is: munged with a key of its own, slurmctld, and one slurmd for each node that the machine plays, each in the
foreground for a supervisor and on 127.0.0.1 only; with `accounting: true` also slurmdbd and its database
(`cluster.accounting_daemons`). What it is not: separation between people (that is the wall).

Sources: slurm.conf(5), gres.conf(5), cgroup.conf(5) of Slurm 22.05, munged(8) of MUNGE 0.5.15.
"""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from base.daemons import Daemon
from base.errors import InputError, LeerlabError
from base.paths import State
from cluster import accounting_daemons
from cluster.settings import EmbeddedCluster, Node

MUNGED = Path("/usr/sbin/munged")
SLURMCTLD = Path("/usr/sbin/slurmctld")
SLURMD = Path("/usr/sbin/slurmd")

# The name that the daemons take this machine to have. With NoInAddrAny they listen on whatever address the machine's
# own name resolves to, and fail where it resolves to none; so they run in a UTS namespace where it is this name. A
# machine may then also be renamed, as laptops are, while they run.
_HOST = "localhost"
_AS_LOCALHOST = (
    *("/usr/bin/unshare", "--user", "--map-current-user", "--uts", "--keep-caps", "--", "/bin/sh", "-c"),
    f'hostname {_HOST} && exec setpriv --inh-caps=-all --ambient-caps=-all -- "$@"',
    "sh",
)

NO_ACCOUNTING = "AccountingStorageType=accounting_storage/none"
# Seconds between SIGTERM and SIGKILL: what a notebook server gets to save and close its kernels.
KILL_WAIT = 5
# Seconds that Slurm remembers an ended job, so that its end state can be asked.
MIN_JOB_AGE = 300
# Seconds between two looks at the memory of a job's processes.
MEMORY_CHECK = 2

# Character devices that play GPUs where there are none. Slurm only looks at their numbers and never opens them, but
# without a character device it sets no CUDA_VISIBLE_DEVICES. These exist on every Linux, containers included (the OCI
# runtime specification lists them), and need no rights.
DEMONSTRATION_DEVICES = tuple(
    Path("/dev") / name for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx")
)
_NVIDIA = re.compile(r"^nvidia([0-9]+)$")

# sockaddr_un.sun_path, unix(7), less its final NUL; slurmstepd listens on <spool>/<node>_<job>.<step>.
_LONGEST_SOCKET = 107
_LONGEST_STEP = "_99999999.4294967291"


@dataclass(frozen=True)
class GpuDevices:
    """The device files behind each node's GPUs.

    Args:
        of_node: node name to its device files, in the order of CUDA_VISIBLE_DEVICES.
        real: whether they are GPUs; false where other character devices play them.
    """

    of_node: dict[str, tuple[Path, ...]]
    real: bool


def gpu_devices(nodes: Sequence[Node], *, demonstration: bool = False, folder: Path = Path("/dev")) -> GpuDevices:
    """Choose the device files of each node's GPUs: this machine's own, else stand-ins.

    Args:
        nodes: the nodes that the machine plays; real GPUs go to them in order, each to one node only.
        demonstration: whether, when there are too few real GPUs, each node gets those there are, at most as many as it
            asks for, and so shares them with the others.
        folder: where device files are.

    Raises:
        InputError: the machine has GPUs, but fewer than the nodes say; or there are not enough stand-ins.
    """
    found = (_NVIDIA.match(path.name) for path in folder.iterdir())
    real = [folder / match[0] for match in sorted((m for m in found if m), key=lambda match: int(match[1]))]
    real = [path for path in real if stat.S_ISCHR(path.stat().st_mode)]
    wanted = sum(node.gpus for node in nodes)
    if real and len(real) < wanted:
        if demonstration:
            return GpuDevices({node.name: tuple(real[: node.gpus]) for node in nodes}, real=True)
        raise InputError(
            f"The nodes in cluster.nodes have {wanted} GPUs together, and this machine has {len(real)}.",
            "Two jobs would be given the same GPU as if each had it alone.",
            f"Lower gpus in cluster.nodes to {len(real)} together; shards let jobs share a GPU. For trying things out, "
            "cluster.demonstration lets the nodes share them all the same.",
        )
    if real:
        left = iter(real)
        return GpuDevices({node.name: tuple(next(left) for _ in range(node.gpus)) for node in nodes}, real=True)
    stand_ins = [path for path in DEMONSTRATION_DEVICES if path.exists() and stat.S_ISCHR(path.stat().st_mode)]
    most = max((node.gpus for node in nodes), default=0)
    if most > len(stand_ins):
        raise InputError(
            f"A node in cluster.nodes has {most} GPUs, and this machine has none.",
            f"Leerlab can play at most {len(stand_ins)} GPUs a node where there are none.",
            f"Lower gpus in cluster.nodes to {len(stand_ins)} or less.",
        )
    return GpuDevices({node.name: tuple(stand_ins[: node.gpus]) for node in nodes}, real=False)


def prepare(settings: EmbeddedCluster, state: State, ports: Sequence[int]) -> tuple[Daemon, ...]:
    """Write the embedded Slurm's files and say which daemons make it run.

    Slurm's own state stays from one start to the next, so that jobs are found again.

    Args:
        settings: the site's cluster.
        state: the site's state folder; files go below `generated`, `secrets`, `slurm` and `run`.
        ports: free loopback ports, as many as `ports_needed`: slurmctld's, one for each node in order, slurmdbd's.

    Returns:
        The daemons in starting order.

    Raises:
        LeerlabError: started as root, by an account without a name, or below a path too long for unix sockets.
        InputError: the machine cannot play the GPUs that the nodes have.
        LeerlabError: the database of accounting cannot be made.
    """
    if len(ports) != ports_needed(settings):
        raise ValueError(f"{ports_needed(settings)} ports are needed, {len(ports)} were given")
    account = account_name()
    _check_socket_paths(settings, state)
    state.make()
    for folder in (state.slurm / "controller", *(state.slurm / node.name for node in settings.nodes)):
        folder.mkdir(mode=0o700, exist_ok=True)
    _write_key(munge_key(state))
    devices = gpu_devices(settings.nodes, demonstration=settings.demonstration)
    _write(slurm_conf(state), _slurm_conf_text(settings, state, ports, account, devices))
    _write(state.generated / "gres.conf", _gres_conf_text(settings.nodes, devices))
    # No plugin that we configure uses cgroups: an ordinary account may not write them.
    _write(state.generated / "cgroup.conf", "CgroupPlugin=autodetect\n")
    if settings.accounting:
        accounting_daemons.write_files(state, account, ports[-1])
    return _daemons(settings, state, ports)


def ports_needed(settings: EmbeddedCluster) -> int:
    """How many loopback ports `prepare` takes."""
    return 1 + len(settings.nodes) + settings.accounting


def forget_jobs(state: State) -> None:
    """Make slurmctld, which does not run, know no jobs any more; what accounts have used stays known.

    Its other files stay: `assoc_usage` holds how much of each budget is gone, `dbd.messages` what slurmdbd has not been
    told yet.
    """
    for path in (state.slurm / "controller").glob("job_state*"):
        path.unlink()
    for path in (state.slurm / "controller").glob("hash.*"):
        shutil.rmtree(path)


def slurm_conf(state: State) -> Path:
    """Where the embedded Slurm's slurm.conf is."""
    return state.generated / "slurm.conf"


def munge_key(state: State) -> Path:
    """Where the embedded Slurm's munge key is: whoever reads it can be anybody to this Slurm."""
    return state.secrets / "munge.key"


def munge_socket(state: State) -> Path:
    """Where the embedded Slurm's munged listens."""
    return state.run / "munge.sock"


def account_name() -> str:
    """The name of the account that runs Slurm, and as which every job runs.

    Raises:
        LeerlabError: it is root, or has no name.
    """
    if os.geteuid() == 0:
        raise LeerlabError(
            "The embedded Slurm was asked to run as root.",
            "Every job would be root on this machine.",
            "Start it as an ordinary account.",
        )
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise LeerlabError(
            f"The account with number {os.geteuid()} has no name.",
            "Slurm knows accounts by name.",
            "Add it to /etc/passwd (useradd), or start Leerlab as another account.",
        ) from None


def _check_socket_paths(settings: EmbeddedCluster, state: State) -> None:
    name = max((node.name for node in settings.nodes), key=len)
    longest = len(os.fsencode(state.slurm / name / f"{name}{_LONGEST_STEP}"))
    if longest > _LONGEST_SOCKET:
        raise LeerlabError(
            f"The name of node {name} is too long below the state folder {state.root}.",
            f"Slurm's sockets would need a path of {longest} bytes, and {_LONGEST_SOCKET} is the most.",
            f"Shorten the name by {-(-(longest - _LONGEST_SOCKET) // 2)}, or set XDG_STATE_HOME to a shorter folder.",
        )


def _slurm_conf_text(
    settings: EmbeddedCluster, state: State, ports: Sequence[int], account: str, devices: GpuDevices
) -> str:
    lines = [
        "# Written from site.yaml at every start; changes here are lost.",
        "ClusterName=leerlab",
        f"SlurmctldHost={_HOST}(127.0.0.1)",
        f"SlurmctldPort={ports[0]}",
        f"SlurmUser={account}",
        f"SlurmdUser={account}",
        "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny",
        "AuthType=auth/munge",
        "CredType=cred/munge",
        f"AuthInfo=socket={munge_socket(state)}",
        f"StateSaveLocation={state.slurm / 'controller'}",
        f"SlurmdSpoolDir={state.slurm}/%n",
        f"SlurmctldPidFile={state.run / 'slurmctld.pid'}",
        f"SlurmdPidFile={state.run}/slurmd-%n.pid",
        "SlurmctldDebug=info",
        "SlurmdDebug=info",
        "SlurmctldSyslogDebug=quiet",
        "SlurmdSyslogDebug=quiet",
        "MailProg=/bin/true",
        "MpiDefault=none",
        "SwitchType=switch/none",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        # Without cgroups slurmstepd itself adds up the job's memory and ends a job that uses more than it asked for.
        # Resident memory, not UsePss: a process can make its smaps unreadable and would then count for nothing.
        "JobAcctGatherType=jobacct_gather/linux",
        f"JobAcctGatherFrequency=task={MEMORY_CHECK}",
        "JobAcctGatherParams=OverMemoryKill",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core_Memory",
        "SchedulerType=sched/backfill",
        "SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=5",
        # A request that can never run is refused at once instead of waiting for ever.
        "EnforcePartLimits=ALL",
        "SlurmdParameters=config_overrides",
        "PropagateResourceLimits=NONE",
        "ReturnToService=2",
        f"KillWait={KILL_WAIT}",
        f"MinJobAge={MIN_JOB_AGE}",
        "JobRequeue=0",
        *(accounting_daemons.slurm_conf_lines(state, ports[-1]) if settings.accounting else (NO_ACCOUNTING,)),
        "JobCompType=jobcomp/none",
        "GresTypes=gpu,shard",
    ]
    for node, port in zip(settings.nodes, ports[1 : len(settings.nodes) + 1], strict=True):
        gpus = len(devices.of_node[node.name])
        gpu = "gpu" if node.gpu_type is None else f"gpu:{node.gpu_type}"
        gres = [f"{name}:{count}" for name, count in ((gpu, gpus), ("shard", node.shards)) if count]
        lines.append(
            f"NodeName={node.name} NodeHostname={_HOST} NodeAddr=127.0.0.1 Port={port} CPUs={node.cpus} Sockets=1 "
            f"CoresPerSocket={node.cpus} ThreadsPerCore=1 RealMemory={node.memory.mebibytes}"
            + (f" Gres={','.join(gres)}" if gres else "")
        )
    for partition in settings.partitions:
        minutes = -(-partition.time.seconds_total // 60)
        lines.append(
            f"PartitionName={partition.name} Nodes={','.join(partition.nodes)} MaxTime={minutes} "
            f"Default={'YES' if partition.default else 'NO'} State=UP"
            + (
                f" TRESBillingWeights={accounting_daemons.billing(partition, settings.nodes)}"
                if settings.accounting
                else ""
            )
        )
    return "\n".join(lines) + "\n"


def _gres_conf_text(nodes: Sequence[Node], devices: GpuDevices) -> str:
    lines = ["# Written from site.yaml at every start; changes here are lost.", "AutoDetect=off"]
    for node in nodes:
        gpu = "gpu" if node.gpu_type is None else f"gpu Type={node.gpu_type}"
        lines += [f"NodeName={node.name} Name={gpu} File={path}" for path in devices.of_node[node.name]]
        if node.shards:
            lines.append(f"NodeName={node.name} Name=shard Count={node.shards}")
    return "\n".join(lines) + "\n"


def _daemons(settings: EmbeddedCluster, state: State, ports: Sequence[int]) -> tuple[Daemon, ...]:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "SLURM_CONF": str(slurm_conf(state))}
    munged = (
        str(MUNGED),
        "--foreground",
        # Only the check that everybody can reach the socket fails, on purpose: the folder is private.
        "--force",
        *("--key-file", str(munge_key(state)), "--socket", str(munge_socket(state))),
        *("--pid-file", str(state.run / "munged.pid"), "--seed-file", str(state.slurm / "munged.seed")),
        *("--origin", "127.0.0.1", "--num-threads", "2"),
    )
    conf = str(slurm_conf(state))
    slurmctld: tuple[str, ...] = (*_AS_LOCALHOST, str(SLURMCTLD), "-D", "-f", conf)
    accounting: tuple[Daemon, ...] = ()
    if settings.accounting:
        slurmctld = accounting_daemons.after_accounting(slurmctld, state, ports[-1])
        accounting = accounting_daemons.daemons(state, _AS_LOCALHOST)
    return (
        Daemon("munged", munged, environment, priority=100),
        *accounting,
        Daemon("slurmctld", slurmctld, environment, priority=110),
        *(
            Daemon(
                f"slurmd-{node.name}",
                (*_AS_LOCALHOST, str(SLURMD), "-D", "-f", conf, "-N", node.name),
                environment,
                priority=120,
            )
            for node in settings.nodes
        ),
    )


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def _write_key(path: Path) -> None:
    """Make the key once: daemons and tokens of before a restart stay valid. 1,024 bits is munge's own default."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(128))
