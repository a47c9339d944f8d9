"""When an assignment is graded: what may be written, and the moments of a schedule on the site's clock."""

from __future__ import annotations

from datetime import datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from base.in_force import InForce, Publication
from grading.grade_rules import GradeRules
from grading.when import BY_HAND, GradeRule, Kind

ZONE = ZoneInfo("Europe/Amsterdam")
NIGHT = GradeRule(Kind.DAILY, time(3))


@pytest.mark.parametrize("text", ["by_hand", "on_submit", "after_deadline", "daily at 03:00", "daily at 23:59"])
def test_a_rule_is_written_as_it_is_read(text: str) -> None:
    assert str(GradeRule.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "on submit", "daily", "daily at 3:00", "daily at 24:00", "daily at 03:60", "daily at 03:00 ", 3, None]
)
def test_anything_else_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="allowed: by_hand, on_submit"):
        GradeRule.parse(text)


@pytest.mark.parametrize(
    ("now", "last"),
    [
        ("2026-12-01T02:59:59", "2026-11-30T03:00:00+01:00"),
        ("2026-12-01T03:00:00", "2026-12-01T03:00:00+01:00"),
        ("2026-12-01T23:00:00", "2026-12-01T03:00:00+01:00"),
        # The clock goes forward at 02:00 and back at 03:00.
        ("2026-03-29T12:00:00", "2026-03-29T03:00:00+02:00"),
        ("2026-10-25T12:00:00", "2026-10-25T03:00:00+01:00"),
    ],
)
def test_a_schedule_is_kept_on_the_sites_clock(now: str, last: str) -> None:
    assert NIGHT.last(datetime.fromisoformat(now).replace(tzinfo=ZONE)).isoformat() == last


def test_a_time_that_comes_twice_or_never_is_kept_once() -> None:
    half_past_two = GradeRule(Kind.DAILY, time(2, 30))
    for day, offset in (("2026-10-25", 2), ("2026-03-29", 1)):
        hours = [datetime.fromisoformat(f"{day}T{hour:02}:00:00").replace(tzinfo=ZONE) for hour in range(4, 24)]
        moments = {half_past_two.last(now).timestamp() for now in hours}
        assert moments == {datetime.fromisoformat(f"{day}T02:30:00+0{offset}:00").timestamp()}


def test_the_site_comes_before_the_course_and_a_published_version_before_site_yaml(tmp_path: Path) -> None:
    in_force, on_submit = InForce(tmp_path), GradeRule.parse("on_submit")
    of_courses = {name: {"week-1": on_submit} for name in ("een", "twee", "drie")}
    rules = GradeRules({"twee": BY_HAND}, of_courses, in_force)
    published = Publication(version=1, profile="p", grade={"week-2": "daily at 03:00", "week-3": "never heard of"})
    in_force.replace({"drie": published, "vier": published})
    assert rules.courses() == ["drie", "een", "twee", "vier"]
    assert (rules.of("een", "week-1"), rules.of("een", "week-2")) == (on_submit, BY_HAND)
    assert rules.of("twee", "week-1") == BY_HAND
    assert [rules.of("drie", f"week-{number}") for number in (1, 2, 3)] == [BY_HAND, NIGHT, BY_HAND]
    assert rules.of("vier", "week-2") == NIGHT
