"""Only a hub, beside a Slurm that others look after: nothing is changed there, and what is missing there is said."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from deploy import Operator, Played, site_description
from machine import Machine, quiet

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.site, pytest.mark.timeout(7200)]
BEFORE = "Missing on the cluster, for who looks after it:"


@pytest.fixture(scope="module")
def beside(site: Operator) -> Iterator[Operator]:
    """The operator of another hub, for whom the first site's controller and node are somebody else's cluster."""
    folder, shared = site.folder / "beside", site.shared / "beside"
    layer = folder / "layer/var/lib/leerlab"
    for name in (shared, folder / "tmp", layer):
        name.mkdir(parents=True)
    for name in ("leerlab.test.pem", "leerlab.test.key"):
        shutil.copy2(site.folder / name, folder / name)
    # The same locks give the same environments: those that the playbook made for the first hub are not made once more.
    for kind in ("env", "proxy"):
        quiet("cp", "-al", site.hub.disk / "var/lib/leerlab" / kind, layer, timeout=300)
    other = replace(site, folder=folder, shared=shared, machines={})
    try:
        hub = other.machine("hub2", 13, (folder / "layer", *site.hub.base))
        # Whoever looks after the cluster lets the hub's machine ask its controller.
        site.controller.run(f"nft insert rule inet leerlab input ip saddr {hub.address} tcp dport 6817-6819 accept")
        copies = {}
        for name, path in (
            ("leerlab_slurm_conf", "/etc/slurm/slurm.conf"),
            ("leerlab_munge_key", "/etc/munge/munge.key"),
        ):
            copies[name] = str(folder / Path(path).name)
            shutil.copyfile(site.controller.file(path), copies[name])
            Path(copies[name]).chmod(0o600)
        description = site_description()
        description["site"]["name"] = "zuid"
        other.write(site=description, **copies)
        yield other
    finally:
        for machine in other.machines.values():
            machine.destroy()
        site.provider.leave("hub2")
        site.controller.run("systemctl restart nftables")
        shutil.rmtree(folder)
        shutil.rmtree(shared)


def missing(played: Played) -> dict[str, str]:
    """What a playbook's end says is missing: of each examination what follows its name."""
    assert played.code and BEFORE in played.output, played.output[-4000:]
    told = played.output.rpartition("FAILED! =>")[2].partition("\nPLAY RECAP")[0]
    lines: list[str] = yaml.safe_load(textwrap.dedent(told))["msg"]
    return dict(line.split(": ", 1) for line in lines[1:])


def fingerprint(machine: Machine) -> str:
    """What stands on a machine of the cluster that somebody could have changed, by content and by who may use it."""
    return machine.run(
        "cd / && find etc usr/local usr/lib/systemd -xdev -printf '%p %y %m %u %s %C@\\n' "
        "2>/dev/null | sort | sha256sum; ls /var/lib/leerlab; nft list ruleset | sha256sum",
        timeout=90,
    ).stdout


def test_only_the_hub_is_set_up_and_what_the_cluster_lacks_is_said(site: Operator, beside: Operator) -> None:
    cluster = (site.controller, site.node)
    before = [fingerprint(machine) for machine in cluster]
    lacks = missing(beside.play("hub.yml", check=False))
    assert [fingerprint(machine) for machine in cluster] == before
    # The hub itself is whole, and so is what that cluster has.
    assert set(lacks) == {"job", "nodes"}, lacks
    jobs = f"{beside.state}/jobs"
    assert f"node1: what a job writes to {jobs} does not arrive here" in lacks["nodes"]
    assert "Mount the site's shared storage on that node" in lacks["nodes"]


def test_what_was_mended_there_is_not_said_again(site: Operator, beside: Operator) -> None:
    places = [f"{beside.state}/{name}" for name in ("homes", "jobs")]
    site.node.run(
        f"install -d -m 700 -o leerlab -g leerlab {beside.state} {' '.join(places)} && "
        + " && ".join(f"mount --bind /srv/leerlab/{beside.shared.name}/{Path(place).name} {place}" for place in places)
    )
    try:
        lacks = missing(beside.play("cluster_check.yml", check=False))
    finally:
        site.node.run(f"umount {' '.join(places)}; rm -r {beside.state}")
    assert set(lacks) == {"nodes"}, lacks
    for left in ("seccomp.bpf cannot be read", "run/hub-api.sock", "run/grading.sock"):
        assert left in lacks["nodes"], left
