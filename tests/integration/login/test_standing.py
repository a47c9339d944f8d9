"""After the login: what a provider no longer gives is taken away; one that is silent changes nothing for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from login_site import PEOPLE, Browser, LoginSite, start_site, stop_site, wait_for

pytestmark = pytest.mark.integration
GRACE = 6
SOON = 60
STUDENT = "nbgrader-ai-in-je-vak"
TEACHER = "formgrade-ai-in-je-vak"


@pytest.fixture(scope="module")
def watched() -> Iterator[LoginSite]:
    """A site that asks every second; access tokens live two seconds, so refresh tokens are needed all the time."""
    site = start_site(
        login={"check_every": "1s", "grace": f"{GRACE}s"}, fresh_seconds=0, silence_seconds=0.5, access_seconds=2
    )
    try:
        yield site
    finally:
        stop_site(site)


@pytest.fixture
def site(watched: LoginSite) -> LoginSite:
    """That site, without what a test that failed has left."""
    watched.certified.write(PEOPLE)
    if len(watched.processes) < 2:
        watched.start_hub()
    for name in running(watched):
        watched.api("DELETE", f"/users/{name}/server")
    wait_for("no server", lambda: not running(watched), SOON, watched.log)
    return watched


def running(site: LoginSite) -> list[str]:
    """Whose servers run."""
    return [user["name"] for user in site.api("GET", "/users").json() if user.get("servers")]


def start_server(site: LoginSite, name: str) -> None:
    assert site.api("POST", f"/users/{name}/server").status_code in (201, 202)
    wait_for("the server", lambda: site.user(name)["servers"].get("", {}).get("ready"), SOON, site.log)


def token_of(site: LoginSite, name: str) -> str:
    """A token that the person has, as a portal session would."""
    return str(site.api("POST", f"/users/{name}/tokens", json={"note": "session"}).json()["token"])


def works(site: LoginSite, token: str) -> bool:
    with Browser(site) as browser:
        return browser.get("/hub/api/user", headers={"Authorization": f"token {token}"}).status_code == 200


def without(person: str, *affiliations: str) -> dict[str, Any]:
    left = [one for one in PEOPLE[person]["eduperson_affiliation"] if one not in affiliations]
    return {**PEOPLE, person: {**PEOPLE[person], "eduperson_affiliation": left}}


def test_a_lost_claim_takes_its_group_and_sessions_and_leaves_the_rest(site: LoginSite) -> None:
    with site.browser() as browser:
        browser.log_in("bram-91bc")
        name = browser.name
        start_server(site, name)
        token = token_of(site, name)
        site.certified.write(without("bram-91bc", "employee"))
        wait_for("the group is gone", lambda: TEACHER not in site.user(name)["groups"], SOON, site.log)
        assert STUDENT in site.user(name)["groups"]
        assert not works(site, token)
        assert browser.logged_in and site.user(name)["servers"][""]["ready"]
        assert site.entries("login.groups")[-1].details == {"provider": "surf", "lost": f"{TEACHER} teachers"}
        site.certified.write(PEOPLE)
        wait_for("the group is back", lambda: TEACHER in site.user(name)["groups"], SOON, site.log)
        assert site.api("DELETE", f"/users/{name}/server").status_code in (202, 204)


def test_who_loses_the_last_claim_loses_session_tokens_and_server(site: LoginSite) -> None:
    with site.browser() as browser:
        browser.log_in("anna-7f3a")
        name = browser.name
        box = f"box-abcdefgh-{name}"
        site.api("POST", f"/users/{box}")
        start_server(site, name)
        start_server(site, box)
        token = token_of(site, name)
        assert works(site, token)
        site.certified.write(without("anna-7f3a", "student", "member"))
        wait_for("the server is gone", lambda: not site.user(name)["servers"], SOON, site.log)
        wait_for("the server in a sandbox too", lambda: not site.user(box)["servers"], SOON, site.log)
        assert site.user(name)["groups"] == [] and not works(site, token) and not browser.logged_in
        entry = site.entries("login.withdrawn")[-1]
        assert (entry.subject, entry.details["reason"]) == (name, "claim-lost")
        assert browser.log_in("anna-7f3a").status_code == 403
        site.certified.write(PEOPLE)
        assert browser.log_in("anna-7f3a").status_code == 302 and browser.name == name


def test_a_server_that_still_waits_to_start_is_withdrawn_too(site: LoginSite) -> None:
    with site.browser() as browser:
        browser.log_in("anna-7f3a")
        name = browser.name
        (site.root / "wait").touch()
        try:
            assert site.api("POST", f"/users/{name}/server").status_code in (201, 202)
            assert site.user(name)["servers"][""]["pending"] == "spawn"
            site.certified.write(without("anna-7f3a", "student", "member"))
            wait_for("the start is withdrawn", lambda: not site.user(name)["servers"], SOON, site.log)
        finally:
            (site.root / "wait").unlink()


def test_access_goes_on_with_refresh_tokens_for_as_long_as_the_provider_answers(site: LoginSite) -> None:
    with site.browser() as browser:
        browser.log_in("bram-91bc")
        end = time.monotonic() + GRACE + 3
        while time.monotonic() < end:
            assert browser.logged_in, site.log()[-2000:]
            time.sleep(0.5)


def test_accounts_of_courses_and_sandboxes_are_left_alone(site: LoginSite) -> None:
    before = len(site.entries("login.withdrawn"))
    names = ["course-ai-in-je-vak", "box-abcdefgh-somebody"]
    for name in names:
        site.api("POST", f"/users/{name}")
    tokens = [token_of(site, name) for name in names]
    time.sleep(3)
    assert all(works(site, token) for token in tokens)
    for name in names:
        start_server(site, name)
        site.api("DELETE", f"/users/{name}/server")
    assert len(site.entries("login.withdrawn")) == before


def test_people_from_before_this_login_lose_what_they_had(site: LoginSite) -> None:
    site.api("POST", "/users/sanne")
    token = token_of(site, "sanne")
    wait_for("the token is gone", lambda: not works(site, token), SOON, site.log)


@pytest.mark.fault
def test_a_provider_that_is_down_changes_nothing_until_the_grace_is_over(site: LoginSite) -> None:
    with site.browser() as browser:
        browser.log_in("bram-91bc")
        name = browser.name
        start_server(site, name)
        with site.certified.down():
            begun = time.monotonic()
            while True:
                kept = browser.logged_in and STUDENT in site.user(name)["groups"] and site.user(name)["servers"]
                # What was answered later than this, on a machine that stood still, tells nothing.
                if time.monotonic() > begun + GRACE - 3:
                    break
                assert kept, site.log()[-2000:]
                time.sleep(0.5)
            wait_for("access ends", lambda: not browser.logged_in, SOON, site.log)
            assert time.monotonic() - begun > GRACE - 3
            wait_for("the server is gone", lambda: not site.user(name)["servers"], SOON, site.log)
            assert site.entries("login.withdrawn")[-1].details["reason"] == "provider-silent"
        assert browser.log_in("bram-91bc").status_code == 302


@pytest.mark.fault
def test_a_locked_ledger_keeps_no_access_alive_and_the_record_comes_later(site: LoginSite) -> None:
    from sqlalchemy import create_engine

    with site.browser() as browser:
        browser.log_in("anna-7f3a")
        name = browser.name
        before = len(site.entries("login.withdrawn"))
        engine = create_engine(f"sqlite:///{site.state.ledger}")
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            site.certified.write(without("anna-7f3a", "student", "member"))
            wait_for("access ends", lambda: not browser.logged_in, SOON, site.log)
            time.sleep(11)  # longer than the ledger waits for a lock
            connection.exec_driver_sql("ROLLBACK")
        engine.dispose()
        wait_for("the record", lambda: len(site.entries("login.withdrawn")) > before, SOON, site.log)
        assert site.entries("login.withdrawn")[-1].subject == name


@pytest.mark.fault
def test_a_restarted_hub_still_knows_whom_to_ask(site: LoginSite) -> None:
    with site.browser() as browser:
        browser.log_in("anna-7f3a")
        name = browser.name
        site.stop_hub()
        site.certified.write(without("anna-7f3a", "student", "member"))
        site.start_hub()
        wait_for("access ends", lambda: not browser.logged_in, SOON, site.log)
        assert site.user(name)["groups"] == []


@pytest.mark.fault
def test_a_hub_that_is_killed_while_it_takes_a_server_away_does_so_when_it_is_back(site: LoginSite) -> None:
    """Groups, tokens and what to ask with are gone by then: nothing but the server is left of the person."""
    with site.browser() as browser:
        browser.log_in("anna-7f3a")
        name = browser.name
        start_server(site, name)
        (site.root / "wait-stop").touch()
        try:
            site.certified.write(without("anna-7f3a", "student", "member"))
            wait_for("access ends", lambda: not browser.logged_in, SOON, site.log)
            wait_for("the stop", lambda: site.user(name)["servers"][""]["pending"] == "stop", SOON, site.log)
            site.kill_hub()
        finally:
            (site.root / "wait-stop").unlink()
        site.start_hub()
        wait_for("the server is gone", lambda: not site.user(name)["servers"], SOON, site.log)
        assert site.user(name)["groups"] == []


def test_a_start_asks_the_provider_first(new_login_site: Callable[..., LoginSite]) -> None:
    site = new_login_site(login={"check_every": "1d", "grace": "1h"}, fresh_seconds=0)
    with site.browser() as browser:
        browser.log_in("anna-7f3a")
        name = browser.name
        token = token_of(site, name)
        site.certified.write(without("anna-7f3a", "student", "member"))
        answer = browser.post(f"/hub/api/users/{name}/server", headers={"Authorization": f"token {token}"})
        assert answer.status_code == 403
        assert site.user(name)["groups"] == [] and not site.user(name)["servers"]


@pytest.mark.fault
def test_a_provider_that_is_down_lets_a_start_go_on_within_the_grace(new_login_site: Callable[..., LoginSite]) -> None:
    site = new_login_site(login={"check_every": "1d", "grace": "1h"}, fresh_seconds=0)
    with site.browser() as browser:
        browser.log_in("anna-7f3a")
        with site.certified.down():
            start_server(site, browser.name)
