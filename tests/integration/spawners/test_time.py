"""How long a server may go on: told to the server itself, and lengthened as often as its profile says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def token_of(hub: Any, name: str) -> str:
    """The token that a server has inside, as the server in these tests tells everybody."""
    answer = httpx.get(f"http://127.0.0.1:{port_of(hub, name)}/user/{name}/", timeout=10)
    return str(answer.json()["environment"]["JUPYTERHUB_API_TOKEN"])


def port_of(hub: Any, name: str) -> int:
    return int(hub.start_state(name)["start"]["port"])


def limit(hub: Any, name: str) -> str:
    """The job's time limit as Slurm has it, in minutes."""
    return str(hub.cluster.ask("squeue", "-h", "-j", str(hub.start_state(name)["start"]["job"]), "-o", "%l")).strip()


def ends_in(told: dict[str, Any]) -> float:
    return (datetime.fromisoformat(told["ends"]) - datetime.now(UTC)).total_seconds()


def asked(hub: Any, token: str, method: str = "GET") -> httpx.Response:
    return hub.api(method, "/leerlab/time", token=token)  # type: ignore[no-any-return]


def told(hub: Any, token: str) -> dict[str, Any]:
    """What a server is told, once Slurm's answer is there; a Slurm that was silent is asked every 30 s at least."""
    return hub.until(lambda: (seen := asked(hub, token).json())["ends"] and seen, 60, "an end")  # type: ignore[no-any-return]


def test_a_server_is_told_when_it_ends_and_may_lengthen_that_as_often_as_its_profile_says(hub: Any) -> None:
    hub.begin("sanne", "long")
    hub.ready("sanne")
    token = token_of(hub, "sanne")
    first = told(hub, token)
    assert 480 < ends_in(first) <= 600
    assert (first["by"], first["left"]) == (300, 2)
    longer = asked(hub, token, "POST").json()
    assert (longer["left"], limit(hub, "sanne")) == (1, "15:00")
    assert 780 < ends_in(longer) <= 900
    # A click too many, and the hub in between killed, give no more than was promised.
    assert asked(hub, token, "POST").json()["left"] == 0
    assert asked(hub, token, "POST").status_code == 409
    assert limit(hub, "sanne") == "20:00"
    hub.until(lambda: ends_in(told(hub, token)) > 1080, 60, "the new end is told")


def test_it_stays_counted_over_a_restart_of_the_hub(make_hub: Callable[..., Any]) -> None:
    hub = make_hub()
    hub.begin("sanne", "long")
    hub.ready("sanne")
    token = token_of(hub, "sanne")
    told(hub, token)
    asked(hub, token, "POST")
    hub.restart()
    assert told(hub, token)["left"] == 1
    assert asked(hub, token, "POST").json()["left"] == 0
    assert asked(hub, token, "POST").status_code == 409
    assert limit(hub, "sanne") == "20:00"


def test_what_the_profile_does_not_allow_is_refused(hub: Any) -> None:
    hub.begin("sanne", "tiny")
    hub.ready("sanne")
    token = token_of(hub, "sanne")
    assert (told(hub, token)["by"], asked(hub, token, "POST").status_code) == (0, 409)
    assert limit(hub, "sanne") == "10:00"


@pytest.mark.attack
def test_only_a_servers_own_token_lengthens_and_only_that_server(hub: Any) -> None:
    for name in ("sanne", "jelmer"):
        hub.begin(name, "long")
        hub.ready(name)
    own, other = token_of(hub, "sanne"), token_of(hub, "jelmer")
    told(hub, own)
    made = hub.api("POST", "/users/jelmer/tokens", {"note": "a program of jelmer's"}).json()["token"]
    for token in (made, hub.settings["token"], "0" * 64):
        assert asked(hub, token, "POST").status_code == 403
    hub.stop("jelmer")
    assert asked(hub, other, "POST").status_code == 403
    assert limit(hub, "sanne") == "10:00"
    # The control: the same request with the server's own token does lengthen it.
    assert asked(hub, own, "POST").status_code == 200
    assert limit(hub, "sanne") == "15:00"


@pytest.mark.fault
def test_while_slurm_is_silent_nothing_is_counted(make_hub: Callable[..., Any], cluster: Any) -> None:
    hub = make_hub()
    hub.begin("sanne", "long")
    hub.ready("sanne")
    token = token_of(hub, "sanne")
    told(hub, token)
    cluster.stop("slurmctld")
    try:
        answer = asked(hub, token, "POST")
        assert answer.status_code in (409, 503)
    finally:
        cluster.start("slurmctld")
    assert hub.until(lambda: told(hub, token)["left"] == 2, 90, "both steps are left")
    hub.until(lambda: asked(hub, token, "POST").status_code == 200, 30, "lengthened once Slurm answers")
