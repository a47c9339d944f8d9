"""What a Slurm that exists already must have for a site, looked at one thing after another: for `leerlab doctor`.

Each look says what it saw, or raises what is wrong, what that means and what to do about it. Nothing is changed.

Sources: scontrol(1), sacctmgr(1), slurm.conf(5) of Slurm 22.05.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from base.errors import LeerlabError
from base.quantities import Duration
from cluster import answers
from cluster.command import Commands
from cluster.embedded import account_name
from cluster.errors import SlurmUnavailable
from cluster.gpus import GPU, thousandths_of
from cluster.jobs import ClusterNode
from cluster.settings import ExistingCluster, ExistingPartition

PROGRAMS = ("sbatch", "squeue", "scancel", "scontrol")
ACCOUNTING_PROGRAMS = ("sacct", "sacctmgr")
ENFORCED = ("associations", "limits", "safe")
# Of a large cluster these are named; `sinfo` has the others.
MOST_NAMED = 8
_SETTING = re.compile(r"^(\w+)\s*= (.*?)\s*$", re.MULTILINE)
_PAIR = re.compile(r"(?:^|\s)(\w+)=(\S*)")
_DAYS = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)$")


@dataclass(frozen=True)
class Partition:
    """A partition as Slurm tells it.

    Args:
        name: its name.
        up: whether it takes and starts jobs.
        longest: longest time of a job in seconds; None: no limit.
        weights: what `billing` counts, lower-case names; empty where cores are counted.
    """

    name: str
    up: bool
    longest: int | None
    weights: Mapping[str, float]


class ExistingSlurm:
    """The looks at one existing Slurm.

    Args:
        settings: the section `cluster:` of site.yaml.
    """

    def __init__(self, settings: ExistingCluster) -> None:
        self.settings = settings
        self._commands = Commands(settings.slurm_conf, settings.commands, settings.interval.answer)

    def see_files(self) -> str:
        """slurm.conf can be read, and the commands are there."""
        conf, folder = self.settings.slurm_conf, self.settings.commands
        try:
            conf.open("rb").close()
        except OSError as error:
            raise LeerlabError(
                f"{conf} cannot be read by {_account()}: {error.strerror}.",
                "Nothing can be asked of Slurm: no notebook starts.",
                "Copy the cluster's own slurm.conf there, readable by everybody, or mend cluster.slurm_conf.",
            ) from error
        wanted = (*PROGRAMS, *(ACCOUNTING_PROGRAMS if self.settings.accounting else ()))
        missing = [name for name in wanted if not os.access(folder / name, os.X_OK)]
        if missing:
            raise LeerlabError(
                f"Not in {folder}: {', '.join(missing)}.",
                "Nothing can be asked of Slurm: no notebook starts.",
                "Install Debian's package slurm-client, or mend cluster.commands.",
            )
        return f"{conf} can be read, and {folder} has {', '.join(wanted)}"

    async def see_controller(self) -> str:
        """munge and slurmctld answer."""
        try:
            config = await self._config()
        except SlurmUnavailable as error:
            said = error.what.lower()
            if "munge" in said:
                raise LeerlabError(
                    f"munge does not answer here: {error.what}",
                    "Slurm takes nobody's word without it: no notebook starts.",
                    "Start munge on this machine (systemctl status munge), with the cluster's own munge.key.",
                ) from error
            if "protocol authentication" in said or "credential" in said:
                raise LeerlabError(
                    f"The controller does not take this machine's word: {error.what}",
                    "Nothing can be asked of Slurm: no notebook starts.",
                    "Put the cluster's own munge.key here, and see that the clocks of both machines agree.",
                ) from error
            raise LeerlabError(
                f"The controller does not answer: {error.what}",
                "No notebook starts; those that run go on.",
                f"Does slurmctld run, and can this machine reach it? Ask: SLURM_CONF={self.settings.slurm_conf} "
                "scontrol ping",
            ) from error
        return f"cluster {config.get('ClusterName', '?')} answers, Slurm {config.get('SLURM_VERSION', '?')}"

    async def see_partitions(self, nodes: tuple[ClusterNode, ...]) -> str:
        """Every partition of site.yaml exists, is up, and has what site.yaml says of it.

        Args:
            nodes: of `cluster.commands.Slurm.nodes`.
        """
        found = {one.name: one for one in await self._partitions()}
        for wanted in self.settings.partitions:
            there = found.get(wanted.name)
            if there is None:
                raise LeerlabError(
                    f"Slurm has no partition {wanted.name}.",
                    "Notebooks of its profiles cannot start.",
                    f"Mend cluster.partitions in site.yaml. Slurm has: {', '.join(sorted(found)) or 'none'}.",
                )
            _compare(wanted, there, [node for node in nodes if wanted.name in node.partitions])
        names = ", ".join(wanted.name for wanted in self.settings.partitions)
        return f"{names}: up, and as large as site.yaml says"

    async def see_accounting(self) -> str:
        """Slurm counts, enforces budgets, and lets this account make accounts."""
        config = await self._config()
        if config.get("AccountingStorageType") != "accounting_storage/slurmdbd":
            raise LeerlabError(
                f"This Slurm does not count in slurmdbd: {config.get('AccountingStorageType', 'nothing set')}.",
                "There would be no budgets and no usage.",
                "Set AccountingStorageType=accounting_storage/slurmdbd in slurm.conf, or leave cluster.accounting out.",
            )
        enforced = set(config.get("AccountingStorageEnforce", "").split(","))
        if missing := [name for name in ENFORCED if name not in enforced]:
            raise LeerlabError(
                f"This Slurm does not enforce {', '.join(missing)}.",
                "Jobs of a sandbox would go on after its budget is gone.",
                f"Set AccountingStorageEnforce={','.join(ENFORCED)} in slurm.conf.",
            )
        await self._see_administrator()
        for partition in await self._partitions():
            if any(partition.name == wanted.name for wanted in self.settings.partitions):
                _see_weights(partition, self.settings)
        return f"{account_name()} is an administrator of slurmdbd, and budgets are enforced"

    async def _see_administrator(self) -> None:
        user = account_name()
        try:
            told = await self._commands.ask(
                "sacctmgr", ["--noheader", "--parsable2", "show", "user", f"name={user}", "format=user,admin"]
            )
        except SlurmUnavailable as error:
            raise LeerlabError(
                f"slurmdbd does not answer: {error.what}",
                "Accounts and budgets of sandboxes cannot be made or changed; jobs go on.",
                "See whether slurmdbd runs and this machine can reach it.",
            ) from error
        levels = [line.partition("|")[2] for line in told.splitlines()]
        if "Administrator" not in levels:
            raise LeerlabError(
                f"{user} is no administrator of slurmdbd: {levels[0] if levels else 'it is unknown there'}.",
                "Accounts and budgets of sandboxes cannot be made or changed.",
                f"Let a Slurm administrator run: sacctmgr --immediate add user {user} account=root "
                "adminlevel=Administrator",
            )

    async def _config(self) -> dict[str, str]:
        return dict(_SETTING.findall(await self._commands.ask("scontrol", ["show", "config"])))

    async def _partitions(self) -> tuple[Partition, ...]:
        return parse_partitions(await self._commands.ask("scontrol", ["--oneliner", "show", "partition"]))


def parse_partitions(text: str) -> tuple[Partition, ...]:
    """The partitions in the output of `scontrol --oneliner show partition`.

    Raises:
        SlurmUnavailable: the output does not have this format.
    """
    return tuple(_partition(line) for line in text.splitlines() if line.strip())


def _partition(line: str) -> Partition:
    fields: dict[str, str] = {}
    for name, value in _PAIR.findall(line):
        fields.setdefault(name, value)
    try:
        weights = (part.partition("=") for part in fields.get("TRESBillingWeights", "").split(",") if part)
        return Partition(
            name=fields["PartitionName"],
            up=fields["State"] == "UP",
            longest=_seconds(fields["MaxTime"]),
            weights={name.lower(): float(amount) for name, _, amount in weights},
        )
    except (KeyError, ValueError) as error:
        raise answers.not_understood("scontrol", line) from error


def _seconds(text: str) -> int | None:
    """Slurm's `[[days-]hours:]minutes:seconds`, or UNLIMITED."""
    if text == "UNLIMITED":
        return None
    match = _DAYS.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no time")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _compare(wanted: ExistingPartition, there: Partition, nodes: list[ClusterNode]) -> None:
    waits = "Notebooks of its profiles wait for ever."
    if not there.up:
        raise LeerlabError(
            f"Partition {wanted.name} is not up.", waits, f"scontrol update partitionname={wanted.name} state=up"
        )
    if there.longest is not None and wanted.time.total_seconds() > there.longest:
        raise LeerlabError(
            f"Partition {wanted.name} lets jobs run for {Duration(seconds=there.longest)}, and site.yaml says "
            f"{wanted.time}.",
            "Slurm refuses longer notebooks, or they wait for ever.",
            "Lower `time` of this partition in site.yaml, or raise MaxTime in slurm.conf.",
        )
    if not nodes:
        raise LeerlabError(f"Partition {wanted.name} has no nodes.", waits, "Mend slurm.conf.")
    kinds: tuple[tuple[str, int, Callable[[ClusterNode], int]], ...] = (
        ("cpus", wanted.cpus, lambda node: node.cpus),
        ("memory", int(wanted.memory), lambda node: int(node.memory)),
        ("gpus", wanted.gpus, lambda node: node.gpus),
    )
    for what, amount, has in kinds:
        most = max(has(node) for node in nodes)
        if amount > most:
            shown = f"{most // 2**20}M" if what == "memory" else str(most)
            raise LeerlabError(
                f"No node of partition {wanted.name} has as much as site.yaml says: {what} is at most {shown}.",
                "Slurm refuses a profile that asks for more, or its notebooks wait for ever.",
                f"Lower `{what}` of this partition in site.yaml, and the profiles that use it.",
            )
    if not any(node.usable for node in nodes):
        states = ", ".join(sorted(f"{node.name} is {node.state}" for node in nodes)[:MOST_NAMED])
        raise LeerlabError(
            f"No node of partition {wanted.name} can take work: {states}.", waits, "See sinfo --list-reasons."
        )


def _see_weights(partition: Partition, settings: ExistingCluster) -> None:
    """Budgets are counted in `billing`: thousandths of a GPU (`cluster.accounting_daemons`)."""
    wanted = next(one for one in settings.partitions if one.name == partition.name)
    other = [name for name, weight in partition.weights.items() if weight and not name.startswith("gres/")]
    price = max(map(thousandths_of, wanted.gpu_types or (None,)))
    if (
        partition.weights.get("gres/gpu") != price
        or other
        or (wanted.shards and not partition.weights.get("gres/shard"))
    ):
        shard = f",GRES/shard={GPU} divided by the shards of one GPU" if wanted.shards else ""
        raise LeerlabError(
            f"Partition {partition.name} does not count GPUs as Leerlab does.",
            "Budgets of sandboxes would be used up by other things than GPUs, or not at all.",
            f"Set TRESBillingWeights=GRES/gpu={price}{shard} for it in slurm.conf.",
        )


def _account() -> str:
    try:
        return account_name()
    except LeerlabError:
        return f"account {os.geteuid()}"
