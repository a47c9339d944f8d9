"""What the running hub says of many people at once: to the grading service, and to nobody else."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from whole_site import Visitor

from hub_config.people import MOST_AT_ONCE
from hub_config.run.keys import secret

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
PATH = "/hub/api/leerlab/people"
GRADING = "grading-token"


def asked(site: Any, token: str, names: object) -> httpx.Response:
    """What the hub answers on its own socket, where its services ask."""
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(site.state.run / "hub.sock")), timeout=60) as client:
        headers = {"Authorization": f"token {token}"} if token else {}
        return client.post(f"http://hub{PATH}", headers=headers, json=names)


def test_the_grading_service_learns_titles_and_groups_of_those_whom_the_hub_knows(running_site: Any) -> None:
    Visitor(running_site, "sanne").close()
    token = secret(running_site.state, GRADING)
    answer = asked(running_site, token, ["sanne", "nobody-here"])
    assert answer.status_code == 200 and list(answer.json()) == ["sanne"]
    sanne = answer.json()["sanne"]
    assert sanne["user_info"]["title"] and "nbgrader-ai-in-je-vak" in sanne["groups"]
    assert asked(running_site, token, []).json() == {}
    for wrong in ("sanne", [1], {"sanne": 1}, ["a"] * (MOST_AT_ONCE + 1)):
        assert asked(running_site, token, wrong).status_code == 400, wrong


@pytest.mark.attack
@pytest.mark.parametrize("token", ["portal-token", "metrics-token", ""])
def test_no_other_service_and_nobody_without_a_token_learns_what_people_are_called(
    running_site: Any, token: str
) -> None:
    Visitor(running_site, "sanne").close()
    other = secret(running_site.state, token) if token else ""
    refused = asked(running_site, other, ["sanne"])
    assert refused.status_code == 403 and "Sanne" not in refused.text
    # The same question with the token that may ask it.
    assert "sanne" in asked(running_site, secret(running_site.state, GRADING), ["sanne"]).json()


@pytest.mark.attack
@pytest.mark.parametrize("person", ["sanne", "docent"])
def test_a_person_s_own_rights_do_not_tell_what_others_are_called(running_site: Any, person: str) -> None:
    visitor = Visitor(running_site, person)
    try:
        headers = {"X-XSRFToken": visitor.browser.token("/hub/token")}
        refused = visitor.browser.post(PATH, headers=headers, json=["sanne", "docent"])
        assert refused.status_code == 403 and "user_info" not in refused.text
    finally:
        visitor.close()
    # The same question with the token that may ask it.
    assert person in asked(running_site, secret(running_site.state, GRADING), ["sanne", "docent"]).json()
