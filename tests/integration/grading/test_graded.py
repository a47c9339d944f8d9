"""Grading with real parts: nbgrader in the course's server, graded code in a Slurm job behind a wall."""

from __future__ import annotations

import re

import pytest
from grading_scripts import API, LAB, fetch_solve_and_submit
from grading_site import Site, last_json

pytestmark = pytest.mark.integration


def test_a_submission_is_graded_in_a_job_and_its_feedback_reaches_the_student(released_site: Site) -> None:
    site, course = released_site, released_site.state.courses / "alpha"
    tokens = {name: site.hub.token(name) for name in ("anna", "bram")}
    answers = {"anna": "def kwadraat(x):\n    return x * x\n", "bram": "def kwadraat(x):\n    return x + x + x\n"}
    for name, answer in answers.items():
        fetch_solve_and_submit(site, name, tokens[name], answer)
    marks = last_json(
        site.course(
            "alpha",
            API
            + """
act("collect")
for name in ("anna", "bram"):
    act("autograde", name)
act("generate_feedback"); act("release_feedback")
print(json.dumps({s["student"]: s["score"] for s in api.get_submissions("week-1")}))
""",
        )
    )
    assert marks == {"anna": 3, "bram": 1}
    assert [folder.name for folder in site.state.jobs.iterdir()] == ["use"]
    graded = (course / "autograded" / "bram" / "week-1" / "kwadraten.ipynb").read_text()
    assert "AssertionError" in graded

    fetched = last_json(
        site.lab(
            "bram",
            tokens["bram"],
            LAB
            + 'before = lister.list_assignments("alpha")["value"][1]["submissions"][0]\n'
            + 'assert before["has_exchange_feedback"] and not before["has_local_feedback"], before\n'
            + 'assert lister.fetch_feedback("alpha", "week-1")["success"]\n'
            + 'print(json.dumps(lister.list_assignments("alpha")["value"][1]["submissions"][0]))',
        )
    )
    assert fetched["has_local_feedback"] and not fetched["feedback_updated"]
    page = site.state.homes / "bram" / fetched["local_feedback_path"] / "kwadraten.html"
    said = page.read_text()
    assert "AssertionError" in said
    # In the language of the notebook, each mark by the name of its task, and a cell that was left alone in plain words.
    assert "Je hebt 1 van de 3 punten." in said and "Score:" not in said
    assert re.search(r'<a href="#test-1">Kwadraten</a> <span class="points full">1 van 1</span>', said)
    assert re.search(r'<a href="#test-2">Kwadraten</a> <span class="points none">0 van 2</span>', said)
