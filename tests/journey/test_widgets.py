"""The explorables of the courses in the lab, reached by keyboard: drawn, named, and nothing that axe finds serious."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from accessible import serious
from keyboard import NOTEBOOK, cell_at, go_to_cell, run_cell
from playwright.sync_api import Page, expect
from steps import START, idle

from courses.catalogue import Course

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.timeout(600)]
CODE = Path(__file__).resolve().parents[2]
# That of the mbo course is used, not only looked at, in test_mbo_student.py.
LEARNERS = {"machine-learning": "Noor", "ai-geletterdheid": "Karin", "teach-the-teacher": "Karin"}


def test_every_explorable_is_there_for_everybody(new_site: Callable[..., Any], person: Any) -> None:
    demo = yaml.safe_load((CODE / "hub_config/demo.yaml").read_text())
    site = new_site(courses=demo["courses"], login=demo["login"])
    site.leerlab("up")
    learners = {name: person(name) for name in dict.fromkeys(LEARNERS.values())}
    for learner in learners.values():
        learner.log_in(site.login_link())
    for given in demo["courses"]:
        if given["id"] in LEARNERS:
            course = Course.load(CODE / "courses" / given["folder"])
            look_at(site, learners[LEARNERS[given["id"]]], given["id"], course)


def look_at(site: Any, learner: Any, name: str, course: Course) -> None:
    """Open each assignment, run its first code cell and its explorable, and look at that in light and dark."""
    page: Page = learner.page
    for assignment in course.assignments():
        file = course.source(assignment.id) / f"{assignment.id}.ipynb"
        cells = json.loads(file.read_text())["cells"]
        places = {cell["id"]: place for place, cell in enumerate(cells)}
        page.goto(f"http://portal.{site.site.hub.host}/courses/{name}")
        page.get_by_role("link", name=course.description.assignments[0].title.nl).first.click()
        page.wait_for_url(f"**/lab/tree/{name}/{assignment.id}/**", timeout=START)
        # The lab opens what was open before, and then this one.
        expect(page.locator("#jp-main-statusbar").get_by_text(file.name)).to_be_visible(timeout=START)
        expect(page.locator(NOTEBOOK)).to_be_visible(timeout=START)
        idle(page)
        first = next(place for place, cell in enumerate(cells) if cell["cell_type"] == "code")
        for cell in assignment.explorables:
            for place in dict.fromkeys((first, places[cell])):
                go_to_cell(page, place)
                run_cell(page)
            # Back to it: the lab takes cells away that are out of sight.
            go_to_cell(page, places[cell])
            output = cell_at(page, places[cell]).locator(".jp-OutputArea").first
            expect(output.locator(".jupyter-widgets").first).to_be_visible(timeout=START)
            learner.shows(f"verkennen-{name}")
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                found = serious(page, output)
                assert not found, f"{name}, {scheme}: {json.dumps(found, indent=1)[:3000]}"
