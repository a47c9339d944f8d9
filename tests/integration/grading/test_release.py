"""Courses of the catalogue come into a site, and a teacher's work is never undone."""

from __future__ import annotations

from pathlib import Path

import pytest
from grading_assignment import write_source
from grading_site import Site

from confinement.settings import ConfinementSettings
from grading.release import Done, ReleaseFailed, release
from grading.tree import TreeLimits

pytestmark = pytest.mark.integration


def test_a_course_is_released_once_and_a_teacher_s_changes_stay(site: Site, tmp_path: Path) -> None:
    catalogue = tmp_path / "catalogue"
    source = write_source(catalogue)

    def again(*released: str) -> dict[str, Done]:
        results = release(
            "alpha",
            catalogue,
            released,
            state=site.state,
            installation=site.installation,
            confinement=ConfinementSettings(),
            limits=TreeLimits(10**7, 50),
        )
        return {result.assignment: result.done for result in results}

    with pytest.raises(ReleaseFailed, match="no assignment week-9"):
        again("week-9")
    assert again() == {"week-1": Done.ADDED}
    assert site.store.released("alpha") == []
    assert again("week-1") == {"week-1": Done.RELEASED}
    first = site.store.release_of("alpha", "week-1")
    text = (first.files / "kwadraten.ipynb").read_text()
    assert "geheim_getal" not in text and "x * x" not in text
    assert again("week-1") == {"week-1": Done.UNCHANGED}
    assert site.store.release_of("alpha", "week-1") == first

    (source / "gegevens.csv").write_text("a,b\n3,4\n")
    assert again("week-1") == {"week-1": Done.RELEASED}
    assert (site.store.release_of("alpha", "week-1").files / "gegevens.csv").read_text() == "a,b\n3,4\n"

    own = site.state.courses / "alpha" / "source" / "week-1" / "gegevens.csv"
    own.write_text("van de docent\n")
    (source / "gegevens.csv").write_text("a,b\n5,6\n")
    released = site.store.release_of("alpha", "week-1")
    assert again("week-1") == {"week-1": Done.TEACHERS_OWN}
    assert own.read_text() == "van de docent\n" and site.store.release_of("alpha", "week-1") == released

    site.store.withdraw("alpha", "week-1", by="course-alpha")
    assert again("week-1") == {"week-1": Done.TAKEN_BACK}
    assert site.store.released("alpha") == []


def test_an_assignment_that_nbgrader_refuses_stops_with_its_reason(site: Site, tmp_path: Path) -> None:
    source = write_source(tmp_path)
    notebook = source / "kwadraten.ipynb"
    notebook.write_text(notebook.read_text().replace("### END SOLUTION", "### einde"))
    with pytest.raises(ReleaseFailed, match="no end solution statement"):
        release(
            "alpha",
            tmp_path,
            ["week-1"],
            state=site.state,
            installation=site.installation,
            confinement=ConfinementSettings(),
            limits=TreeLimits(10**7, 50),
        )
    assert site.store.released("alpha") == []
