"""Scripts that the tests run in labs and in the course's server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grading_site import Site

LAB = """
import json, sys
from nbgrader.server_extensions.assignment_list.handlers import AssignmentList
lister = AssignmentList(); lister.root_dir = "/home/nb"
"""
API = """
import json
from nbgrader.apps import NbGraderAPI
from nbgrader.apps.baseapp import NbGrader
app = NbGrader(); app.initialize([])
api = NbGraderAPI(app.coursedir, app.authenticator, parent=app)
assert not api.exchange_missing, "formgrader would say that there is no exchange"
def act(action, *names):
    result = getattr(api, action)("week-1", *names)
    assert result["success"], "\\n".join(str(part) for part in result.values())
    return result
"""

FETCH_SOLVE_SUBMIT = (
    LAB
    + """
import nbformat
assert lister.fetch_assignment("alpha", "week-1")["success"]
work = "/home/nb/alpha/week-1/kwadraten.ipynb"
notebook = nbformat.read(work, as_version=4)
for cell in notebook.cells:
    if cell.metadata.get("nbgrader", {}).get("grade_id") == "kwadraat":
        cell.source = ANSWER
notebook.cells += [nbformat.from_dict(cell) for cell in MORE]
nbformat.write(notebook, work)
for name, text in FILES.items():
    open(f"/home/nb/alpha/week-1/{name}", "w").write(text)
result = lister.submit_assignment("alpha", "week-1")
assert result["success"], result
"""
)


def fetch_solve_and_submit(
    site: Site,
    name: str,
    token: str,
    answer: str,
    more: Sequence[Mapping[str, object]] = (),
    files: Mapping[str, str] | None = None,
) -> None:
    """A student's whole way in one lab: nbgrader's buttons, with an answer, more cells and more files in between."""
    given = f"ANSWER, MORE, FILES = {answer!r}, {[dict(cell) for cell in more]!r}, {dict(files or {})!r}\n"
    site.lab(name, token, given + FETCH_SOLVE_SUBMIT)
