"""Where a student stands with an assignment, from what the exchange and the gradebook say."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

# What runs in a course's server is a distribution of its own.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "images/notebook"))

from leerlab_lab.classbook.records import ClassBook, Deadline, Part, Work
from leerlab_lab.classbook.standing import HandIn, Standing, counted, place
from leerlab_lab.classbook.view import ClassList, ClassView

DUE = datetime.fromisoformat("2026-12-01 22:59")
BEFORE, AFTER, MUCH_LATER = DUE - timedelta(hours=1), DUE + timedelta(hours=1), DUE + timedelta(days=3)
PART = Part("week-1", DUE, ())


def work(
    when: datetime | None, *, waits: bool = False, graded: bool = True, extension: timedelta | None = None
) -> Work:
    return Work(when, extension, graded, 1.0, 0.0, waits)


@pytest.mark.parametrize(
    ("known", "handed_in", "standing"),
    [
        (None, [], Standing.NOTHING),
        (None, [HandIn(BEFORE, False)], Standing.HANDED_IN),
        (work(BEFORE, waits=True), [HandIn(BEFORE, False)], Standing.WAITS),
        (work(BEFORE), [HandIn(BEFORE, False)], Standing.MARKED),
        (work(BEFORE), [HandIn(BEFORE, True)], Standing.RETURNED),
        # Feedback on work that is not what was marked last is not feedback on these marks.
        (work(AFTER), [HandIn(BEFORE, True), HandIn(AFTER, False)], Standing.MARKED),
        # A row that only holds an extension is no hand-in.
        (work(None, graded=False, extension=timedelta(days=1)), [], Standing.NOTHING),
        # The gradebook knows work that the exchange does not answer for.
        (work(BEFORE), [], Standing.MARKED),
    ],
)
def test_everybody_has_one_standing(known: Work | None, handed_in: list[HandIn], standing: Standing) -> None:
    assert place("anna", DUE, known, handed_in, MUCH_LATER).standing is standing


def test_late_is_judged_by_the_student_s_own_deadline_and_by_what_counts() -> None:
    def late(known: Work | None, *moments: datetime, due: datetime | None = DUE) -> bool:
        return place("anna", due, known, [HandIn(moment, False) for moment in moments], MUCH_LATER).late

    assert late(None, AFTER) and not late(None, DUE) and not late(None)
    # In time, marked, and handed in once more: what was marked was in time.
    assert not late(work(BEFORE), BEFORE, AFTER)
    assert not late(None, AFTER, due=None) and not late(None, AFTER, due=AFTER)


def test_only_who_handed_in_nothing_after_their_own_deadline_is_overdue() -> None:
    def overdue(now: datetime, *handed_in: HandIn, due: datetime | None = DUE) -> bool:
        return place("anna", due, None, handed_in, now).overdue

    assert overdue(AFTER) and not overdue(BEFORE)
    assert not overdue(AFTER, HandIn(AFTER, False))
    assert not overdue(AFTER, due=MUCH_LATER) and not overdue(MUCH_LATER, due=None)


def test_what_was_handed_in_after_the_marks_is_told() -> None:
    assert place("anna", DUE, work(BEFORE), [HandIn(AFTER, False), HandIn(BEFORE, False)], AFTER).again
    assert not place("anna", DUE, work(AFTER), [HandIn(AFTER, False), HandIn(BEFORE, False)], AFTER).again
    assert not place("anna", DUE, None, [HandIn(AFTER, False), HandIn(BEFORE, False)], AFTER).again


def seen(listed: ClassList) -> ClassView:
    return ClassView(ClassBook((PART,), {}, {("week-1", "weg"): work(BEFORE)}), listed, MUCH_LATER)


def test_who_left_the_class_is_not_behind_but_keeps_their_marks() -> None:
    handed_in = {("week-1", "bram"): [HandIn(BEFORE, False)], ("week-1", "weg"): [HandIn(BEFORE, False)]}
    view = seen(ClassList(frozenset({"anna", "bram"}), frozenset({"week-1"}), {}, handed_in))
    places = view.places(PART)
    assert [(one.student, one.standing) for one in places] == [
        ("anna", Standing.NOTHING), ("bram", Standing.HANDED_IN), ("weg", Standing.MARKED),
    ]  # fmt: skip
    assert view.behind(PART, places) == ["anna"]
    assert counted(places)[Standing.RETURNED] == 0 and sum(counted(places).values()) == 3


@pytest.mark.fault
def test_nobody_is_called_behind_while_it_is_not_known_what_was_handed_in() -> None:
    for deadlines, handed_in in (({}, None), (None, {})):
        silent = seen(ClassList(frozenset({"anna"}), frozenset({"week-1"}), deadlines, handed_in))
        assert silent.behind(PART, silent.places(PART)) == [] and not silent.listed.complete
    known = seen(ClassList(frozenset({"anna"}), frozenset({"week-1"}), {}, {}))
    assert known.behind(PART, known.places(PART)) == ["anna"] and known.listed.complete


def test_nobody_is_behind_with_what_is_not_handed_out() -> None:
    withdrawn = seen(ClassList(frozenset({"anna"}), frozenset(), {}, {}))
    assert withdrawn.behind(PART, withdrawn.places(PART)) == []
    # Work for it keeps it in sight; without any it is not of the course's pages.
    assert withdrawn.parts == (PART,)
    assert ClassView(ClassBook((PART,), {}, {}), withdrawn.listed, MUCH_LATER).parts == ()


def test_who_was_given_more_time_is_neither_late_nor_behind_by_everybody_s_deadline() -> None:
    handed_in = {("week-1", "bram"): [HandIn(AFTER, False)], ("week-1", "cato"): [HandIn(AFTER, False)]}
    more_time = {"week-1": Deadline(DUE, {"anna": MUCH_LATER + timedelta(days=1), "bram": MUCH_LATER})}
    listed = ClassList(frozenset({"anna", "bram", "cato", "daan"}), frozenset({"week-1"}), more_time, handed_in)
    view = seen(listed)
    places = {one.student: one for one in view.places(PART)}
    assert [name for name, one in places.items() if one.late] == ["cato"]
    assert view.behind(PART, places.values()) == ["daan"]


def test_the_exchange_s_deadline_counts_before_the_gradebook_s_and_the_gradebook_s_where_it_keeps_none() -> None:
    def due(deadlines: dict[str, Deadline], student: str = "") -> datetime | None:
        given = ClassList(frozenset({"anna"}), frozenset({"week-1"}), deadlines, {})
        extended = {("week-1", "anna"): work(None, graded=False, extension=timedelta(hours=2))}
        return ClassView(ClassBook((PART,), {}, extended), given, MUCH_LATER).due(PART, student)

    assert due({}) == DUE and due({}, "anna") == DUE + timedelta(hours=2)
    assert due({"week-1": Deadline(AFTER, {})}, "anna") == AFTER
    # Taken away at the exchange: there is none, whatever the gradebook still has.
    assert due({"week-1": Deadline(None, {})}) is None
