"""What the lab makes of the gateway's words: pieces, what an answer took, refusals, and the sentences for people."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# What runs in labs is a distribution of its own.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "images/notebook"))

from leerlab_lab.assistant.door import Refused, Spent, Why, ended, piece, refused
from leerlab_lab.assistant.offer import Offer
from leerlab_lab.assistant.texts import REFUSED, footer, off, refusal


def test_a_line_of_the_stream_is_a_piece_what_it_took_or_nothing() -> None:
    assert piece('data: {"choices": [{"delta": {"content": "Hal"}}]}') == "Hal"
    assert piece('data: {"choices": [{"delta": {"role": "assistant"}}]}') is None
    assert piece(": still waiting") is None and piece("") is None
    assert piece("data: [DONE]") is None and ended("data: [DONE]") and not ended("data: {}")
    usage = '{"choices": [], "usage": {"total_tokens": 9, "leerlab": {"joules": 3.25, "measured": true}}}'
    assert piece(f"data: {usage}") == Spent(9, 3.25, True)
    assert piece('data: {"choices": [], "usage": {"total_tokens": 9}}') == Spent(9, None)


@pytest.mark.parametrize("line", ['data: {"choices": [{"del', 'data: {"error": {"message": "gone"}}'])
def test_a_broken_stream_is_never_taken_for_an_answer(line: str) -> None:
    with pytest.raises(Refused) as raised:
        piece(line)
    assert raised.value.why is Why.BROKEN


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (403, b'{"error": {"code": "off", "message": "No."}}', Why.OFF),
        (401, b"", Why.OFF),
        (429, b'{"error": {"code": "budget", "message": "No."}}', Why.BUDGET),
        (429, b'{"error": {"code": "busy", "message": "No."}}', Why.BUSY),
        (503, b'{"error": {"code": "starting", "message": "No."}}', Why.STARTING),
        (502, b"<html>", Why.UNREACHABLE),
        (400, b'{"error": "text"}', Why.OTHER),
        (500, b"[]", Why.OTHER),
    ],
)
def test_a_refusal_s_kind_comes_from_its_code_or_else_its_status(status: int, body: bytes, why: Why) -> None:
    assert refused(status, body, "4").why is why
    assert refused(status, body, "4").again == 4 and refused(status, body, "soon").again is None


def test_every_kind_of_refusal_has_a_sentence_in_both_languages_and_keeps_the_gateway_s_own() -> None:
    for why in Why:
        assert REFUSED[why]["nl"] != REFUSED[why]["en"]
        assert refusal(Refused(why, "Wachtrij: 3."), "nl") == f"{REFUSED[why]['nl']} (Wachtrij: 3.)"


def test_the_line_under_an_answer_says_tokens_energy_and_policy_as_people_write_numbers() -> None:
    offer = Offer(True, ("m",), 20_000)
    assert footer(Spent(1250, 12.34), offer, "m", "nl") == (
        "m · 1.250 tokens · ongeveer 12 J · hoogstens 20.000 tokens per uur. Klein model: controleer het antwoord."
    )
    assert footer(Spent(7, 1.26, True), offer, "m", "en") == (
        "m · 7 tokens · 1.3 J · at most 20,000 tokens an hour. Small model: check the answer."
    )


def test_off_says_why_where_that_is_known() -> None:
    assert off(Offer(because={"en": "the course Sums"}), "en") == "The assistant is off, because of the course Sums."
    assert off(Offer(), "nl") == "De assistent staat hier uit."


def test_without_a_word_of_the_site_the_assistant_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEERLAB_ASSISTANT", raising=False)
    assert Offer.of_this_lab() == Offer(on=False)
