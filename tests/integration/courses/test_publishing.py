"""Publishing on a site that does not run: versions, what is in force, and nobody's work undone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from press import Office, nothing, office
from small_course import Checker

from base.errors import InputError
from courses.packages import PackageRefused, Packages, pack
from courses.toolkit.check import CourseReport
from grading.release import Done
from hub_config.publishing import NotProven, Wishes

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def desk() -> Iterator[Office]:
    with office() as made:
        yield made


def fetched_by(desk: Office, name: str) -> None:
    """Somebody has the assignment in their home."""
    (desk.state.homes / name / "klein" / "rekenen").mkdir(parents=True)


def outcome(done: object) -> Done:
    (one,) = done.results  # type: ignore[attr-defined]
    return Done(one.done)


def test_a_new_course_is_kept_put_in_force_and_handed_out(desk: Office) -> None:
    done = desk.publish(students=("sanne",), teachers=("docent",))
    assert (done.course, done.version, done.live, outcome(done)) == ("klein", 1, False, Done.RELEASED)
    one = desk.in_force()["klein"]
    assert (one.version, one.profile, one.released) == (1, "cpu-small", ("rekenen",))
    assert (one.teachers, one.students) == (("docent",), ("sanne",))
    assert "kwadraat" in desk.released() and "uitkomst = x * x" not in desk.released()
    assert desk.left() == ["in-force.json", "klein"]
    assert Packages(desk.state.published).verify("klein", 1).checked is False


def test_the_same_course_again_is_the_same_version_and_people_are_added(desk: Office) -> None:
    desk.publish(students=("sanne",))
    again = desk.publish(students=("jelmer",))
    assert (again.version, outcome(again)) == (1, Done.UNCHANGED)
    assert desk.in_force()["klein"].students == ("sanne", "jelmer")


def test_a_better_text_is_a_new_version_for_who_has_it_and_who_has_not(desk: Office) -> None:
    desk.publish()
    fetched_by(desk, "sanne")
    desk.course.append("titel", "Nu met een beter voorbeeld.")
    better = desk.publish()
    assert (better.version, outcome(better)) == (2, Done.RELEASED)
    assert "beter voorbeeld" in desk.released()
    assert Packages(desk.state.published).versions("klein") == [1, 2]


def test_other_graded_cells_wait_while_somebody_works_on_the_old_ones(desk: Office) -> None:
    """nbgrader grades all work by one source: work on the old one would lose its marks."""
    desk.publish()
    fetched_by(desk, "sanne")
    desk.course.edit("controle-som", lambda one: one["metadata"]["nbgrader"].update(points=5))
    other = desk.publish()
    assert (other.version, outcome(other), other.results[0].people) == (2, Done.IN_WORK, ("sanne",))
    source = desk.state.courses / "klein" / "source" / "rekenen" / "rekenen.ipynb"
    assert '"points": 5' not in source.read_text()
    os.removedirs(desk.state.homes / "sanne" / "klein" / "rekenen")
    desk.state.homes.mkdir(exist_ok=True)
    assert outcome(desk.publish()) is Done.RELEASED, "nobody works on it any more"
    assert '"points": 5' in source.read_text()


def test_what_a_teacher_changed_on_the_site_stays(desk: Office) -> None:
    desk.publish()
    source = desk.state.courses / "klein" / "source" / "rekenen" / "rekenen.ipynb"
    source.write_text(source.read_text().replace("Kwadraten", "Kwadraten van de docent"))
    desk.course.append("titel", "Een nieuwe zin.")
    assert outcome(desk.publish()) is Done.TEACHERS_OWN
    assert "van de docent" in source.read_text() and "Een nieuwe zin" not in source.read_text()


def test_when_it_is_graded_follows_the_version_that_is_in_force(desk: Office) -> None:
    desk.publish()
    assert desk.in_force()["klein"].grade == {}
    description = desk.course.folder / "course.yaml"
    description.write_text(description.read_text() + "grade: daily at 03:00\n")
    assert desk.publish().version == 2
    assert desk.in_force()["klein"].grade == {"rekenen": "daily at 03:00"}
    desk.press.withdraw("klein", 1, nothing)
    assert desk.in_force()["klein"].grade == {}


def test_an_earlier_version_can_be_put_back_and_a_course_withdrawn(desk: Office) -> None:
    desk.publish()
    first = desk.released()
    desk.course.append("titel", "Fout in de tekst.")
    desk.publish()
    assert "Fout in de tekst" in desk.released()
    back = desk.press.withdraw("klein", 1, nothing)
    assert back.version == 1 and desk.released() == first
    gone = desk.press.withdraw("klein", None, nothing)
    assert gone.version == 0 and desk.in_force() == {}
    assert (desk.state.courses / "klein" / "source" / "rekenen").is_dir(), "what teachers have stays"
    with pytest.raises(InputError, match="klein is not published"):
        desk.press.withdraw("klein", None, nothing)
    with pytest.raises(InputError, match="no version 7"):
        desk.publish() and desk.press.withdraw("klein", 7, nothing)


def test_an_archive_is_the_same_course_and_the_same_course_the_same_archive(desk: Office, tmp_path: Path) -> None:
    desk.publish()
    kept = desk.state.published / "klein" / "1" / "course"
    for name in ("een.tar.gz", "twee.tar.gz"):
        pack(kept, tmp_path / name, "klein")
    assert (tmp_path / "een.tar.gz").read_bytes() == (tmp_path / "twee.tar.gz").read_bytes()
    assert desk.publish(tmp_path / "een.tar.gz").version == 1, "the same files are the same version"


def test_what_is_no_part_of_a_course_is_named_and_left_out(desk: Office) -> None:
    (desk.course.folder / ".git").mkdir()
    (desk.course.folder / "aantekeningen.txt").write_text("van mij")
    done = desk.publish()
    assert done.left_out == (".git", "aantekeningen.txt")
    kept = desk.state.published / "klein" / "1" / "course"
    assert sorted(path.name for path in kept.iterdir()) == ["course.yaml", "english", "source", "teacher"]


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        ({"profile": "reusachtig"}, "no profile reusachtig"),
        ({"released": ("rekenen", "schrijven")}, "no assignment schrijven"),
        ({"students": ("niemand",)}, "nobody called niemand"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_and_nothing_is_kept(
    desk: Office, wishes: dict[str, object], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        desk.publish(**wishes)
    assert desk.in_force() == {} and desk.left() == []


def test_what_does_not_pass_its_check_is_not_published(desk: Office, check: Checker) -> None:
    seen: list[CourseReport] = []

    def prove(folder: Path) -> CourseReport:
        seen.append(check(folder, least={"wrong": 5, "other": 1}))
        return seen[-1]

    desk.course.edit("kwadraat", lambda one: one.update(source="uitkomst = 1\n### BEGIN SOLUTION\n"))
    with pytest.raises(NotProven):
        desk.press.publish(desk.course.folder, Wishes(), prove, nothing)
    assert not seen[0].ok and desk.in_force() == {} and desk.left() == []


def test_a_course_without_course_yaml_is_refused_by_name(desk: Office) -> None:
    (desk.course.folder / "course.yaml").unlink()
    with pytest.raises(PackageRefused, match=r"course\.yaml"):
        desk.publish()
    assert desk.left() == []


def test_a_version_that_was_changed_on_the_disk_is_not_put_back(desk: Office) -> None:
    desk.publish()
    desk.course.append("titel", "Nieuw.")
    desk.publish()
    file = desk.state.published / "klein" / "1" / "course" / "source" / "rekenen" / "rekenen.ipynb"
    said = json.loads(file.read_text())
    said["cells"][0]["source"] = "Iets anders."
    file.write_text(json.dumps(said))
    with pytest.raises(Exception, match="not as they were published"):
        desk.press.withdraw("klein", 1, nothing)
    assert desk.in_force()["klein"].version == 2
