"""Profiles: what site.yaml may say, and what can run on the cluster."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from base.quantities import Duration, Size
from cluster.settings import EmbeddedCluster, EmbeddedPartition, ExistingCluster, Node
from spawners.settings import Profile, check_profiles


def profile(**changes: Any) -> Profile:
    values = {
        "id": "one",
        "title": {"nl": "Een", "en": "One"},
        "partition": "gpu",
        "cpus": 2,
        "memory": "4G",
        "time": "4h",
    }
    return Profile.model_validate({**values, **changes})


@pytest.fixture
def cluster() -> EmbeddedCluster:
    return EmbeddedCluster(
        kind="embedded",
        nodes=(
            Node(name="gpu01", cpus=16, memory=Size.parse("32G"), gpus=2, shards=16),
            Node(name="cpu01", cpus=32, memory=Size.parse("8G")),
        ),
        partitions=(
            EmbeddedPartition(name="gpu", nodes=("gpu01", "cpu01"), time=Duration.parse("8h"), default=True),
            EmbeddedPartition(name="cpu", nodes=("cpu01",), time=Duration.parse("2h")),
        ),
    )


def test_a_profile_that_fits_has_no_problem(cluster: EmbeddedCluster) -> None:
    assert check_profiles([profile(gpus=2), profile(id="two", shards=4)], cluster) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"partition": "nowhere"}, "'nowhere' does not exist"),
        ({"time": "9h"}, "time 9h is longer than partition gpu allows (at most 8h)"),
        (
            {"extend": {"by": "2h", "most": 3}},
            "time 4h and extend together are 10h, longer than partition gpu allows (at most 8h)",
        ),
        ({"time": "9h", "extend": {"by": "2h"}}, "time 9h is longer than partition gpu allows (at most 8h)"),
        ({"gpus": 3}, "asks more than any node of partition gpu has"),
        ({"partition": "cpu", "time": "1h", "memory": "16G"}, "asks more than any node of partition cpu has"),
        # Every part fits some node, but no node has all of it.
        ({"cpus": 32, "memory": "32G"}, "asks more than any node of partition gpu has"),
    ],
)
def test_a_profile_that_could_never_run_is_named_with_its_reason(
    cluster: EmbeddedCluster, changes: dict[str, Any], words: str
) -> None:
    problems = check_profiles([profile(**changes)], cluster)
    assert len(problems) == 1
    assert problems[0].startswith("profile one: ")
    assert words in problems[0]


def test_a_time_that_nobody_may_lengthen_is_not_promised_to_be() -> None:
    """Slurm lets only its administrators lengthen a job that runs, and without accounting there are none."""
    section = {
        "kind": "existing", "slurm_conf": "/etc/slurm/slurm.conf",
        "partitions": [{"name": "gpu", "time": "8h", "cpus": 16, "memory": "32G", "default": True}],
    }  # fmt: skip
    longer = [profile(extend={"by": "1h", "most": 2})]
    (problem,) = check_profiles(longer, ExistingCluster.model_validate(section))
    assert "extend needs a Slurm of which the site's account is an administrator" in problem
    assert check_profiles(longer, ExistingCluster.model_validate({**section, "accounting": True})) == []


@pytest.fixture
def existing() -> ExistingCluster:
    return ExistingCluster.model_validate(
        {
            "kind": "existing", "slurm_conf": "/etc/slurm/slurm.conf", "accounting": True, "qos": ["les"],
            "accounts": ["onderwijs"], "reservations": ["les-dinsdag"],
            "partitions": [
                {"name": "gpu", "time": "8h", "cpus": 16, "memory": "64G", "gpus": 7, "default": True,
                 "gpu_types": ["1g.10gb", "3g.40gb"]},
                {"name": "plain", "time": "8h", "cpus": 16, "memory": "64G", "gpus": 2},
            ],
        }
    )  # fmt: skip


def test_what_a_profile_names_and_the_cluster_has_is_no_problem(existing: ExistingCluster) -> None:
    one = profile(gpus=1, gpu_type="1g.10gb", qos="les", account="onderwijs", reservation="les-dinsdag")
    assert check_profiles([one, profile(id="two", per_person=1)], existing) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gpus": 1, "gpu_type": "7g.80gb"}, "no GPUs of type 7g.80gb (allowed: 1g.10gb, 3g.40gb)"),
        (
            {"partition": "plain", "gpus": 1, "gpu_type": "h200"},
            "(allowed: no gpu_type: that partition names no types)",
        ),
        ({"qos": "haast"}, "qos haast is not in cluster.qos (allowed: les)"),
        ({"account": "onderzoek"}, "account onderzoek is not in cluster.accounts (allowed: onderwijs)"),
        ({"reservation": "les"}, "reservation les is not in cluster.reservations (allowed: les-dinsdag)"),
        ({"account": "onderwijs", "per_person": 2}, "Slurm cannot count for each person (allowed: per_person or"),
    ],
)
def test_what_a_profile_names_and_the_cluster_lacks_is_said_with_what_there_is(
    existing: ExistingCluster, changes: dict[str, Any], words: str
) -> None:
    (problem,) = check_profiles([profile(**changes)], existing)
    assert words in problem


def test_the_embedded_slurm_has_no_accounts_for_profiles_and_counts_only_with_accounting(
    cluster: EmbeddedCluster,
) -> None:
    (problem,) = check_profiles([profile(account="onderwijs")], cluster)
    assert "Leerlab's own accounts alone (allowed: no account)" in problem
    (problem,) = check_profiles([profile(per_person=1)], cluster)
    assert "only with `cluster.accounting: true`" in problem


def test_a_job_gets_the_qos_that_its_profile_names_or_the_one_that_keeps_it_to_so_many_a_person() -> None:
    assert profile(qos="les").resources["qos"] == "les"
    assert profile(per_person=2).resources["qos"] == "leerlab-one"
    assert profile().resources["qos"] is None


def test_two_profiles_with_one_id_are_a_problem(cluster: EmbeddedCluster) -> None:
    assert "used twice" in check_profiles([profile(), profile()], cluster)[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"gpus": 1, "shards": 1}, {"cpus": 0}, {"memory": "1M"}, {"memory": 4096}, {"time": "30s"}, {"gpus": -1},
        {"id": "One"}, {"id": "a;b"}, {"partition": "gpu --wrap=x"}, {"partition": "-p"}, {"groups": ["x y"]},
        {"command": "sh"}, {"title": {"nl": "Een"}}, {"extend": {"by": "10s"}}, {"extend": {"by": "1h", "most": 0}},
        {"gpu_type": "1g.10gb"}, {"gpus": 1, "gpu_type": "1g.10gb:2"},
        {"gpus": 1, "gpu_type": "gpu,shard"}, {"qos": "les,haast"}, {"qos": "-x"}, {"account": "a b"},
        {"reservation": "les\n"}, {"reservation": "--uid=0"}, {"image": "../notebook-1"}, {"per_person": 0},
        {"per_person": 1, "qos": "les"},
    ],
)  # fmt: skip
def test_a_wrong_value_stops_the_start(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        profile(**changes)
