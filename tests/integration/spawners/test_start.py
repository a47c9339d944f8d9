"""From a request to an answer through the proxy: real hub, real Slurm, real wall."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.integration


def test_a_server_starts_and_answers_through_the_proxy(hub: Any) -> None:
    assert hub.begin("sanne").status_code == 202
    hub.ready("sanne")
    token = hub.api("POST", "/users/sanne/tokens", {}).json()["token"]
    answer = httpx.get(f"{hub.public}/user/sanne/any", headers={"Authorization": f"token {token}"})
    assert answer.status_code == 200
    assert answer.json()["path"] == "/user/sanne/any"
