"""How far a student is, read from the real exchange, home and gradebook on disk."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from base.paths import State
from courses.catalogue import Course
from grading.store import Store
from grading.terms import AssignmentTerms, Extension, HandIn, LatePolicy, Penalty, Terms
from grading.terms_shelf import TermsShelf
from grading.tree import TreeLimits
from portal.home import next_of
from portal.work import Exchange, Work, WorkState

COURSE = "ai-in-je-vak"
FOLDER = Path(__file__).resolve().parents[3] / "courses/mbo/ai-in-je-vak"


class Site:
    def __init__(self, root: Path) -> None:
        self.state = State(root)
        self.state.make()
        self.store = Store(self.state.exchange, TreeLimits(total=10**6, files=10))
        self.exchange = Exchange(self.store, self.state)
        self.course = Course.load(FOLDER)
        self.files = root / "files"
        self.files.mkdir()
        self.handed_in = 0
        (self.files / "herken-ai.ipynb").write_text("{}")

    def release(self, name: str = "herken-ai") -> None:
        self.store.release(COURSE, name, self.store.incoming_copy(self.files), by="docent")

    def hand_in(self, person: str = "sanne") -> str:
        self.handed_in += 1
        (self.files / "herken-ai.ipynb").write_text(str(self.handed_in))
        incoming = self.store.incoming_copy(self.files)
        return self.store.submit(COURSE, "herken-ai", person, incoming).manifest.stamp

    def work(self, *, teacher: bool = False) -> list[Work]:
        return self.exchange.work(self.course, "sanne", "nl", teacher=teacher)

    def due(self, when: datetime) -> None:
        book = self.state.courses / COURSE / "gradebook.db"
        book.parent.mkdir()
        with closing(sqlite3.connect(book)) as connection:
            connection.execute("create table assignment (name text, duedate datetime)")
            # As SQLAlchemy writes it for nbgrader.
            connection.execute(
                "insert into assignment values ('herken-ai', ?)", [when.strftime("%Y-%m-%d %H:%M:%S.%f")]
            )
            connection.commit()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_nothing_is_shown_before_it_is_released(site: Site) -> None:
    assert site.work() == []
    site.release()
    (work,) = site.work()
    assert (work.title, work.state, work.deadline) == ("Herken AI om je heen", WorkState.NOT_FETCHED, None)


def test_what_is_withdrawn_is_not_shown_any_more_to_anybody(site: Site) -> None:
    site.release()
    (site.state.homes / "sanne" / COURSE / "herken-ai").mkdir(parents=True)
    site.hand_in()
    site.store.withdraw(COURSE, "herken-ai", by="docent")
    assert site.work() == [] == site.work(teacher=True)
    site.release()
    assert [work.state for work in site.work()] == [WorkState.HANDED_IN]


def test_the_state_follows_what_the_student_and_the_teacher_do(site: Site) -> None:
    site.release()
    (site.state.homes / "sanne" / COURSE / "herken-ai").mkdir(parents=True)
    assert site.work()[0].state is WorkState.IN_WORK
    stamp = site.hand_in()
    assert site.work()[0].state is WorkState.HANDED_IN
    site.store.give_feedback(COURSE, "herken-ai", "sanne", stamp, site.store.incoming_copy(site.files), by="docent")
    assert site.work()[0].state is WorkState.FEEDBACK
    site.hand_in()
    assert site.work()[0].state is WorkState.HANDED_IN, "feedback on an earlier hand-in is not feedback on this one"


def test_a_teacher_sees_how_many_students_handed_in(site: Site) -> None:
    site.release()
    for person in ("sanne", "jelmer", "sanne"):
        site.hand_in(person)
    assert site.work(teacher=True)[0].handed_in == 2


def test_a_deadline_is_what_the_teacher_set_in_the_gradebook(site: Site) -> None:
    site.release()
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    site.due(soon)
    (work,) = site.work()
    assert work.deadline == soon and not work.late


def test_a_deadline_that_is_over_is_late_only_for_who_did_not_hand_in(site: Site) -> None:
    site.release()
    site.due(datetime.now(UTC) - timedelta(days=1))
    assert site.work()[0].late
    site.hand_in()
    assert not site.work()[0].late


def test_a_student_sees_what_holds_for_them_before_they_hand_in(site: Site) -> None:
    site.release()
    now = datetime.now(UTC)
    due, own = now - timedelta(hours=30), now + timedelta(hours=2)
    late = LatePolicy(days=3, penalty=Penalty.PER_DAY, percent=10)
    given = Extension(due=own, attempts=1, reason="x", by="docent", given=now)

    def changed(terms: Terms) -> Terms:
        one = AssignmentTerms(due=due, extensions={"jelmer": given})
        return terms.model_copy(update={"chosen": HandIn(late=late, attempts=2), "assignments": {"herken-ai": one}})

    TermsShelf(site.state.exchange).change(COURSE, "docent", changed)
    (work,) = site.work()
    assert (work.deadline, work.late, work.percent_now, work.closed) == (due, True, 20, False)
    assert (work.rules.attempts, work.attempts_used, work.rules.extended) == (2, 0, False)
    site.hand_in()
    (work,) = site.work()
    assert (work.percent_off, work.attempts_used, work.closed) == (20, 1, False)
    (other,) = site.exchange.work(site.course, "jelmer", "nl")
    assert (other.deadline, other.late, other.percent_now, other.rules.attempts) == (own, False, 0, 1)
    assert other.rules.extended


def test_a_broken_gradebook_hides_deadlines_and_nothing_else(site: Site) -> None:
    site.release()
    book = site.state.courses / COURSE / "gradebook.db"
    book.parent.mkdir()
    book.write_text("this is no database")
    assert [work.deadline for work in site.work()] == [None]


@pytest.mark.attack
@pytest.mark.parametrize("linked", ["course", "assignment"])
def test_a_link_in_ones_home_tells_nothing_of_another_home(site: Site, linked: str) -> None:
    site.release()
    other = site.state.homes / "jelmer" / COURSE
    (other / "herken-ai").mkdir(parents=True)
    own = site.state.homes / "sanne" / COURSE
    if linked == "course":
        own.parent.mkdir()
        own.symlink_to(other)
    else:
        own.mkdir(parents=True)
        (own / "herken-ai").symlink_to(other / "herken-ai")
    assert site.work()[0].state is WorkState.NOT_FETCHED
    # Positive control: the same look with links followed sees the other person's folder.
    assert (own / "herken-ai").is_dir()


def test_an_assignment_of_the_teachers_own_is_shown_by_its_name(site: Site) -> None:
    site.release("extra")
    assert [(work.id, work.title) for work in site.work()] == [("extra", "extra")]


def test_next_is_the_nearest_deadline_then_the_first_then_the_last_one_done() -> None:
    def one(name: str, state: WorkState = WorkState.NOT_FETCHED, days: int | None = None) -> Work:
        return Work(name, name, 0, datetime(2026, 1, days, tzinfo=UTC) if days else None, state)

    assert next_of(()) is None
    assert next_of((one("a"), one("b"))) == one("a")
    assert next_of((one("a"), one("b", days=9), one("c", days=3))) == one("c", days=3)
    assert next_of((one("a", WorkState.HANDED_IN), one("b"))) == one("b")
    done = (one("a", WorkState.FEEDBACK), one("b", WorkState.HANDED_IN))
    assert next_of(done) == done[1]
