"""Deadlines, late work, attempts and extensions at the real service: who may change them; nobody gets around."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from grading_site import Site
from grading_trees import MEDIA, NOTEBOOK, entry, tree

pytestmark = pytest.mark.integration

COURSE = "/exchange/courses/alpha"
WEEK = f"{COURSE}/assignments/week-1"
HEADERS = {"Content-Type": MEDIA}


def ago(**time: float) -> str:
    return (datetime.now(UTC) - timedelta(**time)).isoformat()


class Alpha:
    """A released assignment, with clients of everybody."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._clients: dict[str, httpx.Client] = {}
        self._sent = 0
        assert self["course-alpha"].put(WEEK, content=NOTEBOOK, headers=HEADERS).status_code == 200

    def __getitem__(self, name: str) -> httpx.Client:
        if name not in self._clients:
            self._clients[name] = self.site.client(self.site.hub.token(name))
        return self._clients[name]

    def hand_in(self, name: str, **more: str) -> httpx.Response:
        """Hand in something that was not handed in before."""
        self._sent += 1
        content = str(self._sent).encode()
        data = tree(entry("werk.ipynb", content), content=content)
        return self[name].post(f"{WEEK}/submissions", content=data, headers={**HEADERS, **more})

    def rule(self, path: str, method: str = "PUT", **content: Any) -> httpx.Response:
        """What the course's own server sends when an owner changes a rule."""
        return self["course-alpha"].request(method, path, json={"by": "docent", **content})

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


@pytest.fixture
def alpha(site: Site) -> Iterator[Alpha]:
    made = Alpha(site)
    yield made
    made.close()


def late(days: int | None, penalty: str = "none", percent: float = 0, attempts: int | None = None) -> dict[str, Any]:
    return {"late": {"days": days, "penalty": penalty, "percent": percent}, "attempts": attempts}


def test_late_work_is_taken_in_or_refused_as_the_course_says_and_the_receipt_tells(alpha: Alpha) -> None:
    assert alpha.rule(f"{WEEK}/terms", due=ago(hours=30)).status_code == 200
    assert alpha.hand_in("anna").json()["percent_off"] == 0
    assert alpha.rule(f"{COURSE}/terms", hand_in=late(3, "per-day", 10)).status_code == 200
    told = alpha["anna"].get(f"{WEEK}/terms").json()
    assert (told["percent_off"], told["attempt"], told["refused"]) == (20, 2, "")
    assert told["replaces"]["percent_off"] == 20, "what was handed in before stands under the rules as they are now"
    receipt = alpha.hand_in("anna").json()
    assert receipt["percent_off"] == 20 and receipt["attempt"] == 2
    assert 30 * 3600 <= receipt["late_seconds"] < 31 * 3600
    assert alpha.rule(f"{COURSE}/terms", hand_in=late(1)).status_code == 200
    refused = alpha.hand_in("anna")
    assert refused.status_code == 409 and refused.json()["code"] == "grading.too_late"
    assert "safe" in refused.json()["means"] and refused.json()["do"]
    assert alpha["anna"].get(f"{WEEK}/terms").json()["refused"] == "grading.too_late"
    assert len(alpha.site.store.submissions("alpha", "week-1", "anna")) == 2


def test_an_extension_holds_for_one_student_also_for_what_was_handed_in_and_is_remembered(alpha: Alpha) -> None:
    alpha.rule(f"{COURSE}/terms", hand_in=late(None, "fixed", 50))
    alpha.rule(f"{WEEK}/terms", due=ago(days=2))
    receipts = {name: alpha.hand_in(name).json() for name in ("anna", "bram")}
    assert receipts["anna"]["percent_off"] == receipts["bram"]["percent_off"] == 50
    until, reason = ago(days=-1), "vertraging met de trein"
    extension = f"{WEEK}/extensions/anna"
    assert alpha.rule(extension, due=until, reason=reason, attempts=None).status_code == 200
    standings = alpha["course-alpha"].get(f"{WEEK}/standings").json()["students"]
    percents = {name: standings[name][receipts[name]["timestamp"]]["percent_off"] for name in receipts}
    assert percents == {"anna": 0, "bram": 50}
    assert alpha["anna"].get(f"{WEEK}/terms").json()["extended"]
    assert alpha.hand_in("anna").json()["percent_off"] == 0
    kept = alpha["docent"].get(f"{COURSE}/terms").json()["assignments"]["week-1"]["extensions"]["anna"]
    assert kept["reason"] == reason and kept["by"] == "docent"
    actor, action, subject, details = alpha.site.recorded[-2]
    assert (actor, action, subject) == ("docent", "exchange.extension", "alpha/week-1/anna")
    assert details["was"] and details["now"] and reason not in details.values()

    assert alpha.rule(extension, "DELETE").status_code == 200
    assert alpha.hand_in("anna").json()["percent_off"] == 50
    assert [one[1] for one in alpha.site.recorded if one[0] == "docent"] == [
        "exchange.terms", "exchange.deadline", "exchange.extension", "exchange.extension.back",
    ]  # fmt: skip
    assert alpha.rule(extension, "DELETE").status_code == 404


def test_attempts_end_and_a_student_may_be_given_one_more(alpha: Alpha) -> None:
    alpha.rule(f"{COURSE}/terms", hand_in=late(None, attempts=2))
    alpha.rule(f"{WEEK}/terms", due=ago(days=-1))
    first = alpha["anna"].post(f"{WEEK}/submissions", content=NOTEBOOK, headers=HEADERS).json()
    again = alpha["anna"].post(f"{WEEK}/submissions", content=NOTEBOOK, headers=HEADERS).json()
    assert again == first, "a double click is one hand-in"
    assert alpha.hand_in("anna").json()["attempt"] == 2
    refused = alpha.hand_in("anna")
    assert refused.status_code == 409 and refused.json()["code"] == "grading.no_attempts"
    more = {"due": ago(days=-2), "reason": "de stroom viel uit", "attempts": 3}
    assert alpha.rule(f"{WEEK}/extensions/anna", **more).status_code == 200
    assert alpha.hand_in("anna").json()["attempts"] == 3
    assert alpha.hand_in("anna").status_code == 409
    # Fewer attempts than somebody used take nothing away.
    alpha.rule(f"{WEEK}/terms", attempts=1)
    assert len(alpha["anna"].get("/exchange/submissions?course=alpha").json()) == 3
    assert alpha["course-alpha"].get(f"{COURSE}/terms").json()["assignments"]["week-1"]["due"], "what is left out stays"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (f"{WEEK}/terms", {"due": "morgen"}), (f"{WEEK}/terms", {"due": "2026-12-01T10:00"}),
        (f"{WEEK}/terms", {"attempts": 0}), (f"{WEEK}/terms", {"attempts": 10**9}), (f"{WEEK}/terms", {"extra": 1}),
        (f"{COURSE}/terms", {"hand_in": {"late": {"days": -1}}}), (f"{COURSE}/terms", {}),
        (f"{COURSE}/terms", {"hand_in": {"late": {"percent": 10}}}),
        (f"{WEEK}/extensions/anna", {"due": "2020-01-01T00:00:00Z", "reason": "x"}),
        (f"{WEEK}/extensions/anna", {"due": "2099-01-01T00:00:00Z", "reason": " "}),
        (f"{WEEK}/extensions/anna", {"due": "2099-01-01T00:00:00Z"}),
        (f"{WEEK}/extensions/anna", {"due": "2099-01-01T00:00:00Z", "reason": "x" * 501}),
        (f"{COURSE}/assignments/week-2/extensions/anna", {"due": "2099-01-01T00:00:00Z", "reason": "geen deadline"}),
    ],
)  # fmt: skip
def test_what_is_no_rule_changes_nothing(alpha: Alpha, path: str, content: dict[str, Any]) -> None:
    alpha.rule(f"{WEEK}/terms", due=ago(days=-1))
    before = alpha["docent"].get(f"{COURSE}/terms").json()
    answer = alpha.rule(path, **content)
    assert answer.status_code == 400 and answer.json()["what"]
    assert alpha["docent"].get(f"{COURSE}/terms").json() == before


@pytest.mark.attack
def test_nobody_but_an_owner_by_way_of_the_course_s_own_server_changes_a_rule(alpha: Alpha) -> None:
    alpha.rule(f"{WEEK}/terms", due=ago(days=1))
    extension = {"due": ago(days=-9), "reason": "x"}
    changes = [
        ("PUT", f"{COURSE}/terms", {"hand_in": late(None)}), ("PUT", f"{WEEK}/terms", {"due": None}),
        ("PUT", f"{WEEK}/extensions/anna", extension), ("DELETE", f"{WEEK}/extensions/anna", {}),
    ]  # fmt: skip
    before = alpha["docent"].get(f"{COURSE}/terms").json()
    for method, path, content in changes:
        # Their own token, also a teacher's: rules change where it is seen who changes them.
        for name in ("anna", "assistent", "inspecteur", "docent", "carla", "beta-docent", "buiten", "course-beta"):
            for by in ("docent", name, "course-alpha"):
                answer = alpha[name].request(method, path, json={**content, "by": by})
                assert answer.status_code in {400, 403}, (name, method, path)
        # The course's server, for somebody who does not own the course.
        for by in ("assistent", "inspecteur", "anna", "beta-docent", "niemand", "../docent", "course-beta", ""):
            answer = alpha["course-alpha"].request(method, path, json={**content, "by": by})
            assert answer.status_code in {400, 403}, (by, method, path)
        assert alpha["course-alpha"].request(method, path, json=content).status_code == 400
    for name in ("anna", "bram", "carla", "buiten", "course-beta"):
        for path in (f"{COURSE}/terms", f"{WEEK}/standings", f"{COURSE}/students"):
            assert alpha[name].get(path).status_code == 403, (name, path)
    for name in ("carla", "docent", "inspecteur"):
        assert alpha[name].get(f"{WEEK}/terms").status_code == 403, "a student's own rules are the student's"
    assert alpha["docent"].get(f"{COURSE}/terms").json() == before
    # The controls: the same requests, for an owner by way of the course's server; and a role that is lost.
    assert [alpha.rule(path, method, **content).status_code for method, path, content in changes[::2]] == [200, 200]
    alpha.site.hub.groups["docent"] = ["grader-alpha"]
    assert alpha.rule(f"{WEEK}/terms", due=None).status_code == 403


@pytest.mark.attack
def test_no_clock_but_the_service_s_says_when_work_came(alpha: Alpha) -> None:
    alpha.rule(f"{COURSE}/terms", hand_in=late(0))
    alpha.rule(f"{WEEK}/terms", due=ago(minutes=5))
    early = "Mon, 02 Nov 2026 10:00:00 GMT"
    forged = {"Date": early, "X-Timestamp": early, "Leerlab-Timestamp": early, "If-Unmodified-Since": early}
    stamped = tree(entry("werk.ipynb"), entry("timestamp.txt"))
    for query in ("", "?timestamp=2026-11-02T10:00:00Z&time=2026-11-02T10:00:00Z&late_seconds=0&attempt=1"):
        for data in (NOTEBOOK, stamped):
            answer = alpha["anna"].post(f"{WEEK}/submissions{query}", content=data, headers={**HEADERS, **forged})
            assert answer.status_code == 409 and answer.json()["code"] == "grading.too_late"
    assert alpha.site.store.submissions("alpha") == []
    # The control: the same bytes while the deadline lies ahead.
    alpha.rule(f"{WEEK}/terms", due=ago(minutes=-5))
    answer = alpha["anna"].post(f"{WEEK}/submissions", content=stamped, headers={**HEADERS, **forged})
    assert answer.status_code == 201 and answer.json()["timestamp"][:4] != "2020" and answer.json()["late_seconds"] == 0


@pytest.mark.attack
def test_an_upload_that_is_played_back_makes_no_second_hand_in_and_works_for_nobody_else(alpha: Alpha) -> None:
    alpha.rule(f"{COURSE}/terms", hand_in=late(0, attempts=3))
    alpha.rule(f"{WEEK}/terms", due=ago(minutes=-5))
    key = {**HEADERS, "Idempotency-Key": "anna-1"}
    first = alpha["anna"].post(f"{WEEK}/submissions", content=NOTEBOOK, headers=key).json()
    assert alpha.hand_in("anna").json()["attempt"] == 2
    # The recorded bytes, with anna's token, now and when the deadline is over.
    assert alpha["anna"].post(f"{WEEK}/submissions", content=NOTEBOOK, headers=key).json() == first
    alpha.rule(f"{WEEK}/terms", due=ago(minutes=5))
    assert alpha["anna"].post(f"{WEEK}/submissions", content=NOTEBOOK, headers=key).json() == first
    assert len(alpha.site.store.submissions("alpha", "week-1", "anna")) == 2
    # By somebody else it is that person's own, and late as anybody's.
    assert alpha["bram"].post(f"{WEEK}/submissions", content=NOTEBOOK, headers=key).status_code == 409
    # The control: without the key the same bytes are a new hand-in, which the rules decide about.
    alpha.rule(f"{WEEK}/terms", due=ago(minutes=-5))
    again = alpha["anna"].post(f"{WEEK}/submissions", content=NOTEBOOK, headers=HEADERS)
    assert again.status_code == 201 and again.json()["attempt"] == 3


@pytest.mark.attack
@pytest.mark.parametrize("name", ["..%2fbram", "course-alpha", "anna%2f..", "%00", "ANNA", "."])
def test_a_name_in_an_extension_s_address_leads_nowhere(alpha: Alpha, name: str) -> None:
    alpha.rule(f"{WEEK}/terms", due=ago(days=-1))
    extension = {"due": ago(days=-9), "reason": "x"}
    assert alpha.rule(f"{WEEK}/extensions/{name}", **extension).status_code in {400, 404, 405}
    assert alpha["docent"].get(f"{COURSE}/terms").json()["assignments"]["week-1"]["extensions"] == {}
    assert alpha.rule(f"{WEEK}/extensions/carla", **extension).status_code == 404, "not a student of this course"
    assert alpha.rule(f"{WEEK}/extensions/anna", **extension).status_code == 200
