"""Work that was changed where it should not be, or that lost cells: the right marks, and plain words for both sides."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
from grading_assignment import solve
from grading_browser import browser_at
from grading_server import formgrader
from grading_site import Site, wait_until
from nbformat import NotebookNode
from playwright.sync_api import expect

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

RIGHT = "def kwadraat(x):\n    return x * x\n"
WRONG = "def kwadraat(x):\n    return x + x\n"
DROPS = (
    "get_ipython().input_transformers_post.append(\n"
    "    lambda lines: ['pass\\n' if 'assert' in line else line for line in lines])\n"
)
Change = Callable[[NotebookNode], None]


def called(work: NotebookNode, name: str) -> NotebookNode:
    return next(cell for cell in work.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == name)


def copied(cell: NotebookNode, source: str | None = None) -> NotebookNode:
    copy = nbformat.v4.new_code_cell(cell.source if source is None else source)
    copy.metadata = NotebookNode(json.loads(json.dumps(cell.metadata)))
    return copy


def edits(work: NotebookNode) -> None:
    called(work, "test-1").source = "assert True"


def removes(work: NotebookNode) -> None:
    work.cells = [cell for cell in work.cells if not called_test(cell)]


def called_test(cell: NotebookNode) -> bool:
    return str(cell.metadata.get("nbgrader", {}).get("grade_id", "")).startswith("test")


def copies_a_test_to_the_end(work: NotebookNode) -> None:
    work.cells += [nbformat.v4.new_code_cell("kwadraat = None"), copied(called(work, "test-1"))]


def copies_a_test_to_the_front(work: NotebookNode) -> None:
    work.cells.insert(0, copied(called(work, "test-2")))


def copies_the_answer(work: NotebookNode) -> None:
    work.cells.append(copied(called(work, "kwadraat"), "print('probeersel')"))


def wants_more(work: NotebookNode) -> None:
    called(work, "test-1").metadata["nbgrader"]["points"] = 50
    called(work, "kwadraat").metadata["nbgrader"] |= {"grade": True, "points": 40}


def calls_a_test_an_answer(work: NotebookNode) -> None:
    called(work, "test-1").metadata["nbgrader"] |= {"solution": True, "locked": False}
    called(work, "test-2").metadata["nbgrader"]["grade"] = False


def makes_text_of_a_test(work: NotebookNode) -> None:
    cell = called(work, "test-2")
    cell.cell_type = "markdown"
    del cell["outputs"], cell["execution_count"]


def brings_others(work: NotebookNode) -> None:
    other = copied(called(work, "test-1"), "1 / 0")
    other.metadata["nbgrader"]["grade_id"] = "uit-week-2"
    work.cells.append(other)


def flags_itself(work: NotebookNode) -> None:
    work.metadata["leerlab"] = {"flags": [{"code": "checks-forged", "cell": "", "number": 0, "what": []}]}


def nothing(work: NotebookNode) -> None:
    """Hands in as it was given out."""


# What each hands in, its marks for the two tests, and what the teacher is told.
WORK: Mapping[str, tuple[str, Change, list[float], set[str]]] = {
    "anna": (RIGHT, nothing, [1, 2], set()),
    "bram": (WRONG, edits, [0, 0], {"test-changed"}),
    "cas": (WRONG, removes, [0, 0], {"test-deleted"}),
    "daan": (RIGHT, removes, [1, 2], {"test-deleted"}),
    "eva": (RIGHT, copies_a_test_to_the_end, [1, 2], {"cell-copied"}),
    "fleur": (RIGHT, copies_a_test_to_the_front, [1, 2], {"cell-copied"}),
    "gijs": (RIGHT, copies_the_answer, [1, 2], {"cell-copied"}),
    "hanna": (WRONG, wants_more, [0, 0], {"test-changed"}),
    "iris": (WRONG, calls_a_test_an_answer, [0, 0], {"test-changed"}),
    "jan": (WRONG, makes_text_of_a_test, [0, 0], {"test-changed"}),
    "koen": (RIGHT, brings_others, [1, 2], {"cell-unknown"}),
    "lotte": (RIGHT, flags_itself, [1, 2], set()),
    "mats": (WRONG + DROPS, nothing, [1, 2], {"checks-forged", "hooks"}),
    "noor": ("while True:\n    pass\n", nothing, [0, 0], {"too-long"}),
    "otis": ("import os\nos._exit(1)\n", nothing, [0, 0], {"python-ended"}),
    "pien": ("import time\nvol = [b'x' * 2**20 for _ in range(2**14)]\n" + RIGHT, nothing, [0, 0], set()),
}  # fmt: skip
ACCUSES = ("tampered", "geknoeid", "forged", "vervalst", "Good to know", "Goed om te weten", "checks-forged")


def hand_in(site: Site, name: str, answer: str, change: Change) -> None:
    """Put work where a course collects it, as the service does that takes it in."""
    site.hub.groups[name] = ["nbgrader-alpha"]
    incoming = site.store.incoming_copy(site.store.release_of("alpha", "week-1").files)
    file = incoming.folder / "files" / "kwadraten.ipynb"
    solve(file, answer)
    work = nbformat.read(file, as_version=4)
    change(work)
    nbformat.write(work, file)
    again = site.store.incoming_copy(incoming.folder / "files")
    incoming.give_up()
    site.store.submit("alpha", "week-1", name, again)


@contextmanager
def graded(site: Site, *names: str) -> Iterator[httpx.Client]:
    """A course's server, in which all work of some people was graded at once and has its feedback."""
    for name in names:
        if name in WORK:
            hand_in(site, name, *WORK[name][:2])
    with formgrader(site) as page:
        assert page.post("formgrader/api/assignment/week-1/collect").json()["success"]
        page.post("formgrader/api/assignment/week-1/class_run")

        def ended() -> dict[str, Any]:
            run: dict[str, Any] = page.get("formgrader/api/assignment/week-1/class_run").json()
            return {} if run["running"] else run

        run = wait_until(ended, 240)
        assert (run["done"], run["failed"]) == (len(names), {})
        yield page


def marks_of(page: httpx.Client, name: str) -> list[float]:
    (work,) = [
        one for one in page.get("formgrader/api/submitted_notebooks/week-1/kwadraten").json() if one["student"] == name
    ]
    grades = page.get("formgrader/api/grades", params={"submission_id": work["id"]}).json()
    assert {one["name"]: one["max_score"] for one in grades} == {"test-1": 1, "test-2": 2}
    return [one["auto_score"] for one in sorted(grades, key=lambda one: str(one["name"]))]


def flags_of(site: Site, name: str) -> list[dict[str, Any]]:
    file = site.state.courses / "alpha" / "autograded" / name / "week-1" / "kwadraten.ipynb"
    return list(json.loads(file.read_text())["metadata"].get("leerlab", {}).get("flags", []))


def test_changed_work_has_the_marks_that_it_deserves_and_its_teacher_is_told(released_site: Site) -> None:
    site = released_site
    with graded(site, *WORK) as page:
        found = {name: (marks_of(page, name), {one["code"] for one in flags_of(site, name)}) for name in WORK}
        assert found == {name: (marks, told) for name, (_, _, marks, told) in WORK.items()}
        shown = page.get("formgrader/manage_submissions/week-1").text
        row = shown.partition('<tr data-student="mats">')[2].partition("</tr>")[0]
        assert "Er is met een controle geknoeid." in row and 'data-flag="hooks"' in row
        for name in ("anna", "koen", "lotte"):
            assert "data-flag" not in shown.partition(f'<tr data-student="{name}">')[2].partition("</tr>")[0]

        # Graded again, one by one: the same, and not twice.
        before = flags_of(site, "bram")
        assert page.post("formgrader/api/submission/week-1/bram/autograde").json()["success"]
        assert (flags_of(site, "bram"), marks_of(page, "bram")) == (before, [0, 0])

        assert page.post("formgrader/api/assignment/week-1/generate_feedback").json()["success"]
    pages = {
        name: (site.state.courses / "alpha/feedback" / name / "week-1/kwadraten.html").read_text() for name in WORK
    }
    for name, text in pages.items():
        assert not [word for word in ACCUSES if word in text], name
    assert "omdat hij langer duurde dan 15 seconden" in pages["noor"]
    assert "Python stopte terwijl deze cel liep." in pages["otis"]
    assert "Deze cel had meer geheugen nodig dan er is." in pages["pien"]
    for name in ("noor", "otis"):
        assert "DeadKernelError" not in pages[name] and "CellTimeoutError" not in pages[name]


def in_english(work: NotebookNode) -> None:
    work.cells.insert(0, nbformat.v4.new_code_cell('from leerlab_lab import lesson\nlesson.language("en")'))


@pytest.mark.slow
def test_a_teacher_reads_what_to_know_of_a_piece_of_work_and_what_to_do(released_site: Site) -> None:
    site = released_site
    pictures = Path(os.environ["LEERLAB_BUILD"]) / "screenshots"
    pictures.mkdir(parents=True, exist_ok=True)
    hand_in(site, "quin", "while True:\n    pass\n", in_english)
    hand_in(site, "ruud", "import os\nos._exit(1)\n", in_english)
    with graded(site, "anna", "bram", "mats", "noor", "quin", "ruud") as page:
        assert page.post("formgrader/api/assignment/week-1/generate_feedback").json()["success"]
        work = {
            one["student"]: one["id"] for one in page.get("formgrader/api/submitted_notebooks/week-1/kwadraten").json()
        }
        for language, width in (("nl-NL", 1280), ("en-GB", 390), ("nl-NL", 390), ("en-GB", 1280)):
            dutch = language == "nl-NL"
            with browser_at(page, language, width) as browser:
                browser.goto(f"{page.base_url}formgrader/manage_submissions/week-1/")
                row = browser.locator("tr[data-student=mats]")
                row.get_by_text("Tests niet betrouwbaar" if dutch else "Tests not to be relied upon").click()
                expect(
                    row.get_by_text("Er is met een controle geknoeid." if dutch else "A check was tampered with.")
                ).to_be_visible()
                browser.screenshot(path=pictures / f"flags-list-{language[:2]}-{width}.png", full_page=True)
                browser.goto(f"{page.base_url}formgrader/submissions/{work['mats']}/")
                expect(
                    browser.get_by_role(
                        "region", name="Goed om te weten over dit werk" if dutch else "Good to know of this work"
                    )
                ).to_be_visible()
                browser.screenshot(path=pictures / f"flags-work-{language[:2]}-{width}.png")
                sideways = browser.evaluate("document.documentElement.scrollWidth - window.innerWidth")
                assert sideways <= 0, f"{sideways} pixels too wide"
                for name in ("quin", "noor"):
                    feedback = site.state.courses / "alpha/feedback" / name / "week-1/kwadraten.html"
                    browser.set_content(feedback.read_text())
                    browser.screenshot(path=pictures / f"lost-{name}-{width}.png")
    said = {
        name: (site.state.courses / "alpha/feedback" / name / "week-1/kwadraten.html").read_text()
        for name in ("quin", "ruud")
    }
    assert "because it took longer than 15 seconds" in said["quin"]
    assert "Python stopped while this cell ran." in said["ruud"]
