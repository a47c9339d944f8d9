"""Failures at the moment of the login: a clear page, a record, and nobody inside by accident."""

from __future__ import annotations

import time

import pytest
from login_site import Browser, LoginSite, private_jwk
from sqlalchemy import create_engine

pytestmark = [pytest.mark.integration, pytest.mark.fault]


def test_a_provider_that_is_down_gives_a_clear_page_and_the_other_one_still_works(
    browser: Browser, site: LoginSite
) -> None:
    callback = browser.at_provider(browser.begin("surf"), "anna-7f3a")
    with site.certified.down():
        page = browser.end(callback)
        assert page.status_code == 503 and "SURFconext geeft nu geen bruikbaar antwoord" in page.text
        assert "127.0.0.1" not in page.text and site.refusals()[-1] == "provider-unreachable"
        with site.browser() as other:
            other.end(other.get(other.begin("rogue")).headers["location"])
            assert other.logged_in


def test_a_slow_provider_is_not_waited_for_longer_than_the_limit(browser: Browser, site: LoginSite) -> None:
    callback = browser.get(browser.begin("rogue")).headers["location"]
    site.rogue.delay = 30
    begun = time.monotonic()
    page = browser.end(callback)
    assert page.status_code == 503 and time.monotonic() - begun < 28
    assert site.refusals()[-1] == "provider-unreachable"


def test_new_keys_of_a_provider_are_found(site: LoginSite) -> None:
    with site.browser() as browser:
        assert browser.log_in("anna-7f3a").status_code == 302
    old = site.certified.keys
    site.certified.keys = [private_jwk(), private_jwk("EC")]
    try:
        with site.certified.down():
            time.sleep(1.1)  # keys are not asked for more often than once a second
        with site.browser() as browser:
            assert browser.log_in("anna-7f3a").status_code == 302, site.log()[-2000:]
    finally:
        site.certified.keys = old
        with site.certified.down():
            time.sleep(1.1)


def test_a_locked_ledger_lets_nobody_in(browser: Browser, site: LoginSite) -> None:
    callback = browser.at_provider(browser.begin("surf"), "anna-7f3a")
    engine = create_engine(f"sqlite:///{site.state.ledger}")
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        page = browser.end(callback)
        connection.exec_driver_sql("ROLLBACK")
    engine.dispose()
    assert page.status_code == 503 and "niet opschrijven dat je inlogt" in page.text
    assert not browser.logged_in
    assert browser.log_in("anna-7f3a").status_code == 302


def test_junk_from_a_provider_is_a_refusal_not_a_failure(browser: Browser, site: LoginSite) -> None:
    for junk in (b"<html>", b"[]", b"null", b'{"sub": NaN}', b"\xff\xfe", b"[" * 50_000, b"{" + b" " * 300_000 + b"}"):
        site.rogue.userinfo = junk
        page = browser.end(browser.get(browser.begin("rogue")).headers["location"])
        assert page.status_code in (403, 503), junk[:20]
        assert not browser.logged_in
    assert "Traceback" not in site.log()
