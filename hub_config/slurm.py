"""The site's Slurm and the id by which this hub knows its own jobs."""

from __future__ import annotations

from base.paths import State
from cluster import commands
from cluster.commands import Slurm
from hub_config.run.keys import secret
from hub_config.site import Site


def hub_id(state: State) -> str:
    """Twelve hexadecimal digits, made once per site: the first part of the comment of every job of this hub."""
    return secret(state, "hub-id")[:12]


def slurm_of(site: Site, state: State) -> Slurm:
    """The commands of the site's cluster: its own embedded Slurm, or the one that slurm_conf names."""
    return commands.slurm_of(site.cluster, state)
