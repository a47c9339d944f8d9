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


def test_two_profiles_with_one_id_are_a_problem(cluster: EmbeddedCluster) -> None:
    assert "used twice" in check_profiles([profile(), profile()], cluster)[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"gpus": 1, "shards": 1}, {"cpus": 0}, {"memory": "1M"}, {"memory": 4096}, {"time": "30s"}, {"gpus": -1},
        {"id": "One"}, {"id": "a;b"}, {"partition": "gpu --wrap=x"}, {"partition": "-p"}, {"groups": ["x y"]},
        {"command": "sh"}, {"title": {"nl": "Een"}}, {"extend": {"by": "10s"}}, {"extend": {"by": "1h", "most": 0}},
    ],
)  # fmt: skip
def test_a_wrong_value_stops_the_start(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        profile(**changes)
