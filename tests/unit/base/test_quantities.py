"""Sizes and durations: what is written is what is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.quantities import Duration, Size


@given(st.integers(1, 999_999_999), st.sampled_from("KMGT"))
def test_a_size_written_and_read_again_is_the_same(number: int, unit: str) -> None:
    size = Size.parse(f"{number}{unit}")
    assert Size.parse(str(size)) == size == number * 1024 ** ("KMGT".index(unit) + 1)


@given(st.integers(1, 9999 * 86400))
def test_a_duration_written_and_read_again_is_the_same(seconds: int) -> None:
    duration = Duration(seconds=seconds)
    assert Duration.parse(str(duration)) == duration
    assert duration.seconds_total == seconds


@given(st.one_of(st.text(), st.integers(), st.none(), st.floats(), st.booleans()))
def test_anything_else_is_refused_with_a_value_error(value: object) -> None:
    for kind in (Size, Duration):
        try:
            parsed = kind.parse(value)
        except ValueError:
            continue
        assert kind.parse(str(parsed)) == parsed


@pytest.mark.parametrize("text", ["", "4", "4 G", "4GB", "-1G", "0G", "1.5G", "4g", "4G\n", "٤G", "G"])
def test_what_is_nearly_a_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="allowed"):
        Size.parse(text)


@pytest.mark.parametrize("text", ["", "4", "0s", "0h0m", "1m1h", "-1h", "1.5h", "4H", "1h\n", "1h 30m", "٤h"])
def test_what_is_nearly_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="allowed"):
        Duration.parse(text)


def test_mebibytes_are_rounded_up() -> None:
    assert [Size.parse(text).mebibytes for text in ("1K", "1M", "1025K", "1G")] == [1, 1, 2, 1024]
