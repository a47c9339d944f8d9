"""Which language a page speaks, where the switch may go, and how messages become sentences."""

from __future__ import annotations

import asyncio

import pytest

from base.messages import Message
from portal import request
from portal.failures import failure
from portal.language import duration, gettext, messages_starting, safe_return, sentence, template_environment
from portal.profiles import Kind, ProfileChoice, profile_form
from spawners.failures import LAST_LINES, StartFailed


def in_language(language: str) -> None:
    request.enter({"Cookie": f"leerlab-language={language}"}, "/hub/home", "nl")


def test_the_cookie_wins_over_the_browsers_preference_and_the_sites_language() -> None:
    page = request.enter({"Cookie": "a=b; leerlab-language=en", "Accept-Language": "nl"}, "/", "nl")
    assert page.language == "en"


def test_a_cookie_that_cannot_be_parsed_does_not_hide_the_language() -> None:
    assert request.enter({"Cookie": 'odd="[};; x{y}; leerlab-language=en'}, "/", "nl").language == "en"


def test_an_unknown_language_in_the_cookie_counts_as_none() -> None:
    assert request.enter({"Cookie": "leerlab-language=../../etc"}, "/", "en").language == "en"


def test_without_a_choice_the_browser_decides_and_then_the_site() -> None:
    assert request.enter({"Accept-Language": "de, en;q=0.5"}, "/", "nl").language == "en"
    assert request.enter({}, "/", "nl").language == "nl"


async def test_two_requests_at_once_do_not_share_a_language() -> None:
    async def page(language: str) -> str:
        in_language(language)
        await asyncio.sleep(0)
        return gettext("My courses")

    assert await asyncio.gather(page("nl"), page("en"), page("nl")) == [
        "Mijn cursussen",
        "My courses",
        "Mijn cursussen",
    ]


@pytest.mark.parametrize(
    ("language", "seconds", "words"),
    [
        ("nl", 42, "42 seconden"),
        ("nl", 61, "1 minuut"),
        ("en", 320, "5 minutes"),
        ("nl", 7200, "2 uur"),
        ("en", 0, "0 seconds"),
    ],
)
def test_a_duration_is_told_in_its_largest_unit(language: str, seconds: int, words: str) -> None:
    in_language(language)
    assert duration(seconds) == words


def test_a_parameter_in_seconds_becomes_a_duration_in_the_sentence() -> None:
    in_language("nl")
    assert "Wacht 1 minuut" in sentence(Message("login.key-throttled", {"seconds": 60}))


def test_the_start_page_gets_every_start_message_in_its_own_language() -> None:
    in_language("nl")
    texts = messages_starting("start.")
    assert texts["start.starting"] == "Er is plaats. Je werkplek wordt gestart."
    assert all(code.startswith("start.") for code in texts)


@pytest.mark.parametrize("address", ["/hub/home", "/hub/spawn/sanne?next=/user/sanne/lab", "/hub/token"])
def test_the_language_switch_returns_to_a_page_of_this_site(address: str) -> None:
    assert safe_return(address, "/hub/home") == address


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/", "//evil.example/", "///evil.example",
        "/\\evil.example", "\\\\evil.example", "/\t/evil.example",
        "/\n/evil.example", "javascript:alert(1)", "hub/home", "", "/hub/home\r\nSet-Cookie: a=b", "/hub/\u2215evil",
    ],
)  # fmt: skip
def test_the_language_switch_never_leaves_this_site(address: str) -> None:
    assert safe_return(address, "/hub/home") == "/hub/home"


def test_a_failed_start_shows_its_reason_and_its_log_apart() -> None:
    error = StartFailed(Message("start.waiting.never", {LAST_LINES: "<script>x</script>\n", "reason": "x"}), "x")
    told = failure(error)
    assert told.message == Message("start.waiting.never", {"reason": "x"})
    assert told.log == "<script>x</script>"


def test_an_error_of_another_kind_has_no_reason_of_ours() -> None:
    assert failure(RuntimeError("x")).message is None


def test_one_profile_is_no_choice_and_two_are() -> None:
    in_language("nl")
    one = ProfileChoice("a", "Gewoon", 1, "2 GB", 4 * 3600.0)
    two = ProfileChoice("b", "<b>GPU</b>", 2, "4 GB", 5400.0, Kind.SHARED, "1/8")
    assert profile_form([one]) == ""
    form = profile_form([one, two], chosen="b")
    assert "1 rekenkern<" in form and "2 rekenkernen<" in form
    assert form.count(" checked") == 1 and 'free-b" checked' in form
    assert "hoogstens 4 uur" in form and "hoogstens 90 minuten" in form
    assert "<b>GPU</b>" not in form


async def test_a_page_outside_jupyterhub_extends_the_same_shell() -> None:
    in_language("en")
    page = template_environment().from_string('{% extends "shell.html" %}{% block title %}Data{% endblock %}')
    html = await page.render_async(base_url="/hub/")
    assert '<html lang="en">' in html and "<title>Data · Leerlab</title>" in html and "Skip to the content" in html
