"""Budgets in the ledger: any hour, every question, also after a gateway that was killed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import inspect

from ledger.answers import Account, AnswerLedger, AnswerState, Spent
from ledger.store import Ledger

ANNA = Account("anna", "course", "alpha")
DONE = Spent(100, 50, 1.5, 3.0, False, AnswerState.DONE)


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}", b"k" * 32)
    yield made
    made.close()


@pytest.fixture
def answers(ledger: Ledger, clock: Clock) -> AnswerLedger:
    return AnswerLedger(ledger, clock)


def test_what_an_answer_took_counts_instead_of_what_it_could_have_taken(answers: AnswerLedger) -> None:
    name, room = answers.begin(ANNA, "small", 300, 500, 1000)
    assert name and room.left == 1000
    assert answers.room(ANNA, 1000).left == 200
    answers.end(name, DONE)
    assert answers.room(ANNA, 1000).left == 850


def test_a_question_that_does_not_fit_is_not_written_down(answers: AnswerLedger) -> None:
    assert answers.begin(ANNA, "small", 600, 500, 1000)[0] is None
    assert answers.room(ANNA, 1000).left == 1000 and not answers.all()


def test_the_hour_slides(answers: AnswerLedger, clock: Clock) -> None:
    for _ in range(2):
        name, _ = answers.begin(ANNA, "small", 100, 100, 1000)
        assert name
        answers.end(name, DONE)
        clock.now += 1800
    # The first was an hour ago, the second half an hour.
    assert answers.room(ANNA, 1000).left == 850
    assert answers.room(ANNA, 1000).frees_in == pytest.approx(1800)
    clock.now += 1800
    assert answers.room(ANNA, 1000).left == 1000


def test_people_and_sandboxes_have_budgets_of_their_own_and_courses_one_together(answers: AnswerLedger) -> None:
    box, other = Account("anna", "sandbox", "aaaaaaaa"), Account("anna", "sandbox", "bbbbbbbb")
    for account in (ANNA, box):
        assert answers.begin(account, "small", 100, 100, 1000)[0]
    assert answers.room(replace(ANNA, place_id="beta"), 1000).left == 800
    assert answers.room(box, 1000).left == 800
    assert answers.room(other, 1000).left == 1000
    assert answers.room(replace(ANNA, person="bram"), 1000).left == 1000


@pytest.mark.attack
def test_twenty_questions_at_one_time_get_no_more_than_the_budget(answers: AnswerLedger) -> None:
    """The control counts before it writes, in two steps, as a budget without the ledger's lock would."""

    def one_by_one(_number: int) -> bool:
        return answers.begin(ANNA, "small", 100, 100, 1000)[0] is not None

    def in_two_steps(_number: int) -> bool:
        fits = answers.room(replace(ANNA, person="bram"), 1000).left >= 200
        everybody_looked.wait(60)
        return fits and answers.begin(replace(ANNA, person="bram"), "small", 100, 100, 10**6)[0] is not None

    everybody_looked = Barrier(20)
    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(one_by_one, range(20))) == 5
        assert sum(pool.map(in_two_steps, range(20))) == 20


def test_what_a_killed_gateway_left_open_counts_fully(answers: AnswerLedger, ledger: Ledger, clock: Clock) -> None:
    assert answers.begin(ANNA, "small", 300, 500, 1000)[0]
    after = AnswerLedger(ledger, clock)
    assert after.lost() == 1 and after.lost() == 0
    assert after.room(ANNA, 1000).left == 200
    clock.now += 3601
    assert after.room(ANNA, 1000).left == 1000


def test_old_answers_are_forgotten(answers: AnswerLedger, clock: Clock) -> None:
    assert answers.begin(ANNA, "small", 1, 1, 1000)[0]
    clock.now += 100
    assert answers.begin(ANNA, "small", 1, 1, 1000)[0]
    assert answers.forget(60) == 1
    assert len(answers.all("anna")) == 1 and not answers.all("bram")


def test_there_is_no_place_for_a_question_or_an_answer(ledger: Ledger) -> None:
    columns = {column["name"] for column in inspect(ledger._engine).get_columns("answer")}
    assert columns == {
        "id", "person", "place", "place_id", "model", "asked", "seconds", "tokens_in", "tokens_out", "joules",
        "measured", "state",
    }  # fmt: skip


def test_a_question_that_is_still_open_counts_however_old_it_is(answers: AnswerLedger, clock: Clock) -> None:
    """Else whoever reads an answer slowly enough, or holds it open, has its room a second time."""
    name, _ = answers.begin(ANNA, "small", 300, 500, 1000)
    assert name
    clock.now += 2 * 3600
    assert answers.room(ANNA, 1000).left == 200
    assert answers.begin(ANNA, "small", 300, 500, 1000)[0] is None
    answers.end(name, DONE)
    assert answers.room(ANNA, 1000).left == 1000, "it was asked more than an hour ago"
