"""Logging in through a certified provider: who gets in, as whom, with which groups, and out again."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import httpx
import pytest
from login_site import DOMAIN, Browser, LoginSite, ToLoopback

from hub_config.login.names import PSEUDONYM

pytestmark = pytest.mark.integration


def test_the_login_page_has_one_button_a_provider_in_both_languages(site: LoginSite) -> None:
    with site.browser("nl") as dutch, site.browser("en") as english:
        page = dutch.get("/hub/login").text
        assert re.findall(r"Inloggen met ([A-Za-z]+)<", page) == ["SURFconext", "Bedrijf", "Elders"]
        assert re.findall(r"Log in with ([A-Za-z]+)<", english.get("/hub/login").text) == [
            "SURFconext",
            "Company",
            "Elsewhere",
        ]


def test_the_way_to_the_provider_asks_for_a_code_with_pkce_state_and_nonce(browser: Browser, site: LoginSite) -> None:
    query = httpx.URL(browser.begin("surf")).params
    assert query["response_type"] == "code" and query["code_challenge_method"] == "S256"
    assert len(query["state"]) >= 22 and len(query["nonce"]) >= 22 and len(query["code_challenge"]) == 43
    assert query["redirect_uri"] == f"{site.address}/hub/oidc/surf/callback"
    assert "openid" in query["scope"].split()


def test_a_student_gets_in_under_a_pseudonym_with_the_groups_of_the_rules(browser: Browser, site: LoginSite) -> None:
    assert browser.log_in("anna-7f3a").headers["location"] == "/hub/token"
    name = browser.name
    assert re.fullmatch(PSEUDONYM, name) and "anna" not in name
    user = site.user(name)
    assert sorted(user["groups"]) == ["nbgrader-ai-in-je-vak", "students-hbo"] and not user["admin"]
    assert "Anna de Vries" in browser.get("/hub/token").text
    entry = site.entries("login")[-1]
    assert (entry.actor, entry.action, entry.details) == (name, "login", {"kind": "oidc", "provider": "surf"})


def test_two_providers_side_by_side_make_two_people_of_one_subject(site: LoginSite) -> None:
    with site.browser() as first, site.browser() as second:
        first.log_in("bram-91bc", "surf")
        second.log_in("bram-91bc", "bedrijf")
        assert first.name and second.name and first.name != second.name


def test_the_same_person_has_the_same_name_next_time(site: LoginSite) -> None:
    with site.browser() as first, site.browser() as second:
        first.log_in("bram-91bc")
        second.log_in("bram-91bc")
        assert first.name == second.name


def test_who_was_on_the_way_somewhere_gets_there_after_login(browser: Browser) -> None:
    assert browser.log_in("anna-7f3a", goal="/hub/spawn?x=1").headers["location"] == "/hub/spawn?x=1"


def test_who_fits_no_rule_does_not_get_in_and_reads_what_to_do(browser: Browser, site: LoginSite) -> None:
    page = browser.log_in("niemand-0001")
    assert page.status_code == 403 and "je hebt hier nog geen toegang" in page.text
    assert "Vraag je docent of je contactpersoon" in page.text
    assert not browser.logged_in and site.refusals()[-1] == "no-group"
    names = [entry.subject for entry in site.entries("login.refused")]
    assert re.fullmatch(PSEUDONYM, names[-1])


def test_who_stops_at_the_provider_reads_that_nothing_happened(browser: Browser, site: LoginSite) -> None:
    page = browser.log_in(None)
    assert "Je hebt het inloggen bij SURFconext afgebroken" in page.text
    assert "the person said no" not in page.text and site.refusals()[-1] == "cancelled"


def test_a_page_of_a_refusal_is_there_in_the_other_language(browser: Browser) -> None:
    browser.log_in(None)
    english = browser.get("/hub/login/failed?why=login.cancelled&provider=rogue", headers={"Accept-Language": "en"})
    assert "You stopped logging in at Elsewhere." in english.text
    assert browser.get("/hub/login/failed?why=nonsense&provider=rogue").headers["location"] == "/hub/login"


def test_logging_out_ends_the_session_and_says_that_the_provider_may_still_know_the_person(
    browser: Browser, site: LoginSite
) -> None:
    browser.log_in("anna-7f3a")
    name = browser.name
    answer = browser.post("/hub/logout", data={"_xsrf": browser.xsrf()})
    assert answer.headers["location"] == "/hub/logout"
    assert "misschien nog ingelogd" in browser.get("/hub/logout").text
    assert not browser.logged_in
    assert (site.entries("logout")[-1].actor, site.entries("logout")[-1].subject) == (name, name)


def test_what_is_kept_of_a_login_is_encrypted_with_a_key_outside_the_database(
    browser: Browser, site: LoginSite
) -> None:
    browser.log_in("anna-7f3a")
    with sqlite3.connect(f"file:{site.root}/hub.sqlite?mode=ro", uri=True) as database:
        kept = [row[0] for row in database.execute("select encrypted_auth_state from users") if row[0]]
    assert kept and all(value.startswith(b"gAAAA") for value in kept)
    raw = b"".join(path.read_bytes() for path in site.root.glob("hub.sqlite*"))
    assert b"anna-7f3a" not in raw and b"refresh_token" not in raw
    key = site.state.secrets / "auth-state-key"
    assert key.stat().st_mode & 0o777 == 0o600 and key.read_bytes().strip() not in raw


def test_the_clients_secret_and_the_tokens_are_in_no_log_and_no_command_line(browser: Browser, site: LoginSite) -> None:
    browser.log_in("anna-7f3a")
    secret = (site.root / "secret").read_text().strip()
    assert secret not in site.log() and "eyJ" not in site.log() and "access_token" not in site.log()
    assert all(secret not in Path(f"/proc/{process.pid}/cmdline").read_text() for process in site.processes)


def test_origins_of_people_that_are_not_known_beforehand_are_answered(site: LoginSite) -> None:
    with httpx.Client(transport=ToLoopback(), timeout=40) as client:
        for label, status in (("p-abcdefghij234567", 302), ("box-abcdefgh-p-abcdefghij234567", 302), ("evil", 403)):
            answer = client.get(f"http://{label}.{DOMAIN}:{site.port}/hub/login")
            assert answer.status_code == status, label
