"""Deadlines, late work, attempts and extensions: the rules, and how they are kept."""

from __future__ import annotations

import errno
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from grading.errors import DiskFull, NoAttemptsLeft, TooLate
from grading.terms import AssignmentTerms, Extension, HandIn, LatePolicy, Penalty, Rules, Terms
from grading.terms_shelf import TermsShelf

DUE = datetime(2026, 12, 1, 22, 59, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("policy", "late", "percent"),
    [
        (LatePolicy(), 100 * DAY, 0),
        (LatePolicy(penalty=Penalty.FIXED, percent=20), timedelta(seconds=1), 20),
        (LatePolicy(penalty=Penalty.FIXED, percent=20), 3 * DAY, 20),
        (LatePolicy(penalty=Penalty.FIXED, percent=20), timedelta(0), 0),
        (LatePolicy(penalty=Penalty.PER_DAY, percent=10), timedelta(seconds=1), 10),
        (LatePolicy(penalty=Penalty.PER_DAY, percent=10), DAY, 10),
        (LatePolicy(penalty=Penalty.PER_DAY, percent=10), DAY + timedelta(seconds=1), 20),
        (LatePolicy(penalty=Penalty.PER_DAY, percent=40), 9 * DAY, 100),
    ],
)
def test_being_late_costs_what_the_policy_says(policy: LatePolicy, late: timedelta, percent: float) -> None:
    assert policy.percent_off(late) == percent


@pytest.mark.parametrize(
    "wrong",
    [
        {"penalty": "fixed"}, {"percent": 10}, {"days": 0, "penalty": "fixed", "percent": 10}, {"days": -1},
        {"penalty": "fixed", "percent": 101}, {"days": 1.5}, {"grace": 1}, {"days": 400},
    ],
)  # fmt: skip
def test_a_policy_that_contradicts_itself_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LatePolicy.model_validate(wrong)


def test_late_work_is_taken_in_to_the_second_and_no_longer() -> None:
    rules = Rules(due=DUE, late=LatePolicy(days=2))
    assert rules.judge(DUE, 0).late_seconds == 0
    assert rules.judge(DUE + 2 * DAY, 0).late_seconds == 2 * DAY.total_seconds()
    with pytest.raises(TooLate):
        rules.judge(DUE + 2 * DAY + timedelta(microseconds=1), 0)
    with pytest.raises(TooLate):
        Rules(due=DUE, late=LatePolicy(days=0)).judge(DUE + timedelta(microseconds=1), 0)
    assert Rules(late=LatePolicy(days=0)).judge(DUE + 999 * DAY, 0).due is None


def test_attempts_are_counted_and_a_student_may_have_more() -> None:
    extension = Extension(due=DUE + DAY, attempts=3, reason="een reden", by="docent", given=DUE)
    one = AssignmentTerms(due=DUE, extensions={"anna": extension})
    terms = Terms(chosen=HandIn(attempts=2), assignments={"week-1": one, "week-2": AssignmentTerms(attempts=1)})
    assert terms.rules("week-1", "bram").judge(DUE, 1).attempt == 2
    with pytest.raises(NoAttemptsLeft):
        terms.rules("week-1", "bram").judge(DUE, 2)
    assert terms.rules("week-1", "anna").judge(DUE + DAY, 2).attempt == 3
    assert terms.rules("week-1", "anna").standing(DUE + DAY, 1).late_seconds == 0
    assert terms.rules("week-1", "bram").standing(DUE + DAY, 1).late_seconds == DAY.total_seconds()
    with pytest.raises(NoAttemptsLeft):
        terms.rules("week-2", "anna").judge(DUE, 1)
    assert terms.rules("nieuw", "anna").attempts == 2


def deadline(moment: datetime) -> Terms:
    return Terms(assignments={"week-1": AssignmentTerms(due=moment)})


def test_every_change_is_kept_and_the_newest_holds(tmp_path: Path) -> None:
    shelf = TermsShelf(tmp_path)
    assert shelf.of("alpha") == Terms() and shelf.history("alpha") == []
    shelf.change("alpha", "docent", lambda terms: terms.model_copy(update=dict(deadline(DUE)) | {"time": None}))
    before, after = shelf.change(
        "alpha", "ander", lambda terms: terms.model_copy(update={"assignments": deadline(DUE + DAY).assignments})
    )
    assert before.assignments["week-1"].due == DUE and after.by == "ander"
    assert TermsShelf(tmp_path).rules("alpha", "week-1", "anna").due == DUE + DAY
    assert [terms.by for terms in shelf.history("alpha")] == ["docent", "ander"]
    # What changes nothing is not written down.
    shelf.change("alpha", "docent", lambda terms: terms)
    shelf.describe("alpha", HandIn(), by="leerlab")
    assert len(shelf.history("alpha")) == 2
    shelf.describe("alpha", HandIn(attempts=3), by="leerlab")
    assert shelf.of("alpha").hand_in.attempts == 3 and shelf.of("alpha").assignments["week-1"].due == DUE + DAY


@pytest.mark.fault
def test_changes_at_once_from_two_processes_are_all_kept(tmp_path: Path) -> None:
    def add(shelf: TermsShelf, name: str) -> None:
        for number in range(10):
            key = f"{name}-{number}"
            shelf.change("alpha", name, lambda terms, key=key: terms.model_copy(  # type: ignore[misc]
                update={"assignments": {**terms.assignments, key: AssignmentTerms(due=DUE)}}))  # fmt: skip

    threads = [threading.Thread(target=add, args=(TermsShelf(tmp_path), name)) for name in ("een", "twee", "drie")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(TermsShelf(tmp_path).of("alpha").assignments) == 30


@pytest.mark.fault
@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_full_disk_changes_no_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    shelf = TermsShelf(tmp_path)
    shelf.change("alpha", "docent", lambda _: deadline(DUE))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync", full) if call == "fsync" else (Path, "rename", full)))
        with pytest.raises(DiskFull):
            shelf.change("alpha", "docent", lambda _: deadline(DUE + DAY))
    assert TermsShelf(tmp_path).rules("alpha", "week-1", "anna").due == DUE
    assert len(list((tmp_path / "alpha" / "terms").glob("[!.]*"))) == 1
    assert {path.name for path in (tmp_path / "alpha" / "terms").glob(".*")} == {".lock"}


@pytest.mark.fault
def test_a_clock_that_is_set_back_does_not_bring_old_rules_back(tmp_path: Path) -> None:
    now = [DUE]
    shelf = TermsShelf(tmp_path, now=lambda: now[0])
    shelf.change("alpha", "docent", lambda _: deadline(DUE))
    now[0] = DUE - 30 * DAY
    shelf.change("alpha", "docent", lambda _: deadline(DUE + HOUR))
    assert TermsShelf(tmp_path).rules("alpha", "week-1", "anna").due == DUE + HOUR
