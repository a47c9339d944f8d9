"""Whether a site.yaml and the inventory of its machines fit: what the playbooks ask before they change anything.

Every finding names the file to mend and says how. Settings go to the playbooks complete, with every default in its
place, so that nothing about a site is written down twice.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from cluster.settings import ExistingCluster
from hub_config.site import Site

SLURM_CONF = Path("/etc/slurm/slurm.conf")
DATABASE = re.compile(r"postgresql:///([a-z_][a-z0-9_]{0,62})\?host=/run/postgresql")
_HOST = re.compile(r"[a-z][a-z0-9-]{0,14}")
# Variables of Ansible that would hold a secret in a file that people mail around (ansible-core's connection plugins).
_SECRETS = re.compile(r"(^|_)(password|passwd|pass|passphrase|token|secret|private_key)$")
_CREDENTIALS = re.compile(r"//[^/@\s]*:[^/@\s]+@")
_SHORTEST_PASSWORD = 20


class Host(BaseModel):
    """One machine of the inventory, with the variables that are given for it."""

    model_config = ConfigDict(frozen=True)

    name: str
    groups: tuple[str, ...]
    variables: dict[str, Any]


class Machines(BaseModel):
    """What the playbooks tell of the inventory.

    Args:
        file: the inventory, as the operator named it.
        needed: groups that must not be empty for this playbook.
        hosts: the machines.
        files: facts of files on the operator's machine that variables name: variable to `mode`, `size`, `exists`,
            `in_tree`, and for a certificate what does not fit it.
    """

    model_config = ConfigDict(frozen=True)

    file: str
    needed: tuple[str, ...]
    hosts: tuple[Host, ...]
    files: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Misfit:
    """Something to mend before a playbook changes anything.

    Args:
        file: where.
        what: what is wrong there.
        do: what to do.
    """

    file: str
    what: str
    do: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what} {self.do}"


def misfits(site: Site, site_file: str, machines: Machines) -> list[Misfit]:
    """Everything in which a site and its machines do not fit, or do not fit the playbooks.

    Args:
        site: the checked settings.
        site_file: its site.yaml, as the operator named it.
        machines: the inventory.
    """
    return [
        *_of_settings(site, site_file, machines),
        *_of_groups(machines),
        *_of_addresses(site, site_file, machines),
        *_of_partitions(site, site_file, machines),
        *_of_secrets(machines),
        *_of_files(machines),
    ]


def settings(site: Site) -> dict[str, Any]:
    """All settings, for the playbooks: times of partitions in minutes as well, as Slurm counts them."""
    plain = site.model_dump(mode="json")
    for plainly in plain["cluster"]["partitions"]:
        plainly["minutes"] = math.ceil(site.cluster.time_limit(plainly["name"]).total_seconds() / 60)
    return plain


def _of_settings(site: Site, file: str, machines: Machines) -> Iterator[Misfit]:
    if not isinstance(site.cluster, ExistingCluster):
        yield Misfit(
            file, "cluster.kind is embedded, and that Slurm lives on one machine alone.",
            "Set cluster to kind: existing, with the partitions that the site's nodes are to have.",
        )  # fmt: skip
    else:
        if site.cluster.slurm_conf != SLURM_CONF:
            yield Misfit(
                file,
                f"cluster.slurm_conf is {site.cluster.slurm_conf}.",
                f"Set it to {SLURM_CONF}, which the playbook writes.",
            )
        if site.cluster.network is None:
            yield Misfit(
                file, "cluster.network is missing, so notebooks would be offered on the nodes' loopback.",
                "Set it to the network in which the machines have their leerlab_address.",
            )  # fmt: skip
        if "controller" in machines.needed and not site.cluster.accounting:
            yield Misfit(file, "cluster.accounting is false.", "Set it to true: the playbook sets up slurmdbd.")
    if not site.hub.https:
        yield Misfit(file, "hub.https is false, and browsers will come by TLS.", "Set hub.https to true.")
    if not site.hub.bind.is_loopback:
        yield Misfit(
            file,
            f"hub.bind is {site.hub.bind}, so the pages could be reached without TLS.",
            "Set hub.bind to 127.0.0.1.",
        )
    for key, url in (("hub.database", site.hub.database), ("ledger.url", site.ledger.url)):
        if url is None or not DATABASE.fullmatch(url):
            yield Misfit(
                file, f"{key} is not a database of the PostgreSQL that the playbook sets up.",
                f"Set it to postgresql:///leerlab_{key.partition('.')[0]}?host=/run/postgresql.",
            )  # fmt: skip
    if site.hub.database is not None and site.hub.database == site.ledger.url:
        yield Misfit(file, "hub.database and ledger.url are the same database.", "Give each one of its own.")


def _of_groups(machines: Machines) -> Iterator[Misfit]:
    members = Counter(group for host in machines.hosts for group in host.groups)
    for group in machines.needed:
        if not members[group]:
            yield Misfit(machines.file, f"the group {group} has no machine.", f"Name a machine below {group}.hosts.")
    for group in ("hub", "controller"):
        if members[group] > 1:
            yield Misfit(machines.file, f"the group {group} has {members[group]} machines.", "Leave one in it.")
    for host in machines.hosts:
        roles = [group for group in ("hub", "controller", "nodes") if group in host.groups]
        if len(roles) > 1:
            yield Misfit(
                machines.file, f"{host.name} is in {' and '.join(roles)}.",
                "Give each its own machine: what a node runs must not stand beside what it may not reach.",
            )  # fmt: skip
        if not _HOST.fullmatch(host.name):
            yield Misfit(
                machines.file, f"the name {host.name} is none that Slurm and certificates take.",
                "Use up to 15 lower-case letters, digits and hyphens, a letter first; ssh goes to its ansible_host.",
            )  # fmt: skip


def _of_addresses(site: Site, site_file: str, machines: Machines) -> Iterator[Misfit]:
    network = site.cluster.network if isinstance(site.cluster, ExistingCluster) else None
    seen: dict[IPv4Address, str] = {}
    for host in machines.hosts:
        given = host.variables.get("leerlab_address", "")
        try:
            address = ip_address(str(given))
        except ValueError:
            yield Misfit(
                machines.file, f"leerlab_address of {host.name} is {given!r}.",
                "Give the IPv4 address that the machine has in the site's own network.",
            )  # fmt: skip
            continue
        if not isinstance(address, IPv4Address):
            yield Misfit(machines.file, f"leerlab_address of {host.name} is not IPv4.", "Give its IPv4 address.")
            continue
        if address in seen:
            yield Misfit(
                machines.file, f"{host.name} and {seen[address]} have the same leerlab_address.", "Give each its own."
            )
        seen[address] = host.name
        if network is not None and address not in network:
            yield Misfit(
                machines.file,
                f"leerlab_address of {host.name} is not in {network}, which cluster.network of {site_file} names.",
                "Mend one of the two.",
            )  # fmt: skip


def _of_partitions(site: Site, site_file: str, machines: Machines) -> Iterator[Misfit]:
    if "nodes" not in machines.needed:
        return
    nodes = [host for host in machines.hosts if "nodes" in host.groups]
    known = {partition.name for partition in site.cluster.partitions}
    for node in nodes:
        for name in node.variables.get("leerlab_partitions", ()):
            if name not in known:
                yield Misfit(
                    machines.file, f"leerlab_partitions of {node.name} names {name}, which {site_file} does not have.",
                    f"Use one of: {', '.join(sorted(known))}.",
                )  # fmt: skip
    for name in sorted(known):
        if nodes and not any(name in node.variables.get("leerlab_partitions", known) for node in nodes):
            yield Misfit(
                machines.file, f"the partition {name} has no node.", f"Add {name} to leerlab_partitions of a node."
            )


def _of_secrets(machines: Machines) -> Iterator[Misfit]:
    found: set[str] = set()
    for host in machines.hosts:
        for name, value in host.variables.items():
            if isinstance(value, str) and value and (_SECRETS.search(name) or _CREDENTIALS.search(value)):
                found.add(name)
    for name in sorted(found):
        yield Misfit(
            machines.file, f"the variable {name} holds a secret.",
            "Take it out: use an ssh key, --ask-become-pass, or a file of your own that a variable names.",
        )  # fmt: skip


def _of_files(machines: Machines) -> Iterator[Misfit]:
    for variable, facts in sorted(machines.files.items()):
        path, secret = facts["path"], facts["secret"]
        if not facts["exists"]:
            yield Misfit(machines.file, f"{variable} names {path}, which does not exist.", facts["do"])
            continue
        if secret and facts["mode"] & 0o077:
            yield Misfit(path, f"others may read it (mode {facts['mode']:04o}).", f"chmod 600 {path}")
        if secret and facts["in_tree"]:
            yield Misfit(path, "it lies in the clone of Leerlab, where git would take it.", "Move it elsewhere.")
        if variable == "leerlab_backup_password_file" and facts["size"] < _SHORTEST_PASSWORD:
            yield Misfit(
                path, f"it is shorter than {_SHORTEST_PASSWORD} characters.",
                "Make one: openssl rand -base64 32; and keep a copy elsewhere: without it no backup can be read.",
            )  # fmt: skip
        if fault := facts.get("fault"):
            yield Misfit(path, fault, facts["do"])


def report(found: Sequence[Misfit]) -> list[Mapping[str, str]]:
    """Findings as the playbook prints them."""
    return [{"file": one.file, "what": one.what, "do": one.do} for one in found]
