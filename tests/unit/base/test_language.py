"""The language of an answer: the person's choice, then the browser's, then the site's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.i18n import LANGUAGES, choose_language


def test_the_person_s_own_choice_wins() -> None:
    assert choose_language("en", "nl", "nl") == "en"


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("en-GB,en;q=0.9,nl;q=0.8", "en"),
        ("de, nl-BE;q=0.5, en;q=0.3", "nl"),
        ("en;q=0, nl;q=0.1", "nl"),
        ("fr, *;q=0.5", "nl"),
        ("en;q=nan, de", "nl"),
        ("en;q=9", "nl"),
        ("en; q=0.9", "en"),
        ("en;Q=0.5, nl;q=0.4", "en"),
        ("", "nl"),
        (None, "nl"),
    ],
)
def test_the_browser_s_wish_counts_where_it_can_be_met(header: str | None, chosen: str) -> None:
    assert choose_language(None, header, "nl") == chosen


@given(st.one_of(st.none(), st.text()), st.one_of(st.none(), st.text()))
def test_whatever_a_browser_sends_the_answer_is_in_a_language_of_ours(cookie: str | None, header: str | None) -> None:
    assert choose_language(cookie, header, "nl") in LANGUAGES
