"""The site's Slurm and the id by which this hub knows its own jobs."""

from __future__ import annotations

from pathlib import Path

from base.paths import State
from cluster import commands, embedded
from cluster.command import COMMANDS, Commands
from cluster.commands import Slurm
from cluster.embedded import account_name
from cluster.people import People, per_person_of
from cluster.settings import EmbeddedCluster
from cluster.unix_accounts import uids_of
from hub_config.run.keys import secret
from hub_config.site import Site

HUB_ID = "hub-id"


def hub_id(state: State) -> str:
    """Twelve hexadecimal digits, made once per site: the first part of the comment of every job of this hub."""
    return secret(state, HUB_ID)[:12]


def slurm_conf_of(site: Site, state: State) -> Path:
    """The slurm.conf that Slurm's commands use on this site."""
    if isinstance(site.cluster, EmbeddedCluster):
        return embedded.slurm_conf(state)
    return site.cluster.slurm_conf


def commands_of(site: Site) -> Path:
    """The folder that holds Slurm's commands on this site."""
    return COMMANDS if isinstance(site.cluster, EmbeddedCluster) else site.cluster.commands


def slurm_of(site: Site, state: State) -> Slurm:
    """The commands of the site's cluster: its own embedded Slurm, or the one that slurm_conf names."""
    return commands.slurm_of(site.cluster, state, uids_of(site.unix_accounts))


def people_of(site: Site, state: State) -> People | None:
    """The accounts of the site's people in Slurm; None where there is no accounting.

    Raises:
        LeerlabError: started as root, or by an account without a name.
    """
    cluster = site.cluster
    if not cluster.accounting:
        return None
    embedded = isinstance(cluster, EmbeddedCluster)
    return People(
        Commands(slurm_conf_of(site, state), commands_of(site), cluster.interval.answer),
        user=account_name(),
        limits=site.limits,
        per_person=per_person_of((profile.id, profile.per_person) for profile in site.profiles),
        qos=cluster.qos if isinstance(cluster, EmbeddedCluster) else (),
        named=() if embedded else cluster.qos_names,
    )
