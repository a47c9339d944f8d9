"""The same work graded as a site does it: everybody's by the teacher's one button, and one submission at a time."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from equal_sources import write_source
from equal_work import Work
from grading_server import formgrader
from grading_site import Site, wait_until

COURSE = "alpha"
_API = """
from nbgrader.apps import NbGraderAPI
from nbgrader.apps.baseapp import NbGrader
app = NbGrader(); app.initialize([])
api = NbGraderAPI(app.coursedir, app.authenticator, parent=app)
"""
_GENERATE = """
for assignment in WORK:
    result = api.generate_assignment(assignment)
    assert result["success"], result
"""
_ALONE = """
FAILED = {}
for assignment, students in WORK.items():
    for student in students:
        result = api.autograde(assignment, student)
        if not result["success"]:
            FAILED[f"{assignment}/{student}"] = result["log"][-2000:] + str(result["error"])[-2000:]
"""
_SAY = """
said = {}
for assignment, students in WORK.items():
    for student in students:
        name = f"{assignment}/{student}"
        told = {"failed": FAILED[name]} if name in FAILED else {"marks": marks_of(api, assignment, student)}
        said[name] = {**told, "outputs": outputs_of(Path("autograded", student, assignment))}
Path("said.json").write_text(json.dumps(said))
"""


def graded_together(works: Iterable[Work], site: Site, seconds: float) -> dict[str, dict[str, Any]]:
    """What a run over everybody's work makes of it, for all assignments at once.

    Args:
        works: what is graded.
        site: whose course alpha has nothing of the same assignments yet.
        seconds: most that the runs may take.

    Returns:
        By the work's name: `marks` or `failed`, and `outputs`.
    """
    asked = _handed_in(works, site)
    _script(site, asked, {}, _GENERATE, seconds)
    with formgrader(site) as page:
        for assignment in asked:
            begun = page.post(_run(assignment))
            assert begun.status_code == 202 and begun.json()["total"] == len(asked[assignment]), begun.text
        ended = {assignment: wait_until(lambda each=assignment: _ended(page, each), seconds) for assignment in asked}
    failed = {
        f"{assignment}/{student}": why for assignment, run in ended.items() for student, why in run["failed"].items()
    }
    return _script(site, asked, failed, _SAY, seconds)


def graded_alone(works: Iterable[Work], site: Site, seconds: float) -> dict[str, dict[str, Any]]:
    """What nbgrader's own autograde makes of work in a course's server, one after the other; as `graded_together`."""
    return _script(site, _handed_in(works, site), {}, _GENERATE + _ALONE + _SAY, seconds)


def _handed_in(works: Iterable[Work], site: Site) -> dict[str, list[str]]:
    """Put work and its sources into the course; gives the students of each assignment."""
    course = site.state.courses / COURSE
    asked: dict[str, list[str]] = defaultdict(list)
    for work in works:
        asked[work.assignment].append(work.student)
        work.write(course)
    for assignment in asked:
        write_source(course, assignment)
    return dict(asked)


def _script(
    site: Site, asked: Mapping[str, Sequence[str]], failed: Mapping[str, str], script: str, seconds: float
) -> dict[str, dict[str, Any]]:
    """Run a script in the course's server; gives what it said."""
    marks = Path(__file__).with_name("equal_marks.py").read_text()
    site.course(COURSE, f"{marks}\nWORK, FAILED = {asked!r}, {failed!r}\n{_API}{script}", seconds)
    told = site.state.courses / COURSE / "said.json"
    if not told.exists():
        return {}
    said: dict[str, dict[str, Any]] = json.loads(told.read_text())
    assert said.keys() == {f"{assignment}/{student}" for assignment in asked for student in asked[assignment]}
    return said


def _run(assignment: str) -> str:
    return f"formgrader/api/assignment/{assignment}/class_run"


def _ended(page: httpx.Client, assignment: str) -> dict[str, Any]:
    run: dict[str, Any] = page.get(_run(assignment)).json()
    return {} if run["running"] else run
