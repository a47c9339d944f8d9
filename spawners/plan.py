"""What one start puts into its job: the profile's resources and the wall with everything in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from cluster.unix_accounts import UnixAccount
from confinement.wall import Wall
from ledger.use import Purpose
from spawners.settings import Profile


@dataclass(frozen=True)
class ServerPlan:
    """One server before it has an address and a token.

    Args:
        profile: partition, cores, memory, time and GPUs of the job.
        wall: command, home, binds, relays, environment and the port inside (`publish`) of the server. The spawner adds
            the variables that JupyterHub gives to its servers (`JUPYTERHUB_*`) to the environment, nothing else.
        api_port: port on loopback inside on which a relay leads to the hub's API.
        account: what the job is charged to, of `cluster.accounting`; None where there is no accounting.
        purpose: for whom and for what the server is; None: the person's own work.
        before: awaited before the job is submitted, such as to have its account; raises what submitting raises.
        runs_as: tells the unix account as which the job runs, which then has its own home (`spawners.launcher`) in the
            place of the wall's; None: the site's own account. Raises LeerlabError: the person has none.
        home_size: bytes that the home may take before the server is ended; None: nobody looks.
    """

    profile: Profile
    wall: Wall
    api_port: int = 8081
    account: str | None = None
    purpose: Purpose | None = None
    before: Callable[[], Awaitable[None]] | None = field(default=None, compare=False)
    runs_as: Callable[[], Awaitable[UnixAccount]] | None = field(default=None, compare=False)
    home_size: int | None = None
