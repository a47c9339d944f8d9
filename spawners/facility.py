"""What every spawner of a hub shares: the cluster, the plans, the state folder and the language; made by hub_config."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

from base.messages import Message
from base.paths import State
from cluster.commands import Slurm
from cluster.watcher import Watcher
from spawners.certificates import Certificates
from spawners.launching import Launcher, cancel
from spawners.plan import ServerPlan
from spawners.settings import Profile


class Person(Protocol):
    """What a plan may depend on of JupyterHub's user."""

    @property
    def name(self) -> str: ...
    @property
    def groups(self) -> Any: ...


PlanFor = Callable[[Person, Mapping[str, object]], ServerPlan]
"""From a person and the options of their request to a plan; raises `spawners.failures.StartRefused`."""

ProfilesFor = Callable[[Person], Sequence[Profile]]
"""From a person to the profiles that they may choose between; none for whom nothing is to choose."""


@dataclass(frozen=True)
class Facility:
    """One hub's surroundings.

    Args:
        hub: id of this hub, 12 hexadecimal digits: half of the comment of each of its jobs.
        plan_for: what to start for a person.
        slurm: the cluster's commands.
        watcher: the one watcher of this hub's process.
        state: the site's state folder; jobs log to `jobs/<start id>` below it.
        report_to: the hub's inner API as jobs reach it: `unix:/path` or `tcp:host:port`.
        wrapper: argument list of the job's wrapper.
        say: a message in the site's language, for JupyterHub's own pages.
        publish_on: IP address on which jobs offer their servers, or the network in which their node has one.
        reserved_ports: ports on the hub's machine that no server can have.
        ready_seconds: longest time from the job's start until its server answers.
        log_limit: most bytes of a server's output that are kept.
        profiles_for: what a person may choose.
        named_servers: how many servers with a name a person may have.
        part_of_gpu: how many GPUs a profile has, parts of one too.
        launcher: starts and ends jobs of people's own unix accounts; None on a site with one account.
        certificates: certificates of servers, where they are on a network; None: they are on the hub's machine.
    """

    hub: str
    plan_for: PlanFor
    slurm: Slurm
    watcher: Watcher
    state: State
    report_to: str
    wrapper: tuple[str, ...]
    say: Callable[[Message], str]
    publish_on: str = "127.0.0.1"
    reserved_ports: frozenset[int] = frozenset()
    ready_seconds: float = 120.0
    log_limit: int = 4 * 2**20
    profiles_for: ProfilesFor = lambda _person: ()
    named_servers: Callable[[Person], int] = lambda _person: 0
    part_of_gpu: Callable[[Profile], Fraction] = lambda profile: Fraction(profile.gpus)
    launcher: Launcher | None = None
    certificates: Certificates | None = None

    async def cancel(self, jobs: Iterable[tuple[int, int | None]]) -> None:
        """Have jobs end, each as the account that it runs as.

        Args:
            jobs: the job's number, and that of its unix account; None: the site's own.

        Raises:
            SlurmUnavailable, SlurmRefused: as `Slurm.cancel`; jobs of other accounts may have been cancelled.
        """
        await cancel(self.slurm, self.launcher, jobs)
