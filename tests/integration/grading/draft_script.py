"""What test_draft.py runs in the notebook environment: `draft_script.py SCENARIO DATABASE_URL DRIVERS`.

Each scenario begins with a gradebook of one assignment: two tests (1 and 2 points), an open question (4 points), and
the graded work of anna, who has both tests wrong and 3 points by hand for the question.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

# The drivers of databases that only the hub's environment has come after all that this environment has.
sys.path += sys.argv[3:4]

from leerlab_lab.formgrader import draft as module
from leerlab_lab.formgrader import plan as plans
from leerlab_lab.formgrader.differences import Way, as_csv, compared
from leerlab_lab.formgrader.draft import Draft, NotTheSameTests, Sheet, read, settle
from leerlab_lab.formgrader.steps import patiently
from nbgrader.api import Gradebook
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from traitlets.config import Config, LoggingConfigurable

WEEK = "week-1"
DUE = datetime(2026, 11, 1, 12)  # noqa: DTZ001  nbgrader keeps UTC without saying so
IN_TIME, LATE = DUE - timedelta(hours=1), DUE + timedelta(hours=1)


def make(url: str) -> None:
    with Gradebook(url, "alpha") as book:
        book.add_assignment(WEEK, duedate=DUE, course_id="alpha")
        book.add_notebook("kwadraten", WEEK)
        book.add_solution_cell("kwadraat", "kwadraten", WEEK)
        book.add_grade_cell("test-1", "kwadraten", WEEK, max_score=1, cell_type="code")
        book.add_grade_cell("test-2", "kwadraten", WEEK, max_score=2, cell_type="code")
        book.add_grade_cell("vraag", "kwadraten", WEEK, max_score=4, cell_type="markdown")
        for name in ("kwadraat", "test-1", "test-2", "vraag"):
            about = {"cell_type": "code", "locked": True, "source": f"# {name}", "checksum": name}
            book.add_source_cell(name, "kwadraten", WEEK, **about)
        for student in ("anna", "bram"):
            book.add_student(student)
        book.add_submission(WEEK, "anna", timestamp=IN_TIME)
        give(book, "anna", {"test-1": 0.0, "test-2": 0.0})
        grade = book.find_grade("vraag", "kwadraten", WEEK, "anna")
        grade.manual_score, grade.extra_credit, grade.needs_manual_grade = 3.0, 0.5, False
        book.find_comment("kwadraat", "kwadraten", WEEK, "anna").manual_comment = "Goed bezig"
        book.db.commit()


def give(book: Gradebook, student: str, scores: dict[str, float]) -> None:
    for name, score in scores.items():
        grade = book.find_grade(name, "kwadraten", WEEK, student)
        grade.auto_score, grade.needs_manual_grade = score, False
    book.db.commit()


def graded(url: str, student: str, scores: dict[str, float], when: datetime = IN_TIME) -> tuple[Draft, Sheet]:
    """What a run over a student's work would have come to."""
    draft = Draft(url, WEEK)
    draft.bring(student)
    with Gradebook(draft.url, "alpha") as book:
        book.update_or_create_student(student)
        book.update_or_create_submission(WEEK, student, timestamp=when)
        give(book, student, scores)
        grade = book.find_grade("vraag", "kwadraten", WEEK, student)
        grade.needs_manual_grade = True
        book.db.commit()
    return draft, draft.sheet(student)


def marks(url: str, student: str = "anna") -> dict[str, Any]:
    with Gradebook(url, "alpha") as book:
        submission = book.find_submission(WEEK, student)
        (notebook,) = submission.notebooks
        found = {
            grade.name: (grade.auto_score, grade.manual_score, grade.extra_credit, grade.needs_manual_grade)
            for grade in notebook.grades
        }
        comment = book.find_comment("kwadraat", "kwadraten", WEEK, student)
        return {
            **found, "score": submission.score, "late": notebook.late_submission_penalty,
            "when": submission.timestamp, "comment": comment.comment, "rows": len(notebook.grades),
        }  # fmt: skip


BEFORE = {
    "test-1": (0.0, None, None, False), "test-2": (0.0, None, None, False), "vraag": (None, 3.0, 0.5, False),
    "score": 3.5, "late": None, "when": IN_TIME, "comment": "Goed bezig", "rows": 3,
}  # fmt: skip
AFTER = {**BEFORE, "test-1": (1.0, None, None, False), "test-2": (2.0, None, None, False), "score": 6.5}
RIGHT = {"test-1": 1.0, "test-2": 2.0}


def a_draft_changes_nothing_and_what_came_of_it_comes_in_once(url: str) -> None:
    draft, sheet = graded(url, "anna", RIGHT)
    assert marks(url) == BEFORE
    kept = Sheet.from_json(sheet.to_json())
    assert kept.automatic == sheet.automatic != read(url, WEEK, ["anna"]).sheets["anna"].automatic
    draft.settle(kept)
    assert marks(url) == AFTER
    draft.settle(kept)
    assert marks(url) == AFTER
    draft.remove()


def what_a_person_typed_meanwhile_stays(url: str) -> None:
    draft, sheet = graded(url, "anna", RIGHT)
    with Gradebook(url, "alpha") as book:
        grade = book.find_grade("test-2", "kwadraten", WEEK, "anna")
        grade.manual_score, grade.needs_manual_grade = 1.5, False
        book.find_comment("kwadraat", "kwadraten", WEEK, "anna").manual_comment = "Bijna"
        book.db.commit()
    draft.settle(sheet)
    now = marks(url)
    # The tests say something else than when the mark was typed: it stays, and somebody should look at it.
    assert now["test-2"] == (2.0, 1.5, None, True) and now["comment"] == "Bijna"
    # Nothing about the question has changed: it is settled still.
    assert now["vraag"] == (None, 3.0, 0.5, False) and now["score"] == 6.0


def work_that_has_no_marks_gets_all_of_them(url: str) -> None:
    draft, sheet = graded(url, "bram", RIGHT)
    draft.settle(sheet)
    assert marks(url, "bram")["score"] == 3.0 and marks(url, "bram")["rows"] == 3
    draft.settle(sheet)
    assert marks(url, "bram")["rows"] == 3 and marks(url) == BEFORE
    new, sheet = graded(url, "cas", RIGHT)
    new.settle(sheet)
    assert marks(url, "cas")["score"] == 3.0


class Converters(LoggingConfigurable):
    """What nbgrader's steps are configured by."""


def lateness_is_worked_out_with_the_marks_of_this_moment(url: str) -> None:
    draft, sheet = graded(url, "anna", RIGHT, LATE)
    with Gradebook(url, "alpha") as book:
        book.find_grade("vraag", "kwadraten", WEEK, "anna").manual_score = 4.0
        book.db.commit()
    draft.bring("anna")
    after = draft.put(sheet, Converters(config=Config({"LateSubmissionPlugin": {"penalty_method": "zero"}})))
    draft.settle(after)
    now = marks(url)
    assert (now["score"], now["late"], now["when"]) == (7.5, 7.5, LATE)


def other_tests_refuse_the_marks(url: str) -> None:
    draft, sheet = graded(url, "anna", RIGHT)
    with Gradebook(url, "alpha") as book:
        book.find_source_cell("test-2", "kwadraten", WEEK).source = "assert kwadraat(3) == 9"
        book.db.commit()
    for act in (lambda: draft.settle(sheet), lambda: draft.bring("anna")):
        try:
            act()
        except NotTheSameTests:
            continue
        raise AssertionError("marks by other tests came in")
    assert marks(url) == BEFORE
    # A deadline is not one of the tests.
    draft, sheet = graded(url, "anna", RIGHT)
    with Gradebook(url, "alpha") as book:
        book.find_assignment(WEEK).duedate = DUE + timedelta(days=1)
        book.db.commit()
    draft.settle(sheet)
    assert marks(url) == AFTER


def what_stops_it_half_way_leaves_the_marks_that_were_there(url: str) -> None:
    draft, sheet = graded(url, "anna", RIGHT)
    written = module.update
    count = iter(range(100))

    def broken(table: Any) -> Any:
        if next(count) == 1:
            raise OperationalError("", None, Exception("the second row"))
        return written(table)

    module.update = broken
    try:
        draft.settle(sheet)
        raise AssertionError("it was not stopped")
    except OperationalError:
        assert marks(url) == BEFORE
    finally:
        module.update = written
    draft.settle(sheet)
    assert marks(url) == AFTER


def a_gradebook_that_is_locked_or_away_is_waited_for(url: str) -> None:
    draft, sheet = graded(url, "anna", RIGHT)
    say("ready")
    sys.stdin.readline()

    def act() -> None:
        try:
            draft.settle(sheet)
        except SQLAlchemyError:
            say("trying")
            raise

    patiently(act, threading.Event())
    assert marks(url) == AFTER
    say("done")


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """No room at all on the file system of a folder."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        size = 2**16
        while size:
            try:
                file.write(b"x" * size)
            except OSError:
                size //= 2
    yield
    filler.unlink()


def a_full_disk_leaves_the_marks_and_the_plan_that_were_there(url: str) -> None:
    folder = Path(url.removeprefix("sqlite:///")).parent
    draft, sheet = graded(url, "anna", RIGHT)
    plan = plans.Plan(WEEK, plans.Kind.GRADE, ["anna"])
    place = plans.place(folder, plan.kind, WEEK)
    plans.keep(place, plan)
    with full(folder):
        for act in (lambda: settle(url, WEEK, draft.digest, sheet), lambda: plans.keep(place, more(plan))):
            try:
                act()
            except (OSError, SQLAlchemyError):
                continue
            raise AssertionError("there was room")
        assert plans.kept(place) == plan
    assert marks(url) == BEFORE
    draft.settle(sheet)
    assert marks(url) == AFTER
    plans.keep(place, more(plan))
    assert plans.kept(place) == more(plan)


def more(plan: plans.Plan) -> plans.Plan:
    students = [f"student-{number}" for number in range(2000)]
    return plans.Plan(**{**vars(plan), "students": students})


def differences_say_what_goes_up_and_what_a_mark_by_hand_keeps(url: str) -> None:
    with Gradebook(url, "alpha") as book:
        book.find_grade("test-1", "kwadraten", WEEK, "anna").manual_score = 0.5
        book.db.commit()
    now = read(url, WEEK, ["anna", "bram"])
    _, sheet = graded(url, "anna", RIGHT)
    row = compared("anna", now.sheets["anna"], sheet, now.tasks)
    assert (row.before, row.after, row.most, row.way) == (4.0, 6.0, 7.0, Way.UP)
    told = {one.task: (one.before, one.after, one.overruled) for one in row.tasks}
    assert told == {"test-1": (0.5, 0.5, True), "test-2": (0.0, 2.0, False), "vraag": (3.5, 3.5, False)}
    assert [one.task for one in row.changed] == ["test-1", "test-2"]
    _, sheet = graded(url, "bram", {"test-1": 0.0, "test-2": 0.0})
    none = compared("bram", now.sheets["bram"], sheet, now.tasks)
    assert (none.before, none.after, none.way) == (None, 0.0, Way.SAME)
    table = as_csv([row], {"anna": "=HYPERLINK(1)"}).splitlines()
    assert table[1] == "anna,'=HYPERLINK(1),kwadraten,test-1,1.0,0.5,0.5,0.0,yes,,"
    assert table[4] == "anna,'=HYPERLINK(1),,,7.0,4.0,6.0,2.0,,0.0,0.0"


if __name__ == "__main__":
    make(sys.argv[2])
    globals()[sys.argv[1]](sys.argv[2])
