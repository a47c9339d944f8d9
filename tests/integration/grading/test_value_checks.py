"""A class that is graded by value checks: the marks and sentences that each gets alone, and no leak in feedback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
from grading_assignment import solve, write_source
from grading_scripts import API
from grading_server import formgrader
from grading_site import Site, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

CHECKS = """from leerlab_lab.checks import check
check(kwadraat(2), gives=4, wrong={0: "Je geeft niets terug."})
### BEGIN HIDDEN TESTS
check(kwadraat(8191), gives=67092481, wrong={16382: "Je telt op in plaats van te vermenigvuldigen."})
### END HIDDEN TESTS
"""
MIXED = "from leerlab_lab.checks import check\ncheck(kwadraat(3), gives=9)\nassert kwadraat(0) == 0\n"
ANSWERS = {
    "anna": "def kwadraat(x):\n    return x * x\n",
    "bram": "def kwadraat(x):\n    return {2: 4, 3: 9}.get(x, x + x)\n",
    "cas": (
        "import leerlab_lab.checks\nleerlab_lab.checks.check = lambda *_, **__: None\n"
        "def kwadraat(x):\n    print(x)\n    raise ValueError(x)\n"
    ),
    "daan": "def kwadraat(x):\n    while x > 99:\n        pass\n    return x * x\n",
}
MARKS = {"anna": 3.0, "bram": 1.0, "cas": 0.0, "daan": 1.0}
SAID = {
    "anna": "Alle 2 controles kloppen.", "bram": "Je telt op in plaats van te vermenigvuldigen.",
    "cas": "Je code stopt hier met een fout.", "daan": "Je code gaf hier geen antwoord",
}  # fmt: skip
RUN = "formgrader/api/assignment/week-1/class_run"


@pytest.fixture
def teacher(site: Site) -> Iterator[tuple[Site, httpx.Client]]:
    """A course's server; everybody has handed in an assignment with value checks, and all was collected."""
    folder = write_source(site.state.courses / "alpha")
    notebook = nbformat.read(folder / "kwadraten.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    sources = {"test-1": MIXED, "test-2": CHECKS}
    for cell in notebook.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        cell.source = sources.get(name, cell.source)
    nbformat.write(notebook, folder / "kwadraten.ipynb")  # type: ignore[no-untyped-call]
    site.course("alpha", API + "act('generate_assignment'); act('release_assignment')")
    for name, answer in ANSWERS.items():
        site.hub.groups[name] = ["nbgrader-alpha"]
        incoming = site.store.incoming_copy(site.store.release_of("alpha", "week-1").files)
        solve(incoming.folder / "files" / "kwadraten.ipynb", answer)
        again = site.store.incoming_copy(incoming.folder / "files")
        incoming.give_up()
        site.store.submit("alpha", "week-1", name, again)
    with formgrader(site) as page:
        assert page.post("formgrader/api/assignment/week-1/collect").json()["success"]
        yield site, page


def marks(page: httpx.Client) -> dict[str, float | None]:
    found = page.get("formgrader/api/submissions/week-1").json()
    return {one["student"]: one["score"] if one["autograded"] else None for one in found}


def verdicts(course: Path) -> dict[str, str]:
    """What stands in the cell with the value checks, by student."""
    found = {}
    for name in ANSWERS:
        notebook: Any = json.loads((course / "autograded" / name / "week-1" / "kwadraten.ipynb").read_text())
        cell = next(one for one in notebook["cells"] if one["metadata"].get("nbgrader", {}).get("grade_id") == "test-2")
        found[name] = "".join("".join(one.get("text", one.get("evalue", ""))) for one in cell["outputs"])
    return found


@pytest.mark.attack
def test_a_class_is_marked_by_value_checks_and_nothing_hidden_comes_back(teacher: tuple[Site, httpx.Client]) -> None:
    site, page = teacher
    course = site.state.courses / "alpha"
    page.post(RUN)
    run = dict(wait_until(lambda: (told := page.get(RUN).json()) and not told["running"] and told, 250))
    assert (run["done"], run["failed"]) == (len(ANSWERS), {})
    assert marks(page) == MARKS
    said = verdicts(course)
    assert all(SAID[name] in said[name] for name in ANSWERS), said
    # The teacher hears of the cell that was no value check.
    assert all("test-1 imports check and has other code as well" in " ".join(run["noted"][name]) for name in ANSWERS)
    # One by one it is the same, by nbgrader's own command.
    for name in ("bram", "cas"):
        assert page.post(f"formgrader/api/submission/week-1/{name}/autograde").json()["success"]
    assert marks(page) == MARKS and verdicts(course) == said
    site.course("alpha", API + "act('generate_feedback')")
    for name in ANSWERS:
        html = (course / "feedback" / name / "week-1" / "kwadraten.html").read_text()
        assert "8191" not in html and "67092481" not in html, name
        assert SAID[name] in html
