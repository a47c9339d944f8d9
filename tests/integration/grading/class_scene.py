"""A class for the tests of a teacher's pages: real hand-ins in the exchange, and a gradebook that nbgrader filled."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
from grading_server import formgrader
from grading_site import Site, last_json

# Anna and Bram are of the site; the others join them. Who is called what ends up in every file.
FORMULA = '=HYPERLINK("http://127.0.0.1/?x="&B2,"klik")'
TITLES = {"anna": "Anna de Vries", "bram": "Bram Öztürk", "cato": FORMULA, "daan": "Daan Smit"}
# Points of test-1 (at most 1) and test-2 (at most 2); None waits for a mark by hand.
MARKS: dict[str, tuple[float, float | None]] = {"anna": (1, 2), "bram": (0, 1.5), "cato": (1, None)}
LATE = "bram"
RETURNED = "anna"
NEVER = "daan"
ONLY_HANDED_IN = "emma"

FILL = """
import json, shutil
from datetime import datetime
from pathlib import Path
from nbgrader.api import Gradebook
GIVEN = json.loads(%(given)r)
with Gradebook("sqlite:////home/nb/gradebook.db", "alpha") as book:
    stamps = {name: datetime.fromisoformat(when.removesuffix(" UTC")) for name, when in GIVEN["stamps"].items()}
    book.update_or_create_assignment("week-1", duedate=datetime.fromisoformat(GIVEN["due"]))
    for name, (first, second) in GIVEN["marks"].items():
        book.add_student(name)
        submission = book.add_submission("week-1", name, timestamp=stamps[name])
        (work,) = submission.notebooks
        work.late_submission_penalty = 0.25 if name == GIVEN["late"] else None
        for grade in work.grades:
            points = {"test-1": first, "test-2": second}[grade.name]
            # What is no whole number was given by a person.
            by_hand = points is not None and points != int(points)
            grade.auto_score, grade.manual_score = (None, points) if by_hand else (points, None)
            grade.needs_manual_grade = points is None
        folder = Path("autograded", name, "week-1")
        folder.mkdir(parents=True)
        shutil.copy("source/week-1/kwadraten.ipynb", folder)
    book.db.commit()
print("{}")
"""


def hand_in(site: Site, student: str) -> str:
    """Hand in one notebook at the exchange; its time as nbgrader writes it."""
    content = b"{}"
    listed = [{"path": "kwadraten.ipynb", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}]
    incoming = site.store.incoming()
    incoming.writer.feed(json.dumps({"files": listed}).encode() + b"\n" + content)
    return site.store.submit("alpha", "week-1", student, incoming).manifest.timestamp


def return_to(site: Site, student: str) -> None:
    """Give feedback on the student's newest work."""
    page = b"<p>Goed</p>"
    listed = [{"path": "kwadraten.html", "size": len(page), "sha256": hashlib.sha256(page).hexdigest()}]
    (deposit,) = site.store.submissions("alpha", "week-1", student)
    incoming = site.store.incoming()
    incoming.writer.feed(json.dumps({"files": listed}).encode() + b"\n" + page)
    site.store.give_feedback("alpha", "week-1", student, deposit.manifest.stamp, incoming, by="course-alpha")


@contextmanager
def class_at_work(site: Site) -> Iterator[httpx.Client]:
    """A teacher's client at the server of a course that has released week-1, with the class's work.

    The deadline has passed. Who is late handed in after it, one person never did.
    """
    site.hub.titles |= TITLES
    site.hub.groups |= {name: ["nbgrader-alpha"] for name in ("cato", NEVER, ONLY_HANDED_IN)}
    stamps = {name: hand_in(site, name) for name in (*MARKS, ONLY_HANDED_IN) if name != LATE}
    due = datetime.now(UTC).replace(tzinfo=None).isoformat()
    stamps[LATE] = hand_in(site, LATE)
    return_to(site, RETURNED)
    given = {"stamps": stamps, "marks": MARKS, "late": LATE, "due": due}
    last_json(site.course("alpha", FILL % {"given": json.dumps(given)}))
    with formgrader(site) as page:
        yield page


def screenshots() -> Path:
    """Where pictures of pages go."""
    folder = Path(os.environ["LEERLAB_BUILD"]) / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
