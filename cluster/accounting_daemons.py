"""The embedded Slurm's accounting: slurmdbd, and MariaDB behind it, private to the account that runs them.

MariaDB listens on one unix socket in the site's private folder and on no port; it takes the account that runs it by
what the kernel says of the connection (its unix_socket plugin), so there is no password. slurmdbd listens on loopback
and takes Slurm's own munge.

How GPUs are charged: Slurm's `billing` counts thousandths of a GPU. A GPU costs 1,000; a shard costs its part of a GPU
(a node's shards divided by its GPUs), rounded down to a thousandth for the whole job; a MIG slice its part, rounded up;
the cheapest shard or slice of a partition's nodes never makes the dearest cheaper. Cores and memory cost nothing. So
one budget holds for GPUs, slices and shards together.

Sources: slurmdbd.conf(5), slurm.conf(5) (TRESBillingWeights, AccountingStorage*) of Slurm 22.05; mariadb-install-db(1)
and the server's system variables of MariaDB 10.11.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from base.daemons import Daemon
from base.errors import LeerlabError
from base.paths import State
from cluster.gpus import GPU, thousandths_of
from cluster.settings import EmbeddedPartition, Node

MARIADBD = Path("/usr/sbin/mariadbd")
SLURMDBD = Path("/usr/sbin/slurmdbd")
_SYSTEM_TABLES = tuple(
    Path("/usr/share/mysql") / name for name in ("mysql_system_tables.sql", "mysql_system_tables_data.sql")
)
_PYTHON = ("/usr/bin/python3", "-I", "-S", str(Path(__file__).with_name("when_answering.py")))
# How long slurmdbd waits for MariaDB, which may have to recover from a crash; then it tries every 5 s by itself.
_DATABASE_SECONDS = 60
# How long slurmctld waits for slurmdbd: without it, it starts from what it wrote down, or fails if it never did.
_ACCOUNTING_SECONDS = 5
_FIRST_ACCOUNTING_SECONDS = 60
_INSTALL_SECONDS = 120.0

# For some thousands of jobs on a machine that has other things to do with its memory.
_MODEST = (
    "--no-defaults",
    "--skip-name-resolve",
    "--performance-schema=OFF",
    "--innodb-buffer-pool-size=16M",
    "--innodb-log-buffer-size=2M",
    "--innodb-log-file-size=16M",
    "--innodb-data-file-path=ibdata1:4M:autoextend",
    "--innodb-temp-data-file-path=ibtmp1:1M:autoextend",
    "--innodb-autoextend-increment=1",
    # The kernel's io_uring is out of bounds in many containers.
    "--innodb-use-native-aio=0",
    # slurmdbd asks for it: deleting from its tables can take longer than the default of 50 s.
    "--innodb-lock-wait-timeout=900",
    "--key-buffer-size=64K",
    "--aria-pagecache-buffer-size=1M",
    "--aria-log-file-size=8M",
    "--max-connections=20",
    "--table-open-cache=200",
    "--open-files-limit=1024",
)


def database_socket(state: State) -> Path:
    """Where MariaDB listens."""
    return state.run / "mariadb.sock"


def _folder(state: State) -> Path:
    return state.slurm / "accounting"


def _data(state: State) -> Path:
    return _folder(state) / "data"


def write_files(state: State, account: str, port: int) -> None:
    """Write slurmdbd.conf, and make the database where there is none.

    Args:
        state: the site's state folder, made.
        account: the account that runs all.
        port: the loopback port of slurmdbd.

    Raises:
        LeerlabError: there is no room for the database, or MariaDB or slurmdbd is not installed.
    """
    if missing := [str(path) for path in (MARIADBD, SLURMDBD, *_SYSTEM_TABLES) if not path.is_file()]:
        raise LeerlabError(
            f"Missing for cluster.accounting: {', '.join(missing)}.",
            "Without it Slurm cannot record what jobs use, and nothing was started.",
            "Install Debian's packages mariadb-server-core and slurmdbd, or set cluster.accounting to false.",
        )
    path = state.generated / "slurmdbd.conf"
    path.touch(mode=0o600)
    path.write_text(_slurmdbd_conf_text(state, account, port))
    _make_database(state, account)


def _make_database(state: State, account: str) -> None:
    """Make the system tables once; a crash in between leaves nothing that would be taken for a database."""
    folder, data = _folder(state), _data(state)
    new = folder / "new"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "tmp").mkdir(mode=0o700, exist_ok=True)
        if data.exists():
            return
        if new.exists():
            shutil.rmtree(new)
        new.mkdir(mode=0o700)
        _install(new, account)
        new.rename(data)
    except OSError as error:
        raise _no_database(folder, f"{error.strerror or error}") from error


def _install(data: Path, account: str) -> None:
    """What mariadb-install-db does, which Debian's package of the server alone cannot run."""
    name = account.replace("\\", "\\\\").replace("'", "''")
    first = f"CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket='{name}';\n"
    script = first + "".join(path.read_text() for path in _SYSTEM_TABLES)
    log = data.parent / "install.log"
    with log.open("wb") as messages:
        try:
            done = subprocess.run(
                # Nothing of it is worth keeping if the machine fails now.
                [str(MARIADBD), *_MODEST, "--bootstrap", f"--datadir={data}", "--innodb-flush-log-at-trx-commit=0"],
                input=script.encode(),
                stdout=messages,
                stderr=subprocess.STDOUT,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
                timeout=_INSTALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise _no_database(data.parent, f"mariadbd was not done after {_INSTALL_SECONDS:g} s") from error
    if done.returncode:
        errors = [line.partition("] ")[2] or line for line in log.read_text().splitlines() if "ERROR" in line]
        raise _no_database(data.parent, errors[0] if errors else f"mariadbd ended with {done.returncode}")


def _no_database(folder: Path, why: str) -> LeerlabError:
    return LeerlabError(
        f"The database for cluster.accounting cannot be made in {folder}: {why.rstrip('.')}.",
        "Without it Slurm cannot record what jobs use, and nothing was started.",
        "Make room or mend the folder's rights (it needs 150 MB), or set cluster.accounting to false.",
    )


def _slurmdbd_conf_text(state: State, account: str, port: int) -> str:
    return "\n".join(
        (
            "# Written from site.yaml at every start; changes here are lost.",
            "DbdHost=localhost",
            "DbdAddr=127.0.0.1",
            f"DbdPort={port}",
            f"SlurmUser={account}",
            "AuthType=auth/munge",
            f"AuthInfo=socket={state.run / 'munge.sock'}",
            "CommunicationParameters=NoInAddrAny",
            "DebugLevel=info",
            "DebugLevelSyslog=quiet",
            f"PidFile={state.run / 'slurmdbd.pid'}",
            "StorageType=accounting_storage/mysql",
            # `localhost` means a unix socket to MariaDB's library, which takes its path from the environment.
            "StorageHost=localhost",
            "StorageLoc=slurm",
            f"StorageUser={account}",
            "",
        )
    )


def slurm_conf_lines(state: State, port: int) -> tuple[str, ...]:
    """What slurm.conf needs for accounting.

    Args:
        state: the site's state folder.
        port: the loopback port of slurmdbd.
    """
    return (
        "AccountingStorageType=accounting_storage/slurmdbd",
        "AccountingStorageHost=127.0.0.1",
        f"AccountingStoragePort={port}",
        # With auth/munge this is the path of munge's socket, where it is not munge's own.
        f"AccountingStoragePass={state.run / 'munge.sock'}",
        # safe: a job starts only if its whole time still fits in the budget, so none is cut off in the middle.
        "AccountingStorageEnforce=associations,limits,qos,safe",
        "AccountingStorageTRES=gres/gpu,gres/shard",
        # Only this plugin adds up what an account has used. Without decay: a budget is used up once. Without weights
        # for anything but age: first come, first served, as before.
        "PriorityType=priority/multifactor",
        "PriorityDecayHalfLife=0",
        "PriorityUsageResetPeriod=NONE",
        "PriorityCalcPeriod=1",
        "PriorityWeightAge=1000",
        # For the priorities of `cluster.qos`; without any, all are equal.
        "PriorityWeightQOS=1000000",
    )


def billing(partition: EmbeddedPartition, nodes: Sequence[Node]) -> str:
    """The value of TRESBillingWeights of a partition.

    Args:
        partition: the partition.
        nodes: all nodes; the one whose GPUs are divided into the fewest shards sets the price of a shard.
    """
    own = [node for node in nodes if node.name in partition.nodes]
    divided = [node.shards // node.gpus for node in own if node.shards]
    # Where its nodes have whole GPUs and slices, each costs as the dearest: none is cheaper than it is.
    price = max((thousandths_of(node.gpu_type) for node in own if node.gpus), default=GPU)
    # Each partition needs a value: without one Slurm bills cores.
    return f"GRES/gpu={price}" + (f",GRES/shard={GPU / min(divided):.3f}" if divided else "")


def after_accounting(argv: Sequence[str], state: State, port: int) -> tuple[str, ...]:
    """The command of slurmctld, which starts once slurmdbd answers, or some seconds later."""
    known = (state.slurm / "controller" / "assoc_mgr_state").exists()
    seconds = _ACCOUNTING_SECONDS if known else _FIRST_ACCOUNTING_SECONDS
    return (*_PYTHON, str(seconds), f"tcp:127.0.0.1:{port}", *argv)


def daemons(state: State, as_localhost: Sequence[str]) -> tuple[Daemon, ...]:
    """MariaDB and slurmdbd, which start before slurmctld.

    Args:
        state: the site's state folder.
        as_localhost: words before a daemon's command that make this machine's name `localhost`.
    """
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
    socket = database_socket(state)
    mariadbd = (
        str(MARIADBD),
        *_MODEST,
        f"--datadir={_data(state)}",
        f"--tmpdir={_folder(state) / 'tmp'}",
        f"--socket={socket}",
        f"--pid-file={state.run / 'mariadbd.pid'}",
        "--skip-networking",
    )
    slurmdbd = (*_PYTHON, str(_DATABASE_SECONDS), f"unix:{socket}", *as_localhost, str(SLURMDBD), "-D")
    of_slurmdbd = {
        **environment,
        # It looks for slurmdbd.conf beside slurm.conf.
        "SLURM_CONF": os.fspath(state.generated / "slurm.conf"),
        "MYSQL_UNIX_PORT": os.fspath(socket),
    }
    return (
        Daemon("mariadbd", mariadbd, environment, priority=102),
        Daemon("slurmdbd", slurmdbd, of_slurmdbd, priority=104),
    )
