"""Waiting in Slurm's queue: what is told, what is offered instead, and that nobody else is kept from starting."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

WAITING = 6


def waits(hub: Any, name: str) -> Any:
    """One server takes the only core of `small`, so this person's waits."""
    hub.begin("eerst", "queue")
    hub.ready("eerst")
    hub.begin(name, "queue")
    return hub.events(name, lambda seen: seen[-1].get("code") == "start.waiting.resources" and seen[-1]["offers"])[-1]


def test_who_waits_is_told_why_and_offered_what_could_start_now(hub: Any) -> None:
    told = waits(hub, "sanne")
    assert told["params"]["position"] == 1
    # At most the ten minutes of the server that is in the way.
    assert 0 < told["params"]["starts_in"] <= 600
    # In the site's order, never the one that waits, never one of another group.
    assert [offer["profile"] for offer in told["offers"]] == ["tiny", "slow", "broken"]
    assert told["offers"][0]["title"] == {"nl": "tiny", "en": "tiny"}


def test_what_is_full_is_not_offered(hub: Any) -> None:
    # All but one of the eight cores of `cpu01`, and then the last one.
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: hub.begin(f"vol-{number}", "tiny"), range(8)))
    hub.until(lambda: len(hub.cluster.jobs("R")) == 8, 60, "eight run")
    hub.begin("eerst", "queue")
    hub.ready("eerst")
    hub.begin("sanne", "queue")

    def only_waits(seen: list[dict[str, Any]]) -> bool:
        last = seen[-1]
        # The nodes may have been looked at just before, for somebody else.
        return last.get("code") == "start.waiting.resources" and last["params"]["waited"] > 5 and not last["offers"]

    assert only_waits(hub.events("sanne", only_waits, seconds=35))


def started_beside(hub: Any) -> int:
    """The status of somebody's start while so many people wait."""
    hub.begin("eerst", "queue")
    hub.ready("eerst")
    with ThreadPoolExecutor(WAITING) as threads:
        for answer in threads.map(lambda number: hub.begin(f"wacht-{number}", "queue"), range(WAITING)):
            assert answer.status_code in (201, 202), answer.text
    hub.until(lambda: len(hub.cluster.jobs("PD")) == WAITING, 40, "all wait")
    return int(hub.begin("sanne", "tiny").status_code)


def test_people_who_wait_keep_nobody_else_from_starting(hub: Any) -> None:
    assert started_beside(hub) in (201, 202)
    hub.ready("sanne")


def test_control_with_jupyterhubs_limit_of_starts_the_waiting_lock_everybody_out(make_hub: Callable[..., Any]) -> None:
    assert started_beside(make_hub(concurrent_spawn_limit=WAITING)) == 429
