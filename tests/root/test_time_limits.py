"""Who may lengthen a job that runs, on a real Slurm with two accounts: what decision 6 builds on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from roots_slurm import SITE, Cluster, roots_slurm, until

OTHER = "nobody"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with roots_slurm() as made:
        yield made


def limit(cluster: Cluster) -> str:
    return cluster.run(OTHER, "squeue", "-h", "-o", "%l").stdout.strip()


def set_limit(cluster: Cluster, minutes: int) -> subprocess.CompletedProcess[str]:
    return cluster.run(OTHER, "scontrol", "update", "JobId=1", f"TimeLimit={minutes}")


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_jobs_owner_may_only_shorten_it_and_an_administrator_of_slurm_may_lengthen_it(cluster: Cluster) -> None:
    assert os.geteuid() == 0
    for made in (("add", "account", "x"), ("add", "user", OTHER, "account=x")):
        assert not cluster.run(SITE, "sacctmgr", "--immediate", *made).returncode
    submitted = cluster.run(
        OTHER, "sbatch", "--time=5", "--mem=50M", "--output=/dev/null", "--chdir=/tmp", "--wrap=exec sleep 200"
    )
    assert not submitted.returncode, submitted.stderr
    until(lambda: cluster.run(OTHER, "squeue", "-h", "-o", "%T").stdout.strip() == "RUNNING", "the job runs")
    refused = set_limit(cluster, 10)
    assert refused.returncode and "denied" in refused.stderr
    assert not set_limit(cluster, 4).returncode
    assert set_limit(cluster, 5).returncode, "not even back to what it was"
    assert limit(cluster) == "4:00"
    made = cluster.run(SITE, "sacctmgr", "--immediate", "modify", "user", OTHER, "set", "adminlevel=Administrator")
    assert not made.returncode, made.stderr
    until(lambda: not set_limit(cluster, 20).returncode, "slurmctld has heard of it")
    assert limit(cluster) == "20:00"
    # Slurm does not hold an administrator to the partition's hour: `leerlab check` does.
    assert not set_limit(cluster, 90).returncode
    assert limit(cluster) == "1:30:00"
