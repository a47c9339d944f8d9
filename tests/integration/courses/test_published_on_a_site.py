"""A course published on a site that runs: people see it within seconds, and it goes without taking anything along."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_course import SmallCourse

sys.path.insert(0, str(Path(__file__).parents[1] / "sandboxes"))

from sandbox_people import CompanySite, Person, logged_in, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]
ACCOUNT = "course-klein"
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def people(running_site: Any) -> Iterator[list[Person]]:
    with logged_in(CompanySite(running_site.site, running_site.state), "sanne", "docent") as found:
        yield found


def has_server(person: Person, account: str) -> bool:
    answer = person.hub("GET", f"/users/{account}")
    return answer.status_code == 200 and bool(answer.json().get("servers"))


@pytest.mark.slow
def test_people_who_are_logged_in_see_it_use_it_and_see_it_go(
    running_site: Any, people: list[Person], tmp_path: Path
) -> None:
    sanne, docent = people
    course = SmallCourse(tmp_path / "klein").write()
    course.described("title: {nl: Kwadraten, en: Squares}", f"title: {{nl: 'Kwadraten {SCRIPT}', en: Squares}}")
    command = ("course", "publish", str(course.folder), "--unproven", "--json")
    assert "Kwadraten" not in sanne.see("/").text

    said = json.loads(running_site.leerlab(*command, "--teacher", "docent", "--student", "sanne").stdout)
    assert (said["version"], said["live"], said["assignments"]) == (1, True, {"rekenen": "released"})
    home = sanne.see("/").text
    assert "Kwadraten" in home and SCRIPT not in home and "&lt;script&gt;" in home
    assert sanne.see("/courses/klein").status_code == 200
    assert docent.see("/courses/klein").status_code == 200

    docent.start(ACCOUNT)
    assert docent.visit(ACCOUNT, "formgrader").status_code == 200
    assert sanne.hub("POST", f"/users/{ACCOUNT}/server", json={}).status_code in (403, 404), "a student may not"

    course.append("titel", "Een betere zin.")
    assert json.loads(running_site.leerlab(*command).stdout)["version"] == 2
    listed = {one["id"]: one for one in json.loads(running_site.leerlab("course", "list", "--json").stdout)}
    assert (listed["klein"]["version"], listed["klein"]["versions"]) == (2, [1, 2])

    running_site.leerlab("course", "withdraw", "klein")
    assert "Kwadraten" not in sanne.see("/").text
    assert sanne.see("/courses/klein").status_code == 404
    wait_for("end of the course's server", lambda: not has_server(docent, ACCOUNT))
    assert docent.hub("POST", f"/users/{ACCOUNT}/server", json={}).status_code in (403, 404)
    assert (running_site.state.courses / "klein" / "source" / "rekenen").is_dir()
