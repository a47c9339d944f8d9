"""Hostile names and options: refused in words, and nothing of them reaches Slurm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.attack]

NAMES = ["a;id", "a b", "$(id)", "-rf", "a%n", "é", "a..b", "0a"]
OPTIONS = [
    {"profile": "tiny", "cmd": ["sh"]}, {"req_prologue": "id"}, {"profile": "tiny; id"}, {"profile": ["tiny"]},
    {"partition": "small"}, {"profile": "tiny", "environment": {"LD_PRELOAD": "/tmp/x"}},
]  # fmt: skip
NO_NAMES = "import re, spawners.spawner as s; s._NAME = re.compile('.*')"
ANY_OPTION = (
    "import spawners.options as o, spawners.spawner as s; read = lambda options: 'tiny'; "
    "o.requested_profile = read; s.requested_profile = read"
)


def begin(hub: Any, name: str, options: Any) -> Any:
    hub.user(quote(name))
    return hub.api("POST", f"/users/{quote(name)}/server", {"user_options": options})


def test_names_that_could_mean_something_elsewhere_are_refused(hub: Any) -> None:
    for name in NAMES:
        answer = begin(hub, name, {"profile": "tiny"})
        assert answer.status_code == 400, name
        assert "start.refused.name" in answer.text
    assert hub.cluster.jobs() == []
    assert not [folder for folder in hub.cluster.state.homes.iterdir() if folder.name in NAMES]


def test_control_without_the_check_of_names_a_job_is_submitted(make_hub: Callable[..., Any]) -> None:
    hub = make_hub(patch=NO_NAMES)
    assert begin(hub, NAMES[0], {"profile": "tiny"}).status_code in (201, 202)
    hub.until(hub.cluster.jobs, 30, "a job")
    # Even so the name is only a value: no shell has seen it.
    hub.ready(NAMES[0])


def test_server_names_are_refused_too(hub: Any) -> None:
    hub.user("sanne")
    for name in ("a;id", "a b", "$(id)", "../x", "-rf"):
        assert hub.api("POST", f"/users/sanne/servers/{quote(name, safe='')}").status_code in (400, 404, 500), name
    assert hub.cluster.jobs() == []
    # Control: a harmless name starts.
    assert hub.api("POST", "/users/sanne/servers/tweede").status_code in (201, 202)


def test_only_a_profile_of_ones_own_can_be_chosen(hub: Any) -> None:
    for options in [*OPTIONS, {"profile": "staff"}]:
        answer = begin(hub, "sanne", options)
        assert answer.status_code == 400, options
        assert "start.refused." in answer.text
    assert hub.cluster.jobs() == []
    # A refused request is not the next start's default.
    assert hub.api("POST", "/users/sanne/server").status_code in (201, 202)
    hub.ready("sanne")
    # Control: a member of the group may choose the group's profile.
    assert begin(hub, "docent", {"profile": "staff"}).status_code in (201, 202)


def test_control_without_the_reading_of_options_each_request_starts(make_hub: Callable[..., Any]) -> None:
    hub = make_hub(patch=ANY_OPTION)
    for number, options in enumerate(OPTIONS):
        assert begin(hub, f"sanne-{number}", options).status_code in (201, 202), options
    # A job that were handed in only when the hub has ended would be there in another test.
    hub.until(lambda: len(hub.cluster.jobs()) == len(OPTIONS), 40, "a job of each")
