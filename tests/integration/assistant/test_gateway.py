"""What the gateway answers, to whom, and what it keeps of it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from gateway_alone import KEY, Alone, TestModel, eventually, last, question, words

from ledger.answers import Answer, AnswerLedger, AnswerState

pytestmark = pytest.mark.integration
CHAT = "/v1/chat/completions"


def test_a_student_gets_an_answer_in_one_piece_and_its_use_is_kept(gateway: Alone, model: TestModel) -> None:
    with gateway.student("alpha") as sanne:
        answer = sanne.post(CHAT, json=question()).json()
    assert answer["choices"][0]["message"]["content"] == "one two three"
    assert answer["model"] == "talker"
    assert answer["usage"]["total_tokens"] == 8
    assert answer["usage"]["leerlab"] == {"joules": None, "measured": False}, "nobody measures a remote model"
    (kept,) = gateway.kept(sanne)
    name = sanne.headers["x-test-name"]
    assert (kept["person"], kept["account"], kept["model"], kept["state"]) == (name, name, "talker", "whole")
    assert (kept["tokens_in"], kept["tokens_out"], kept["joules"]) == (5, 3, None)
    assert datetime.fromisoformat(kept["asked"]) > datetime.now(UTC) - timedelta(minutes=1)


def test_a_stream_comes_piece_by_piece_and_ends_with_what_it_took_for_who_asks_so(
    gateway: Alone, model: TestModel
) -> None:
    with gateway.student() as sanne:
        plain = sanne.post(CHAT, json=question(stream=True))
        told = sanne.post(CHAT, json=question(stream=True, stream_options={"include_usage": True}))
    assert words(plain) == words(told) == "one two three"
    assert plain.text.endswith("data: [DONE]\n\n") and "usage" not in plain.text
    assert last(told)["usage"] == {
        "prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8, "leerlab": {"joules": None, "measured": False},
    }  # fmt: skip
    assert [
        kept["tokens_out"] for kept in eventually(lambda: len(gateway.kept(sanne)) == 2 and gateway.kept(sanne))
    ] == [3, 3]


def test_the_first_piece_does_not_wait_for_the_last(gateway: Alone, model: TestModel) -> None:
    model.words, model.pause = ("first ", "second"), 3.0
    with gateway.student() as sanne, sanne.stream("POST", CHAT, json=question(stream=True)) as answer:
        began = datetime.now(UTC)
        assert b"first" in next(answer.iter_raw())
        assert datetime.now(UTC) - began < timedelta(seconds=1.5)


def test_a_models_server_sees_the_sites_key_and_its_own_name_and_nothing_of_who_asks(
    gateway: Alone, model: TestModel
) -> None:
    with gateway.student("alpha") as sanne:
        sanne.post(CHAT, json=question(user="sanne@school.example", temperature=0.5), headers={"X-Person": "sanne"})
        token = sanne.headers["authorization"].removeprefix("Bearer ")
    asked, headers = model.asked[0], model.headers[0]
    assert headers["authorization"] == f"Bearer {KEY}"
    assert asked == {**question(temperature=0.5), "model": "inner-name", "stream": False}
    assert "sanne" not in str(headers) and "sanne" not in str(asked) and token not in str(headers)


def test_embeddings_are_given_and_counted(gateway: Alone, model: TestModel) -> None:
    with gateway.student() as sanne:
        answer = sanne.post("/v1/embeddings", json={"model": "counter", "input": ["a", "b"]}).json()
    assert [one["embedding"] for one in answer["data"]] == [[0.5], [0.5]]
    assert [(kept["model"], kept["tokens_in"], kept["tokens_out"]) for kept in gateway.kept(sanne)] == [
        ("counter", 3, 0)
    ]


def test_the_models_and_the_policy_are_those_of_all_courses_together(gateway: Alone) -> None:
    with gateway.student("alpha") as one, gateway.student("alpha", "beta") as both:
        assert [model["id"] for model in one.get("/v1/models").json()["data"]] == ["talker", "counter"]
        assert [model["id"] for model in both.get("/v1/models").json()["data"]] == ["talker"]
        assert one.get("/policy").json() == {
            "on": True, "models": ["talker", "counter"], "tokens_per_hour": 2000, "tokens_left": 2000, "off": [],
        }  # fmt: skip
        refused = both.post("/v1/embeddings", json={"model": "counter", "input": "a"})
        assert refused.status_code == 404 and refused.json()["error"]["code"] == "model"


def test_where_it_is_off_the_refusal_says_why_in_the_language_of_who_asks(gateway: Alone, model: TestModel) -> None:
    with gateway.student("alpha", "exam") as sanne:
        for path in (CHAT, "/v1/embeddings"):
            english = sanne.post(path, json=question())
            dutch = sanne.post(path, json=question(), headers={"Accept-Language": "nl"})
            assert english.status_code == dutch.status_code == 403
            assert english.json()["error"]["code"] == "off-because"
            assert english.json()["error"]["message"] == "The assistant is off, because of the course The exam."
            assert dutch.json()["error"]["message"] == "De assistent staat uit, vanwege de cursus Het examen."
        assert sanne.get("/v1/models").status_code == 403
        assert sanne.get("/policy").json()["off"] == [{"kind": "course", "id": "exam"}]
    assert model.asked == [] and gateway.kept(sanne) == []


def test_a_teacher_who_takes_no_course_may_try_it_where_it_is_on(gateway: Alone) -> None:
    gateway.hub.groups["docent"] = ["formgrade-alpha"]
    with gateway.client(gateway.hub.token("docent")) as docent:
        assert docent.get("/policy").json()["on"]
    gateway.hub.groups["bezoek"] = []
    with gateway.client(gateway.hub.token("bezoek")) as nobody:
        assert not nobody.get("/policy").json()["on"]


def test_a_member_of_a_sandbox_asks_from_there_and_its_use_counts_for_the_person(gateway: Alone) -> None:
    sandbox = gateway.sandbox_of("mila")
    with gateway.member("mila", sandbox) as inside:
        assert inside.get("/policy").json()["tokens_per_hour"] == 500
        assert inside.post(CHAT, json=question()).status_code == 200
    assert [(kept["person"], kept["account"]) for kept in gateway.kept("mila")] == [("mila", f"box-{sandbox}-mila")]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tools": []}, "tools is not allowed"),
        ({"n": 2}, "n: "),
        ({"temperature": 9}, "temperature"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "http://x"}]}]},
            "messages.0.content.0.type",
        ),
        ({"max_tokens": 0}, "max_tokens"),
        ({"seed": "one"}, "seed"),
    ],
)
def test_what_is_not_allowed_is_named(gateway: Alone, model: TestModel, changes: dict[str, object], says: str) -> None:
    with gateway.student() as sanne:
        answer = sanne.post(CHAT, json={**question(), **changes})
    assert answer.status_code == 400 and says in answer.json()["error"]["message"]
    assert model.asked == []


def test_no_answer_is_longer_than_the_site_allows(gateway: Alone, model: TestModel) -> None:
    with gateway.student() as sanne:
        sanne.post(CHAT, json=question(max_tokens=100_000))
    assert model.asked[0]["max_tokens"] == 512


def test_a_used_up_hour_is_said_with_the_time_until_there_is_room(gateway: Alone, model: TestModel) -> None:
    asked = datetime.now(UTC) - timedelta(minutes=50)
    spent = Answer("piet", "piet", "talker", asked, 1.0, 1000, 990, None, AnswerState.WHOLE)
    AnswerLedger(gateway.ledger).add(spent)
    old = Answer("piet", "piet", "talker", asked - timedelta(minutes=11), 1, 10**6, 0, None, AnswerState.WHOLE)
    AnswerLedger(gateway.ledger).add(old)
    with gateway.student(name="piet") as sanne, gateway.student() as jelmer:
        assert sanne.get("/policy").json()["tokens_left"] == 10
        refused = sanne.post(CHAT, json=question())
        assert refused.status_code == 429 and refused.json()["error"]["code"] == "budget"
        assert 500 < int(refused.headers["retry-after"]) <= 600
        assert "In 10 min" in refused.json()["error"]["message"]
        assert jelmer.post(CHAT, json=question()).status_code == 200, "another's tokens are another's"
    assert len(model.asked) == 1


def test_an_answer_gets_no_more_tokens_than_are_left(gateway: Alone, model: TestModel) -> None:
    asked = datetime.now(UTC)
    AnswerLedger(gateway.ledger).add(Answer("klaas", "klaas", "talker", asked, 1, 1900, 0, None, AnswerState.WHOLE))
    with gateway.student(name="klaas") as sanne:
        assert sanne.post(CHAT, json=question(max_tokens=500)).status_code == 200
    estimate = 8 + len(b"How many?") // 2 + 1
    assert model.asked[0]["max_tokens"] == 100 - estimate


def test_a_question_that_no_hour_has_room_for_is_told_so(gateway: Alone) -> None:
    with gateway.student() as sanne:
        refused = sanne.post(CHAT, json=question("long " * 2000))
    assert refused.status_code == 400 and refused.json()["error"]["code"] == "too-long"


def test_many_people_share_a_model_and_wait_their_turn(gateway: Alone, model: TestModel) -> None:
    model.pause = 0.1

    def ask(_number: int) -> httpx.Response:
        with gateway.student() as student:
            return student.post(CHAT, json=question(stream=True))

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, range(12)))
    assert [answer.status_code for answer in answers] == [200] * 12
    assert all(words(answer) == "one two three" for answer in answers)
    assert model.most == 4, "no more than at_once"


def test_nobody_asks_more_than_two_things_at_once(gateway: Alone, model: TestModel) -> None:
    model.pause = 0.5
    with gateway.student() as sanne, ThreadPoolExecutor(5) as pool:
        together = threading.Barrier(5)

        def ask(_number: int) -> int:
            together.wait()
            return sanne.post(CHAT, json=question()).status_code

        assert sorted(pool.map(ask, range(5))) == [200, 200, 429, 429, 429]
        eventually(lambda: len(gateway.kept(sanne)) == 2)
        assert sanne.post(CHAT, json=question()).status_code == 200, "and after that again"
