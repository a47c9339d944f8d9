"""Owner, grader and reader of a course: what each may do, route by route of the real application."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest
from grading_server import UNGUARDED, formgrader
from grading_site import Site, wait_until
from test_teachers_pages import graded, log_of_grading

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

# The server as it is, which writes down its routes once it is complete.
ROUTES = """
import json, re
from tornado.ioloop import IOLoop
from tornado.web import RequestHandler
from leerlab_lab.formgrader import CourseSingleUser
from leerlab_lab.formgrader.access import CHANGES, READS, Guard, least_role

def rules(router):
    for rule in router.rules:
        if hasattr(rule.target, "rules"):
            yield from rules(rule.target)
        elif hasattr(rule.matcher, "regex"):
            yield rule.matcher.regex.pattern, rule.target

def write(application):
    found = []
    for pattern, handler in rules(application.default_router):
        path = pattern.removeprefix("^").removesuffix("$").replace("\\\\-", "-")
        path = path.removeprefix("/user/course-alpha").removesuffix("/?")
        path = re.sub(r"\\((?:\\?P<\\w+>)?(?:[^()]|\\([^()]*\\))*\\)", "x", path)
        for method in RequestHandler.SUPPORTED_METHODS:
            if getattr(handler, method.lower()) is not getattr(RequestHandler, method.lower()):
                named = any(one.method == method and re.fullmatch(one.path, path) for one in CHANGES)
                found.append([method, path, handler.__name__, least_role(method, path), named, method in READS])
    with open("/home/nb/routes.json", "w") as file:
        json.dump(found, file)

stand_before = Guard.stand_before
def and_write(self, application):
    stand_before(self, application)
    IOLoop.current().add_callback(write, application)
Guard.stand_before = and_write
CourseSingleUser.launch_instance()
"""
# Only lead to the address that is decided about.
REDIRECTS = {"TrailingSlashHandler", "RedirectWithParams"}


def routes_of(site: Site) -> list[list[Any]]:
    """Every route of a course's server: method, an example of its path, handler, least role, named, reading."""
    with formgrader(site, program=ROUTES):
        routes: list[list[Any]] = json.loads((site.state.courses / "alpha" / "routes.json").read_text())
    return routes


def as_person(page: httpx.Client, site: Site, name: str) -> dict[str, str]:
    """Headers of somebody whom the hub lets into the course's server."""
    return {"Authorization": f"token {site.hub.token(name, ['access:servers!server=course-alpha/'])}"}


@pytest.mark.attack
def test_every_route_that_changes_something_is_refused_to_who_may_not(site: Site) -> None:
    routes = [route for route in routes_of(site) if route[2] not in REDIRECTS]
    assert len(routes) > 40
    changes = [route for route in routes if not route[5]]
    unnamed = [route for route in changes if not route[4]]
    assert not unnamed, f"add these to leerlab_lab.formgrader.access.CHANGES: {unnamed}"
    open_to_all = {route[1] for route in routes if route[3] is None}
    assert open_to_all <= {
        "/api", "/logout", "/login", "/oauth_callback", "/static/x", "/favicon.ico", "/robots.txt", "/x",
        "/formgrader/portal/x", "/formgrader/own/x",
    }, open_to_all  # fmt: skip
    with formgrader(site) as page:
        inspecteur, assistent = as_person(page, site, "inspecteur"), as_person(page, site, "assistent")
        strangers = [as_person(page, site, name) for name in ("anna", "buiten", "beta-docent")]
        for method, address, _, least, _, _ in changes:
            path = address.lstrip("/")
            for headers in (inspecteur, *strangers, *([assistent] if least == "owner" else [])):
                answer = page.request(method, path, headers=headers, json={})
                assert answer.status_code == 403, (method, path)
                assert answer.json()["code"] == "grading.role" and answer.json()["said"]
            assert page.request(method, path, headers={"Authorization": ""}, json={}).status_code == 403
        # The controls: the least that may is not refused for its role, by the same requests.
        for method, path, _, least, _, _ in changes:
            headers = assistent if least == "grader" else {}
            answer = page.request(method, path.lstrip("/"), headers=headers, json={})
            assert "grading.role" not in answer.text, (method, path, answer.text)
        for path in ("formgrader/manage_assignments", "formgrader/api/assignments", "formgrader/api/students"):
            assert page.get(path, headers=inspecteur).status_code == 200
            for headers in strangers:
                seen = page.get(path, headers=headers, follow_redirects=True)
                assert seen.status_code == 403 and "geen rol" in seen.text


FORGOTTEN = """
from leerlab_lab import formgrader
from nbgrader.server_extensions.formgrader.base import BaseApiHandler
class Forgotten(BaseApiHandler):
    def post(self):
        self.write({"done": True})
known = formgrader.own_handlers
formgrader.own_handlers = lambda around: [*known(around), ("/formgrader/api/forgotten", Forgotten)]
formgrader.CourseSingleUser.launch_instance()
"""


@pytest.mark.attack
def test_a_route_that_nobody_thought_of_is_for_owners(site: Site) -> None:
    with formgrader(site, program=FORGOTTEN) as page:
        for name in ("inspecteur", "assistent", "anna", "beta-docent"):
            answer = page.post("formgrader/api/forgotten", headers=as_person(page, site, name))
            assert answer.status_code == 403 and answer.json()["needs"] == "owner", name
        assert page.post("formgrader/api/forgotten", headers={"Authorization": ""}).status_code == 403
        assert page.post("formgrader/api/forgotten").json() == {"done": True}


@pytest.mark.attack
def test_without_the_guard_the_same_requests_of_a_reader_and_a_student_work(site: Site) -> None:
    """The positive control: the same server and requests, with the one place that decides taken away."""
    with formgrader(site, program=UNGUARDED) as page:
        for name in ("inspecteur", "anna"):
            answer = page.put("formgrader/api/student/eve", json={}, headers=as_person(page, site, name))
            assert answer.status_code == 200, name
            assert page.get("formgrader/api/students", headers=as_person(page, site, name)).json()


@pytest.mark.attack
def test_what_a_browser_says_of_itself_gives_no_role(site: Site) -> None:
    with formgrader(site) as page:
        forged = {
            "X-JupyterHub-User": "docent", "X-Forwarded-User": "docent", "X-Leerlab-Role": "owner",
            "X-HTTP-Method-Override": "GET", "Cookie": "role=owner; groups=formgrade-alpha",
        }  # fmt: skip
        headers = {**as_person(page, site, "inspecteur"), **forged}
        body = {"role": "owner", "groups": ["formgrade-alpha"], "seen": None}
        for query in ("", "?role=owner&user=docent", "?_method=GET"):
            answer = page.put(f"formgrader/api/student/eve{query}", json=body, headers=headers)
            assert answer.status_code == 403
        for path in (
            "formgrader/api//student/eve", "formgrader/./api/student/eve", "formgrader/api/student/eve/",
            "formgrader/api/assignment/collect/release", "formgrader/api/assignment/x%2fcollect/release",
        ):  # fmt: skip
            for name in ("inspecteur", "assistent"):
                answer = page.post(path, headers=as_person(page, site, name), json={})
                assert answer.status_code in {302, 403, 404}, (path, answer.status_code)
        assert page.get("formgrader/api/students").json() == []


def test_a_role_that_is_taken_away_or_given_counts_within_seconds(site: Site) -> None:
    with formgrader(site) as page:
        headers = as_person(page, site, "assistent")
        flag = "formgrader/api/submitted_notebook/x/flag"
        assert page.post(flag, headers=headers).status_code == 404
        began = time.monotonic()
        site.hub.groups["assistent"] = ["reader-alpha"]
        wait_until(lambda: page.post(flag, headers=headers).status_code == 403)
        assert time.monotonic() - began < 30, "a machine may be slow; the cache is five seconds"
        site.hub.groups["assistent"] = ["grader-alpha"]
        wait_until(lambda: page.post(flag, headers=headers).status_code == 404)


@pytest.mark.slow
def test_of_two_graders_who_mark_the_same_work_the_second_is_told(site: Site) -> None:
    with graded(site) as page:
        log_of_grading(page, "anna")
        (work,) = page.get("formgrader/api/submitted_notebooks/week-1/kwadraten").json()
        grades = page.get("formgrader/api/grades", params={"submission_id": work["id"]}).json()
        grade = next(one for one in grades if one["max_score"] == 2)
        address = f"formgrader/api/grade/{grade['id']}"
        mine, other = dict(grade), as_person(page, site, "assistent")
        first = page.put(address, json={**grade, "manual_score": 1, "seen": grade}, headers=other)
        assert first.status_code == 200
        second = page.put(address, json={**mine, "manual_score": 0, "seen": mine})
        assert second.status_code == 409 and second.json()["now"]["manual_score"] == 1
        assert page.get(address).json()["manual_score"] == 1
        # Who has seen it may.
        seen = second.json()["now"]
        assert page.put(address, json={**seen, "manual_score": 0, "seen": seen}).json()["manual_score"] == 0
        (comment,) = page.get("formgrader/api/comments", params={"submission_id": work["id"]}).json()
        place = f"formgrader/api/comment/{comment['id']}"
        assert page.put(place, json={"manual_comment": "a", "seen": comment}, headers=other).status_code == 200
        late = page.put(place, json={"manual_comment": "b", "seen": comment})
        assert late.status_code == 409 and late.json()["now"]["manual_comment"] == "a"
