"""What is remembered of a start."""

from __future__ import annotations

import json
from typing import Any

import pytest

from spawners.starts import Start, ended_in, of_comment, utcnow

HUB = "0123456789ab"


def test_a_start_comes_back_from_the_database_as_it_was() -> None:
    start, _ = Start.new("small", 7, utcnow())
    assert Start.from_state(json.loads(json.dumps(start.to_state()))) == start
    later = start.with_job(12)
    assert Start.from_state(json.loads(json.dumps(later.to_state()))) == later


def test_the_secret_is_not_in_what_is_stored() -> None:
    start, secret = Start.new("small", None, utcnow())
    assert secret not in json.dumps(start.to_state())
    assert start.is_secret(secret)
    assert not start.is_secret(secret[:-1])
    assert not start.is_secret(start.secret_hash)


def test_two_starts_share_nothing() -> None:
    (one, first), (two, second) = (Start.new("small", None, utcnow()) for _ in range(2))
    assert one.id != two.id
    assert first != second


@pytest.mark.parametrize("state", [None, [], "x", {}, {"id": "0" * 16}, {"id": "../../etc", "secret_hash": "x"}])
def test_a_state_of_something_else_is_no_start(state: Any) -> None:
    assert Start.from_state(state) is None


def test_a_comment_names_hub_and_start() -> None:
    start, _ = Start.new("small", None, utcnow())
    assert of_comment(start.comment(HUB)) == (HUB, start.id)


@pytest.mark.parametrize(
    "comment", [None, "", "hello", f"{HUB}:", f"{HUB}:{'0' * 15}", f"x{HUB}:{'0' * 16}", f"{HUB}:{'0' * 16}\n"]
)
def test_other_comments_are_not_ours(comment: str | None) -> None:
    assert of_comment(comment) is None


def test_ended_starts_are_read_from_any_state_without_trust() -> None:
    assert ended_in({"ended": ["0" * 16, "no", 3, None]}) == ["0" * 16]
    assert ended_in({"ended": "0" * 16}) == []
    assert ended_in(None) == []
