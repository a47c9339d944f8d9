"""Who a token belongs to is asked of the hub, and believed for a few seconds only."""

from __future__ import annotations

import json

import httpx
import pytest

from grading.errors import Unavailable
from grading.identity import CACHE_SECONDS, Hub


class Answers:
    """A hub that counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.groups = ["nbgrader-alpha"]
        self.status = 200

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if self.status != 200:
            return httpx.Response(self.status)
        if request.url.path.endswith("/user"):
            return httpx.Response(200, json={"kind": "user", "name": "anna", "scopes": ["users:activity!user=anna"]})
        return httpx.Response(200, json={"kind": "user", "name": "anna", "groups": self.groups})


async def test_an_answer_is_kept_for_at_most_five_seconds() -> None:
    answers, now = Answers(), [0.0]
    client = httpx.AsyncClient(transport=httpx.MockTransport(answers), base_url="http://hub/hub/api/")
    hub = Hub(client, "g", frozenset({"alpha"}), clock=lambda: now[0])
    assert (await hub.caller("token abc")).studies == {"alpha"}
    now[0] = CACHE_SECONDS - 0.1
    await hub.caller("token abc")
    assert len(answers.asked) == 2
    answers.groups = []
    now[0] = CACHE_SECONDS + 0.1
    assert (await hub.caller("token abc")).studies == frozenset()
    assert CACHE_SECONDS <= 5
    await hub.close()


@pytest.mark.fault
@pytest.mark.parametrize("status", [500, 502, 503, 404, 302])
async def test_a_hub_that_says_nothing_usable_grants_nothing(status: int) -> None:
    answers = Answers()
    answers.status = status
    client = httpx.AsyncClient(transport=httpx.MockTransport(answers), base_url="http://hub/hub/api/")
    with pytest.raises(Unavailable):
        await Hub(client, "g", frozenset({"alpha"})).caller("token abc")
    await client.aclose()


PEOPLE: dict[str, object] = {
    "anna": {"groups": ["nbgrader-alpha"], "user_info": {"title": "Anna de Vries"}},
    "bram": {"groups": ["nbgrader-beta"], "user_info": {"title": "Bram Smit"}},
    "carla": {"groups": ["nbgrader-alpha"], "user_info": None},
}


async def test_titles_are_told_of_the_course_s_own_people_only() -> None:
    questions: list[list[str]] = []

    def hub_says(request: httpx.Request) -> httpx.Response:
        assert (request.method, request.url.path) == ("POST", "/hub/api/leerlab/people")
        questions.append(json.loads(request.content))
        return httpx.Response(200, json={name: PEOPLE[name] for name in questions[-1] if name in PEOPLE})

    client = httpx.AsyncClient(transport=httpx.MockTransport(hub_says), base_url="http://hub/hub/api/")
    hub = Hub(client, "g", frozenset({"alpha", "beta"}))
    asked = [*PEOPLE, "dirk"]
    assert await hub.titles(asked, "alpha", set()) == {"anna": "Anna de Vries"}
    assert await hub.titles(asked, "alpha", {"bram"}) == {"anna": "Anna de Vries", "bram": "Bram Smit"}
    # All in one question, of which the answer is remembered; the next one is about those who are new.
    assert questions == [asked]
    assert await hub.titles(["anna", "eva"], "alpha", set()) == {"anna": "Anna de Vries"}
    assert questions[1:] == [["eva"]]
    await client.aclose()


@pytest.mark.fault
async def test_a_hub_that_does_not_say_what_people_are_called_is_no_nameless_person() -> None:
    answers = Answers()
    answers.status = 503
    client = httpx.AsyncClient(transport=httpx.MockTransport(answers), base_url="http://hub/hub/api/")
    with pytest.raises(Unavailable):
        await Hub(client, "g", frozenset({"alpha"})).titles(["anna"], "alpha", set())
    await client.aclose()
