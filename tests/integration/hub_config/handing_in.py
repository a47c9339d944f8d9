"""Students of a running site who hand in over the exchange, as code in their lab does, and the marks they got."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import nbformat
from whole_site import Visitor

from courses.model import Track
from courses.toolkit.new import new_course
from grading.tree import MEDIA_TYPE, describe, stream

COURSE, ASSIGNMENT, OTHER = "les", "eerste-opdracht", "ai-in-je-vak"
LOOP = "while True:\n    pass"


def site_with_a_course(folder: Path, rule: str) -> dict[str, Any]:
    """Sections of a site.yaml with the demo's first course, and one that is graded by a rule.

    Args:
        folder: where the course is made.
        rule: what its course.yaml says.
    """
    made = new_course(folder / COURSE, Track.MBO)
    description = made / "course.yaml"
    description.write_text(f"{description.read_text()}\ngrade: {rule}\n")
    course = {"id": COURSE, "folder": str(made), "profile": "cpu-small", "released": [ASSIGNMENT]}
    other = {"id": OTHER, "folder": f"mbo/{OTHER}", "profile": "cpu-small", "released": ["herken-ai"]}
    students = [
        {"name": name, "title": name.title(), "groups": [f"nbgrader-{COURSE}"]} for name in ("sanne", "jelmer", "noor")
    ]
    teacher = {"name": "docent", "title": "Docent", "groups": [f"formgrade-{COURSE}"]}
    return {
        "courses": [course, other],
        "login": {"kind": "demo", "people": [*students, teacher]},
        "grading": {"profile": "cpu-small", "cell_time": "40s", "notebook_time": "2m"},
    }


def service_of(site: Any, token: str) -> httpx.Client:
    """The grading service, as whoever has a token reaches it from a lab."""
    transport = httpx.HTTPTransport(uds=str(site.state.run / "grading.sock"))
    headers = {"Authorization": f"token {token}"}
    return httpx.Client(transport=transport, base_url="http://grading", headers=headers, timeout=60)


def own_token(visitor: Visitor) -> str:
    """A token that may do what the token of a person's own server may do in the exchange."""
    xsrf = visitor.browser.token("/hub/token")
    scopes = [f"access:servers!user={visitor.name}", f"users:activity!user={visitor.name}"]
    path = f"/hub/api/users/{visitor.name}/tokens"
    answer = visitor.browser.post(path, headers={"X-XSRFToken": xsrf}, json={"scopes": scopes, "expires_in": 3600})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


def hand_in(site: Any, token: str, folder: Path, *, right: bool, more: str = "") -> dict[str, Any]:
    """Hand the assignment in, with the teacher's solution or with nothing; gives the receipt.

    Args:
        folder: for the files; made anew.
        right: whether it is solved.
        more: code at the end of the first cell that has a solution.
    """
    shutil.rmtree(folder, ignore_errors=True)
    released = sorted((site.state.exchange / COURSE / "released" / ASSIGNMENT).iterdir())[-1]
    shutil.copytree(released / "files", folder)
    source = nbformat.read(site.state.courses / COURSE / "source" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb", 4)
    solutions = {cell.metadata.nbgrader.grade_id: cell.source for cell in source.cells if _to_solve(cell)}
    notebook = nbformat.read(folder / f"{ASSIGNMENT}.ipynb", 4)
    for cell in notebook.cells:
        if _to_solve(cell):
            cell.source = solutions[cell.metadata.nbgrader.grade_id] if right else cell.source
            cell.source, more = f"{cell.source}\n{more}", ""
    nbformat.write(notebook, folder / f"{ASSIGNMENT}.ipynb")
    with service_of(site, token) as service:
        answer = service.post(
            f"/exchange/courses/{COURSE}/assignments/{ASSIGNMENT}/submissions",
            content=b"".join(stream(folder, describe(folder))), headers={"Content-Type": MEDIA_TYPE},
        )  # fmt: skip
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def _to_solve(cell: Any) -> bool:
    about = cell.metadata.get("nbgrader", {})
    return bool(about.get("solution")) and not about.get("grade") and cell.cell_type == "code"


def marks(site: Any) -> dict[str, float]:
    """What the tests gave each student who was graded, as the gradebook has it."""
    book = site.state.courses / COURSE / "gradebook.db"
    question = (
        "select a.student_id, sum(g.auto_score) from grade g join submitted_notebook n on g.notebook_id = n.id "
        "join submitted_assignment a on n.assignment_id = a.id where g.auto_score is not null group by a.student_id"
    )
    with closing(sqlite3.connect(f"file:{book}?mode=ro", uri=True)) as connection:
        return dict(connection.execute(question).fetchall())


def standing(site: Any) -> dict[str, Any]:
    """What an operator's command says of the assignment's runs."""
    told = json.loads(site.leerlab("grade", COURSE, ASSIGNMENT, "--status", "--json").stdout)
    return dict(told[0])
