"""The choice of a profile as the start page shows it."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import pytest

from base.quantities import Duration, Size
from portal import request
from portal.profiles import Free, Kind, ProfileChoice, choice_of, choices_of, free_words, last_choice, profile_form
from spawners.settings import Profile, Title

PLAIN = ProfileChoice("plain", "Gewoon", 1, "2GB", 4 * 3600.0)


def profile(**asked: object) -> Profile:
    return Profile(
        **{
            "id": "one", "title": Title(nl="Een <b>", en="One"), "partition": "gpu", "cpus": 1,
            "memory": Size.parse("1G"), "time": Duration.parse("4h"), **asked,
        }
    )  # fmt: skip


@pytest.fixture(autouse=True)
def dutch() -> None:
    request.enter({}, "/", "nl")


@pytest.mark.parametrize(
    ("asked", "share", "kind", "words"),
    [
        ({}, 0, Kind.NONE, "Kost geen GPU-uren"),
        ({"gpus": 2}, 2, Kind.WHOLE, "Kost per uur: 2 GPU-uur"),
        ({"gpus": 1, "gpu_type": "h200"}, 1, Kind.WHOLE, "1 GPU (h200)"),
        ({"gpus": 1, "gpu_type": "1g.10gb"}, Fraction(1, 7), Kind.SLICE, "1/7 GPU voor jou alleen (1g.10gb)"),
        ({"shards": 2}, Fraction(2, 8), Kind.SHARED, "1/4 GPU, samen met anderen"),
        ({"per_person": 2}, 0, Kind.NONE, "hoogstens 2 tegelijk"),
        ({"reservation": "les-dinsdag"}, 0, Kind.NONE, "gereserveerde tijd les-dinsdag"),
    ],
)
def test_a_choice_says_what_it_has_and_what_it_costs(
    asked: dict[str, object], share: Fraction, kind: Kind, words: str
) -> None:
    choice = choice_of(profile(**asked), Fraction(share), "nl")
    html = profile_form([choice, PLAIN])
    assert choice.kind is kind and words in html
    assert "Een &lt;b&gt;" in html and "<b>" not in html


def test_the_last_choice_is_marked_and_one_that_is_gone_is_not() -> None:
    assert 'value="plain" aria-describedby="about-plain free-plain" checked' in profile_form(
        [choice_of(profile(), Fraction(0), "nl"), PLAIN], "plain"
    )
    for gone in ("", "gone", '"><script>'):
        html = profile_form([PLAIN, choice_of(profile(), Fraction(0), "nl")], gone)
        assert html.count("checked") == 1 and "script" not in html
        assert 'value="plain" aria-describedby="about-plain free-plain" checked' in html
    assert profile_form([PLAIN], "plain") == ""


@pytest.mark.parametrize(
    ("seen", "free"),
    [
        ({}, Free.UNKNOWN), ({"room": 0}, Free.FULL), ({"room": 3}, Free.FREE), ({"room": 3, "ahead": 1}, Free.QUEUE),
        ({"room": 3, "reservation": "x"}, Free.UNKNOWN),
    ],
)  # fmt: skip
def test_whether_it_could_start_now(seen: dict[str, object], free: Free) -> None:
    choice = ProfileChoice("plain", "Gewoon", 1, "2GB", 4 * 3600.0, **seen)
    assert choice.free is free
    (told,) = free_words([choice])
    assert told["id"] == "plain" and told["state"] == free.value
    assert told["text"] in profile_form([choice, PLAIN])


def row(profile: object) -> SimpleNamespace:
    return SimpleNamespace(user_options={"profile": profile} if profile else None)


@pytest.mark.parametrize(
    ("here", "first", "chosen"),
    [("gpu", "plain", "gpu"), (None, "plain", "plain"), (None, None, ""), (["x"], "plain", "plain")],
)
def test_the_last_choice_is_of_this_server_or_else_of_the_first(here: object, first: object, chosen: str) -> None:
    user = SimpleNamespace(orm_user=SimpleNamespace(orm_spawners={"": row(first)}))
    assert last_choice(SimpleNamespace(user=user, orm_spawner=row(here))) == chosen


@pytest.mark.fault
async def test_without_an_answer_of_slurm_the_form_is_there_all_the_same() -> None:
    class Silent:
        async def nodes(self) -> tuple[()]:
            return ()

    facility = SimpleNamespace(
        profiles_for=lambda _user: [profile(), profile(id="two")],
        part_of_gpu=lambda _profile: Fraction(0),
        watcher=SimpleNamespace(queue=None, answering=False),
    )
    choices = await choices_of(SimpleNamespace(facility=facility, user=None, looks=Silent()))
    assert [choice.free for choice in choices] == [Free.UNKNOWN] * 2
