"""What the doctor says of a cluster that lacks something: exactly that, what it means and what to do."""

from __future__ import annotations

import asyncio
import getpass
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from real_cluster import RealCluster, real_cluster

from base.errors import LeerlabError
from base.paths import Installation
from cluster.existing import ExistingSlurm
from cluster.settings import ExistingCluster
from confinement import seccomp
from hub_config.run import existing

pytestmark = [pytest.mark.integration, pytest.mark.timeout(200)]
NewSite = Callable[..., Any]


@pytest.fixture(scope="module")
def school() -> Iterator[RealCluster]:
    """A school's cluster without accounting."""
    root = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    try:
        with real_cluster(root) as cluster:
            yield cluster
    finally:
        shutil.rmtree(root, ignore_errors=True)


def looks(school: RealCluster, **changes: object) -> ExistingSlurm:
    """The looks of a site that says this of the cluster."""
    section = {**school.section(accounting=False), **changes}
    return ExistingSlurm(ExistingCluster.model_validate(section))


def partitions(**changes: object) -> dict[str, object]:
    """One partition, and what site.yaml says of it."""
    said = {"name": "cpu", "time": "4h", "cpus": 8, "memory": "8G", "default": True, **changes}
    return {"partitions": [said]}


async def wrong(look: Awaitable[str]) -> LeerlabError:
    """What a look complains of."""
    with pytest.raises(LeerlabError) as told:
        await look
    assert told.value.means and told.value.do
    return told.value


def test_a_slurm_conf_that_cannot_be_read_is_named(school: RealCluster, tmp_path: Path) -> None:
    assert "can be read" in looks(school).see_files()
    closed = tmp_path / "slurm.conf"
    with pytest.raises(LeerlabError, match="No such file"):
        looks(school, slurm_conf=str(closed)).see_files()
    closed.write_text("")
    closed.chmod(0)
    with pytest.raises(LeerlabError, match=f"cannot be read by {getpass.getuser()}"):
        looks(school, slurm_conf=str(closed)).see_files()
    with pytest.raises(LeerlabError, match=r"Not in /usr/games: sbatch"):
        looks(school, commands="/usr/games").see_files()


async def test_partitions_that_are_not_as_site_yaml_says(school: RealCluster) -> None:
    nodes = await school.slurm.nodes()
    assert "up" in await looks(school).see_partitions(nodes)
    for changes, what in (
        ({"name": "nacht"}, "no partition nacht"),
        ({"time": "5h"}, "lets jobs run for 4h"),
        ({"cpus": 9}, "cpus is at most 8"),
        ({"memory": "9G"}, "memory is at most 8192M"),
        ({"gpus": 3}, "gpus is at most 2"),
    ):
        error = await wrong(looks(school, **partitions(**changes)).see_partitions(nodes))
        assert what in error.what, error


async def test_a_partition_that_is_down(school: RealCluster) -> None:
    school.run("scontrol", "update", "partitionname=gpu", "state=down")
    try:
        error = await wrong(looks(school).see_partitions(await school.slurm.nodes()))
    finally:
        school.run("scontrol", "update", "partitionname=gpu", "state=up")
    assert "gpu is not up" in error.what and "state=up" in error.do


async def test_a_cluster_that_counts_nothing(school: RealCluster) -> None:
    error = await wrong(looks(school).see_accounting())
    assert "does not count in slurmdbd" in error.what


@pytest.fixture
def beside(school: RealCluster, new_site: NewSite) -> Any:
    """A site that does not run, with all that its nodes need but the sockets."""
    site = new_site(cluster=school.section(accounting=False), sandboxes=None)
    site.state.make()
    seccomp.write_filters(site.state.generated)
    yield site
    shutil.rmtree(site.state.run)


async def seen(site: Any, installation: Installation) -> LeerlabError:
    """What the look at the nodes complains of."""
    return await wrong(existing.see_nodes(site.site, site.site.cluster, site.state, installation))


async def test_a_node_without_the_code_the_wall_or_the_way_to_the_hub(beside: Any) -> None:
    here = Installation.current()
    before = sorted(beside.state.jobs.iterdir())
    error = await seen(beside, replace(here, code=Path("/nonexistent/code")))
    assert error.what.startswith("n1: the job could not look") and "install --node" in error.do
    assert "can't open file '/nonexistent/code/spawners/node_check.py'" in error.what

    error = await seen(beside, replace(here, notebook_env=Path("/nonexistent")))
    assert "/nonexistent/bin/python is missing" in error.what and "hub-api.sock" in error.what

    for name in ("seccomp-nested.bpf", "seccomp.bpf"):
        (beside.state.generated / name).unlink()
        error = await seen(beside, here)
        assert "wall: it cannot be built" in error.what and name in error.what and "copy both filters" in error.do
    assert sorted(beside.state.jobs.iterdir()) == before, "the doctor leaves nothing behind"


@pytest.mark.slow
async def test_a_node_that_writes_to_other_storage(beside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = existing._wanted

    def elsewhere(*arguments: Any) -> Any:
        return replace(wanted(*arguments), content="what another machine wrote", sockets=())

    monkeypatch.setattr(existing, "_wanted", elsewhere)
    error = await seen(beside, Installation.current())
    assert "is another file than on the hub's machine" in error.what and "shared storage" in error.do


@pytest.mark.slow
async def test_a_node_without_an_address_in_the_network(beside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, before = existing._wanted, sorted(beside.state.jobs.iterdir())

    def elsewhere(*arguments: Any) -> Any:
        return replace(wanted(*arguments), publish_on="203.0.113.0/24", sockets=())

    monkeypatch.setattr(existing, "_wanted", elsewhere)
    error = await seen(beside, Installation.current())
    assert "no address in the site's network 203.0.113.0/24" in error.what
    monkeypatch.setattr(existing, "_wanted", lambda *each: replace(wanted(*each), sockets=()))
    assert "1 nodes have what notebooks need" in await asyncio.wait_for(
        existing.see_nodes(beside.site, beside.site.cluster, beside.state, Installation.current()), 60
    )
    assert sorted(beside.state.jobs.iterdir()) == before
