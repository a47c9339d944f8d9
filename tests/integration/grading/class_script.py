"""Runs in the notebook environment: makes a class's gradebook, and reads one as the pages do.

`make URL STUDENTS ASSIGNMENTS TASKS` fills an empty database; `read URL` prints what the pages would know, what
nbgrader's own API says of the same, and how many queries it took; `library URL` uses the library of comments.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
import uuid
from datetime import datetime, timedelta
from typing import Any

# A PostgreSQL gradebook needs a driver, which the tests' own environment has.
sys.path += [path for path in [os.environ.get("DRIVER")] if path]

from leerlab_lab.classbook.reading import read, read_marks
from nbgrader.api import Grade, Gradebook, Student, SubmittedAssignment, SubmittedNotebook
from sqlalchemy import event, insert

DUE = datetime.fromisoformat("2026-11-01 22:59")


def make(url: str, students: int, assignments: int, tasks: int) -> None:
    """Marks that follow one ability; every tenth student hands in late, every seventh waits for a mark by hand."""
    draw = random.Random(42)
    with Gradebook(url, "alpha") as book:
        names = [f"student-{number:03}" for number in range(students)]
        book.db.execute(insert(Student), [{"id": name, "lms_user_id": None} for name in names])
        ability = {name: draw.gauss(0.65, 0.2) for name in names}
        for number in range(assignments):
            name = f"week-{number + 1}"
            assignment = book.add_assignment(name, duedate=DUE + timedelta(days=7 * number))
            book.db.flush()
            notebook = book.add_notebook("werk", name)
            cells = [
                book.add_grade_cell(
                    f"taak-{task + 1}", "werk", name, max_score=2 + task % 3,
                    cell_type="markdown" if task == tasks - 1 else "code",
                )
                for task in range(tasks)
            ]  # fmt: skip
            book.db.flush()
            rows: dict[Any, list[dict[str, Any]]] = {SubmittedAssignment: [], SubmittedNotebook: [], Grade: []}
            for place, student in enumerate(names):
                if (place + number) % 13 == 0:
                    continue
                late = place % 10 == 0
                handed_in, work = uuid.uuid4().hex, uuid.uuid4().hex
                rows[SubmittedAssignment].append({
                    "id": handed_in, "assignment_id": assignment.id, "student_id": student,
                    "timestamp": assignment.duedate + timedelta(hours=1 if late else -1), "extension": None,
                })  # fmt: skip
                rows[SubmittedNotebook].append({
                    "id": work, "assignment_id": handed_in, "notebook_id": notebook.id, "flagged": False,
                    "late_submission_penalty": 1.0 if late else None,
                })  # fmt: skip
                for cell in cells:
                    by_hand = cell.cell_type == "markdown"
                    waits = by_hand and place % 7 == 0
                    score = float(round(cell.max_score * min(1.0, max(0.0, draw.gauss(ability[student], 0.2)))))
                    rows[Grade].append({
                        "id": uuid.uuid4().hex, "notebook_id": work, "cell_id": cell.id,
                        "auto_score": None if by_hand else score,
                        "manual_score": score if by_hand and not waits else None,
                        "extra_credit": 0.5 if by_hand and place % 11 == 0 else None, "needs_manual_grade": waits,
                    })  # fmt: skip
            for model, values in rows.items():
                book.db.execute(insert(model), values)
        book.db.commit()


def told(url: str, sample: int) -> dict[str, Any]:
    """What the pages would know, and nbgrader's own answers for some of the same."""
    with Gradebook(url, "alpha") as book:
        statements: list[str] = []
        event.listen(book.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
        began = time.perf_counter()
        known = read(book.engine)
        first = known.parts[0]
        marks = read_marks(book.engine, [first.name])
        seconds, queries = time.perf_counter() - began, len(statements)
        differences = []
        for part in (first, known.parts[-1]):
            own = book.find_assignment(part.name)
            if (own.max_score, own.duedate) != (part.most, part.due):
                differences.append([part.name, own.max_score, part.most])
            for submission in own.submissions[:sample]:
                work = known.work[part.name, submission.student_id]
                ours = [work.points, work.penalty, work.waits, work.handed_in]
                theirs = [
                    submission.score, submission.late_submission_penalty, submission.needs_manual_grade,
                    submission.timestamp,
                ]  # fmt: skip
                if ours != theirs:
                    differences.append([part.name, submission.student_id, str(ours), str(theirs)])
                if part is first:
                    grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
                    mine = {cell: mark.points for cell, mark in marks[part.name, submission.student_id].items()}
                    if mine != {grade.cell_id: grade.score for grade in grades}:
                        differences.append([part.name, submission.student_id, "marks"])
    return {
        "queries": queries, "seconds": seconds, "differences": differences, "work": len(known.work),
        "parts": [part.name for part in known.parts], "students": len(known.students), "marks": len(marks),
        "tasks": [[task.name, task.most, task.by_hand] for task in first.tasks],
    }  # fmt: skip


def library(url: str) -> dict[str, Any]:
    """A teacher's way with saved comments, without a page."""
    from leerlab_lab.formgrader.comments import LONGEST, MOST, CommentLibrary, NotKept, Task

    def refused(text: object) -> str:
        try:
            comments.save(task, text)
        except NotKept as error:
            return error.code
        return ""

    with Gradebook(url, "alpha") as book:
        CommentLibrary(book.engine)  # makes the table
        comments = CommentLibrary(book.engine)  # which is there now
        task, other = Task("week-1", "werk", "taak-1"), Task("week-1", "werk", "taak-2")
        first = comments.save(task, "  Let op de eenheid.\r\nkWh, niet kW.\x07 ")
        second = comments.save(task, "Mooi werk")
        same = comments.save(task, "Mooi werk")
        elsewhere = comments.save(other, "Mooi werk")
        used = [comments.use(second.id).used, comments.use(second.id).used]  # type: ignore[union-attr]
        edited = comments.edit(first.id, "e\u0301\u00e9n <b>vet</b>")
        found = {
            "kept": first.text, "same": same.id == second.id, "elsewhere": elsewhere.id != second.id, "used": used,
            "edited": edited.text if edited else "", "order": [one.text for one in comments.of("week-1", "werk")],
            "refused": [refused(""), refused(" \n\x00"), refused(None), refused("x" * (LONGEST + 1))],
            "none": [one.text for one in comments.of("week-2", "werk")], "gone": comments.use("0" * 32) is None,
            "removed": [comments.remove(first.id), comments.remove(first.id)],
        }  # fmt: skip
        for number in range(MOST - 1):
            comments.save(task, f"nummer {number}")
        found["full"] = refused("nog een")
        return found


if __name__ == "__main__":
    what, url, *numbers = sys.argv[1:]
    found: dict[str, Any] = {}
    if what == "make":
        make(url, *map(int, numbers))
    else:
        found = library(url) if what == "library" else told(url, int(numbers[0]))
    sys.stdout.write(json.dumps(found, default=str) + "\n")
