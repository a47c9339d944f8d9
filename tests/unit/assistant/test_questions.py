"""What a request may hold: known fields within bounds, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.errors import Refusal
from assistant.questions import LONGEST_ANSWER, chat_question, embedding_question

PLAIN: dict[str, Any] = {"model": "small", "messages": [{"role": "user", "content": "Wat is een mediaan?"}]}


def asked(**more: Any) -> bytes:
    return json.dumps({**PLAIN, **more}).encode()


def test_a_question_goes_on_with_what_was_asked_and_always_as_a_stream() -> None:
    question = chat_question(asked(temperature=0.2, stop=["\n"], seed=7, user="mij"))
    assert question.passed_on("theirs", 99) == {
        "temperature": 0.2, "stop": ("\n",), "seed": 7, "model": "theirs", "max_tokens": 99, "stream": True,
        "stream_options": {"include_usage": True}, "messages": [{"role": "user", "content": "Wat is een mediaan?"}],
    }  # fmt: skip


def test_an_answer_is_never_longer_than_the_gateway_allows() -> None:
    assert chat_question(asked(max_tokens=10**6)).longest == LONGEST_ANSWER
    assert chat_question(asked(max_completion_tokens=20)).longest == 20


def test_parts_of_text_are_put_together() -> None:
    parts = [{"type": "text", "text": "Wat "}, {"type": "text", "text": "nu?"}]
    question = chat_question(json.dumps({"model": "m", "messages": [{"role": "user", "content": parts}]}).encode())
    assert question.messages[0].text == "Wat nu?"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"base_url": "http://169.254.169.254/"}, "base_url"),
        ({"api_base": "http://127.0.0.1:8888"}, "api_base"),
        ({"tools": []}, "tools"),
        ({"logit_bias": {}}, "logit_bias"),
        ({"grammar": "root ::= x"}, "grammar"),
        ({"n": 2}, "n"),
        ({"n": True}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": -(2**70)}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"stream": 1}, "stream"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"model": ["small"]}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": "x"}] * 101}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "file:///etc/passwd"}]}]},
         "messages"),
    ],
)  # fmt: skip
def test_what_is_not_known_or_out_of_bounds_is_refused_by_its_name(more: dict[str, Any], param: str) -> None:
    with pytest.raises(Refusal) as refused:
        chat_question(asked(**more))
    assert (refused.value.status, refused.value.param) == (400, param)


def test_a_refusal_repeats_nothing_of_the_question() -> None:
    secret = "PLANTED-7731"
    for body in (
        asked(messages=[{"role": "user", "content": secret, secret: 1}]),
        asked(temperature=secret),
        asked(**{f"{secret} and more": secret}),
        json.dumps({"model": secret}).encode()[:-1],
    ):
        with pytest.raises(Refusal) as refused:
            chat_question(body)
        said = json.dumps([refused.value.body("nl"), refused.value.body("en"), str(refused.value)])
        assert secret not in said and refused.value.__cause__ is None


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"null", b'{"model": "small", "model": "large", "messages": [{"role": "user", "content": "x"}]}',
        b'{"model": NaN}', b"[" * 100_000, b"\xff\xfe", b'{"model": "\\ud800", "messages": []}',
    ],
)  # fmt: skip
def test_what_is_no_json_of_ours_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        chat_question(body)
    assert refused.value.status == 400


@given(st.text(max_size=200))
def test_every_text_is_read_or_refused_and_its_estimate_is_never_nothing(text: str) -> None:
    question = chat_question(asked(messages=[{"role": "user", "content": text}]))
    assert question.messages[0].text == text and question.estimate >= len(text.encode()) // 2


def test_embeddings_take_texts_and_no_tokens() -> None:
    assert embedding_question(b'{"model": "m", "input": ["a", "b"]}').texts == ("a", "b")
    assert embedding_question(b'{"model": "m", "input": "a", "encoding_format": "base64"}').texts == ("a",)
    for wrong in (b'{"model": "m", "input": [1, 2]}', b'{"model": "m", "input": []}', b'{"model": "m", "input": null}'):
        with pytest.raises(Refusal):
            embedding_question(wrong)
