"""The numbers of a real hub: who may read them, what is in them, and what is not."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.integration


def numbers(hub: Any, token: str | None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.get(f"{hub.public}/hub/metrics", headers=headers, timeout=40)


def number(text: str, sample: str) -> float:
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_a_start_a_failure_and_a_cancelled_one_are_counted_and_nobody_is_named(hub: Any) -> None:
    token = hub.settings["token"]
    before = numbers(hub, token).text
    hub.begin("hendrikje", "tiny")
    hub.ready("hendrikje")
    hub.begin("wiebrechtje", "broken")
    hub.events("wiebrechtje", lambda seen: seen[-1].get("failed", False))
    hub.begin("geertruida", "mute")
    hub.until(lambda: hub.start_state("geertruida").get("start", {}).get("job"), 30, "submitted")
    assert hub.stop("geertruida").status_code in (202, 204)

    def counted() -> str:
        text = numbers(hub, token).text
        standing = [number(text, f'leerlab_servers{{state="{state}"}}') for state in ("running", "pending")]
        return text if standing == [1, 0] else ""

    after = hub.until(counted, 60, "counted")
    for sample, more in (
        ('leerlab_starts_total{outcome="ready",reason=""}', 1),
        ('leerlab_starts_total{outcome="failed",reason="exit"}', 1),
        ('leerlab_starts_total{outcome="cancelled",reason=""}', 1),
        ("leerlab_start_ready_seconds_count", 1),
        ("leerlab_start_wait_seconds_count", 1),
        ('leerlab_slurm_commands_total{command="sbatch",outcome="answered"}', 3),
    ):
        assert number(after, sample) - number(before, sample) == more, sample
    assert number(after, "leerlab_slurm_answering") == 1
    assert 0 <= number(after, "leerlab_watcher_age_seconds") < 30
    # Nobody's name, in labels of ours or of JupyterHub's.
    for name in ("hendrikje", "wiebrechtje", "geertruida"):
        assert name not in after


@pytest.mark.attack
def test_who_has_no_right_to_the_numbers_gets_none(hub: Any) -> None:
    hub.begin("sanne", "tiny")
    hub.ready("sanne")
    person = hub.api("POST", "/users/sanne/tokens", {}).json()["token"]
    answer = httpx.get(f"{hub.public}/user/sanne/x", headers={"Authorization": f"token {person}"}, timeout=40)
    server = answer.json()["environment"]["JUPYTERHUB_API_TOKEN"]
    for token in (None, person, server, "f" * 32):
        refused = numbers(hub, token)
        assert refused.status_code == 403
        assert "leerlab_" not in refused.text
    # The control: the same request with a token of the scope read:metrics.
    assert "leerlab_slurm_answering" in numbers(hub, hub.settings["token"]).text
