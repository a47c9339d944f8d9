"""Names that come from outside."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grading.errors import WrongTree
from grading.names import DEEPEST, file_path, identifier, person, stamp


@pytest.mark.parametrize("name", ["ai-in-je-vak", "a1", "x" * 31])
def test_a_name_as_decided_is_taken(name: str) -> None:
    assert identifier("course", name) == name


@pytest.mark.attack
@pytest.mark.parametrize(
    "name", ["", "a", "A1", "1a", "..", "a/b", "a\n", "a b", "x" * 32, "é1", "-a", "a\0", None, 7, ["a1"]]
)
def test_no_other_name_becomes_part_of_a_path(name: object) -> None:
    with pytest.raises(WrongTree):
        identifier("course", name)


@pytest.mark.attack
def test_a_course_account_is_nobody_s_name() -> None:
    with pytest.raises(WrongTree):
        person("course-alpha")


@pytest.mark.parametrize("path", ["a.ipynb", "data/b.csv", "Mijn werk.txt", "café.txt", "a..b", ".hidden"])
def test_an_ordinary_file_name_is_taken(path: str) -> None:
    assert file_path(path) == path


@pytest.mark.attack
@pytest.mark.parametrize(
    "path",
    [
        "", "/etc/passwd", "../a", "a/../../b", "a//b", "a/", "./a", "a\\b", "a\0b", "a\nb", "a\x1bb", "cafe\u0301",
        "a\u202eb", "\ud800", "/".join(["d"] * (DEEPEST + 1)), "x" * 201, "y/" * 5 + "z" * 600,
    ],
)  # fmt: skip
def test_a_file_name_that_leads_elsewhere_or_cannot_be_shown_is_refused(path: str) -> None:
    with pytest.raises(WrongTree):
        file_path(path)


@settings(database=None)
@given(st.text(max_size=80))
def test_what_is_taken_stays_below_its_folder(path: str) -> None:
    try:
        taken = file_path(path)
    except WrongTree:
        return
    assert not taken.startswith("/") and ".." not in taken.split("/") and "\0" not in taken


@pytest.mark.parametrize("moment", ["20261123T010203.000004", "../20261123T010203.000004Z", "", "2026"])
def test_only_a_moment_names_a_submission(moment: str) -> None:
    with pytest.raises(WrongTree):
        stamp(moment)
