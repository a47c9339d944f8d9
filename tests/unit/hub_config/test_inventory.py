"""An inventory that does not fit its site.yaml is found out before any machine is touched."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub_config.inventory import Host, Machines, misfits, settings
from hub_config.site import Site

CODE = Path(__file__).resolve().parents[3]
FILES = {
    "leerlab_backup_password_file": {
        "path": "/home/operator/backup-password", "secret": True, "do": "Make one.", "exists": True, "mode": 0o600,
        "size": 44, "in_tree": False, "fault": "",
    }
}  # fmt: skip


def described(**changes: Any) -> Site:
    """A site that fits, with some sections changed."""
    description: dict[str, Any] = yaml.safe_load((CODE / "hub_config/demo.yaml").read_text())
    for name in ("assistant", "sandboxes"):
        del description[name]
    description["hub"] = {
        "domain": "leerlab.example", "https": True, "database": "postgresql:///leerlab_hub?host=/run/postgresql",
    } | changes.pop("hub", {})  # fmt: skip
    description["ledger"] = {"url": "postgresql:///leerlab_ledger?host=/run/postgresql"} | changes.pop("ledger", {})
    description["cluster"] = {
        "kind": "existing", "slurm_conf": "/etc/slurm/slurm.conf", "accounting": True, "network": "10.20.0.0/16",
        "partitions": [{"name": "cpu", "time": "90s", "cpus": 8, "memory": "16G", "default": True}],
    } | changes.pop("cluster", {})  # fmt: skip
    description["profiles"] = [one for one in description["profiles"] if one["partition"] == "cpu"]
    return Site.of_plain({**description, **changes})


def inventory(*, files: dict[str, dict[str, Any]] | None = None, **changes: dict[str, Any]) -> Machines:
    """Three machines that fit; of each its groups and variables can be changed."""
    hosts = {
        "hub": {"groups": ["hub"], "leerlab_address": "10.20.0.10"},
        "controller": {"groups": ["controller"], "leerlab_address": "10.20.0.11"},
        "node1": {"groups": ["nodes"], "leerlab_address": "10.20.1.1"},
    }
    for name, changed in changes.items():
        hosts[name] = {**hosts.get(name, {}), **changed}
    return Machines(
        file="inventory.yml",
        needed=("hub", "controller", "nodes"),
        hosts=tuple(
            Host(name=name, groups=tuple(given["groups"]), variables={k: v for k, v in given.items() if k != "groups"})
            for name, given in hosts.items()
        ),
        files=FILES if files is None else files,
    )


def found(site: Site, machines: Machines) -> list[str]:
    return [str(one) for one in misfits(site, "site.yaml", machines)]


def test_what_fits_is_not_complained_about() -> None:
    assert found(described(), inventory()) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hub": {"https": False}}, "site.yaml: hub.https is false"),
        ({"hub": {"bind": "10.20.0.10"}}, "site.yaml: hub.bind is 10.20.0.10"),
        ({"hub": {"database": None}}, "site.yaml: hub.database is not a database of the PostgreSQL"),
        ({"ledger": {"url": None}}, "site.yaml: ledger.url is not a database of the PostgreSQL"),
        ({"ledger": {"url": "postgresql:///leerlab_hub?host=/run/postgresql"}}, "are the same database"),
        ({"cluster": {"slurm_conf": "/opt/slurm.conf"}}, "Set it to /etc/slurm/slurm.conf"),
        ({"cluster": {"network": None}}, "site.yaml: cluster.network is missing"),
        ({"cluster": {"accounting": False}}, "site.yaml: cluster.accounting is false"),
    ],
)
def test_a_setting_that_the_playbook_cannot_serve_is_named_with_what_to_set(changes: dict[str, Any], says: str) -> None:
    lines = found(described(**changes), inventory())
    assert len(lines) == 1 and says in lines[0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"node1": {"leerlab_address": "192.0.2.1"}}, "not in 10.20.0.0/16, which cluster.network of site.yaml names"),
        ({"node1": {"leerlab_address": "10.20.0.10"}}, "node1 and hub have the same leerlab_address"),
        ({"node1": {"leerlab_address": "node1.example"}}, "leerlab_address of node1 is 'node1.example'"),
        ({"node1": {"groups": ["nodes", "hub"]}}, "the group hub has 2 machines"),
        ({"controller": {"groups": []}}, "inventory.yml: the group controller has no machine"),
        ({"node1": {"leerlab_partitions": ["gpu"]}}, "names gpu, which site.yaml does not have. Use one of: cpu."),
        ({"Node_2": {"groups": ["nodes"], "leerlab_address": "10.20.1.2"}}, "the name Node_2 is none that Slurm"),
    ],
)
def test_a_machine_that_does_not_fit_is_named_with_what_to_mend(changes: dict[str, Any], says: str) -> None:
    assert any(says in line for line in found(described(), inventory(**changes)))


@pytest.mark.attack
@pytest.mark.parametrize(
    "given",
    [
        {"ansible_password": "hunter2"},
        {"ansible_become_pass": "hunter2"},
        {"leerlab_oidc_client_secret": "hunter2"},
        {"leerlab_backup_repository": "rest:https://leerlab:hunter2@backup.example/"},
    ],
)
def test_a_secret_in_the_inventory_is_refused_and_not_repeated(given: dict[str, str]) -> None:
    lines = found(described(), inventory(hub=given))
    assert len(lines) == 1 and "holds a secret" in lines[0]
    assert "hunter2" not in lines[0]
    # The positive control: the same variables without the secret.
    assert found(described(), inventory(hub=dict.fromkeys(given, ""))) == []


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"exists": False}, "names /home/operator/backup-password, which does not exist. Make one."),
        ({"mode": 0o644}, "others may read it (mode 0644). chmod 600 /home/operator/backup-password"),
        ({"in_tree": True}, "it lies in the clone of Leerlab"),
        ({"size": 8}, "it is shorter than 20 characters"),
    ],
)
def test_a_secret_file_that_is_not_kept_well_is_named_with_what_to_do(facts: dict[str, Any], says: str) -> None:
    files = {"leerlab_backup_password_file": FILES["leerlab_backup_password_file"] | facts}
    lines = found(described(), inventory(files=files))
    assert len(lines) == 1 and says in lines[0]


def test_the_playbooks_get_every_default_and_partition_times_in_whole_minutes() -> None:
    told = settings(described())
    assert told["cluster"]["partitions"][0]["minutes"] == 2
    assert told["hub"]["port"] == 8000


def test_every_variable_that_an_inventory_may_set_is_in_the_reference() -> None:
    set_by_all = (CODE / "ansible/group_vars/all.yml").read_text()
    told = yaml.safe_load((CODE / "ansible/inventory_variables.yml").read_text())["inventory"]
    assert set(re.findall(r"\{\{ (leerlab_[a-z_]+) \| default\(", set_by_all)) <= set(told)
