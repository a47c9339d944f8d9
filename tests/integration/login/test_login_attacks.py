"""Attacks on the login, each with the same payload that gets in where only the named defence is removed."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from login_site import Browser, LoginSite, RogueProvider, base64url, private_jwk

pytestmark = [pytest.mark.integration, pytest.mark.attack]
Bend = Callable[[RogueProvider], None]


def compact(header: dict[str, Any], payload: bytes, sign: Callable[[bytes], bytes]) -> str:
    """A signed token made by hand: libraries refuse to make these."""
    body = f"{base64url(json.dumps(header).encode())}.{base64url(payload)}"
    return f"{body}.{base64url(sign(body.encode()))}"


def says(**claims: Any) -> Bend:
    def bend(rogue: RogueProvider) -> None:
        rogue.claims = {name: value() if callable(value) else value for name, value in claims.items()}

    return bend


def with_another_key(rogue: RogueProvider) -> None:
    key = jwt.PyJWK(private_jwk()).key
    rogue.sign = lambda header, claims: jwt.encode(claims, key, algorithm="RS256", headers=header)


def unsigned(rogue: RogueProvider) -> None:
    rogue.sign = lambda header, claims: compact({**header, "alg": "none"}, json.dumps(claims).encode(), lambda _: b"")


def with_the_public_key_as_secret(rogue: RogueProvider) -> None:
    secret = rogue.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    rogue.sign = lambda header, claims: compact(
        {**header, "alg": "HS256"},
        json.dumps(claims).encode(),
        lambda body: hmac.new(secret, body, sha256).digest(),
    )


def with_a_subject_twice(rogue: RogueProvider) -> None:
    algorithm = jwt.get_algorithm_by_name("RS256")
    rogue.sign = lambda header, claims: compact(
        header,
        b'{"sub":"victim",' + json.dumps(claims).encode()[1:],
        lambda body: algorithm.sign(body, rogue.key),
    )


def userinfo_with_a_claim_twice(rogue: RogueProvider) -> None:
    rogue.userinfo = b'{"sub":"rogue-1","eduperson_affiliation":["alum"],"eduperson_affiliation":["student"]}'


def userinfo_with_huge_claims(rogue: RogueProvider) -> None:
    rogue.person["eduperson_affiliation"] = ["student", *(f"x{number}" for number in range(3000))]


def userinfo_with_too_many_claims(rogue: RogueProvider) -> None:
    rogue.person.update({f"claim{number}": "x" for number in range(500)})


def userinfo_of_another_person(rogue: RogueProvider) -> None:
    rogue.person["sub"] = "somebody-else"


def userinfo_without_the_claim(rogue: RogueProvider) -> None:
    del rogue.person["eduperson_affiliation"]


ANY_ALGORITHM = ("check_algorithm", "key_for", "check_signature")
TAMPERED = {
    "for another audience": (says(aud="another-client"), "token-audience", ("check_audience",)),
    "for several, at another's request": (
        says(aud=["rogue-client", "another"], azp="another"), "token-audience", ("check_audience",)),
    "of another issuer": (says(iss="http://127.0.0.1:1"), "token-issuer", ("check_issuer",)),
    "with another nonce": (says(nonce="another"), "token-nonce", ("check_nonce",)),
    "without a nonce": (says(nonce=None), "token-nonce", ("check_nonce",)),
    "expired": (
        says(iat=lambda: int(time.time()) - 400, exp=lambda: int(time.time()) - 90), "token-expired", ("check_time",)),
    "from the future": (says(iat=lambda: int(time.time()) + 90), "token-time", ("check_time",)),
    "that never expires": (says(exp=None), "token-claims", ("check_time",)),
    "with another's access token": (says(at_hash="x" * 22), "token-claims", ("check_access_token",)),
    "signed with another key": (with_another_key, "token-signature", ("check_signature",)),
    "not signed (alg none)": (unsigned, "token-algorithm", ANY_ALGORITHM),
    "signed with the public key as a secret (HS256)": (with_the_public_key_as_secret, "token-algorithm", ANY_ALGORITHM),
    "with its subject twice": (with_a_subject_twice, "claims-duplicate", ("strict_json",)),
}  # fmt: skip
CLAIMS = {
    "without the claim": (userinfo_without_the_claim, "no-group", ("groups_of",)),
    "with a claim twice": (userinfo_with_a_claim_twice, "claims-duplicate", ("strict_json",)),
    "with a huge claim": (userinfo_with_huge_claims, "claims-too-large", ("bounded",)),
    "with too many claims": (userinfo_with_too_many_claims, "claims-too-large", ("bounded",)),
    "of another subject": (userinfo_of_another_person, "userinfo-other-subject", ("check_same_subject",)),
}


def at_rogue(browser: Browser, goal: str = "") -> str:
    """The callback to which the rogue sends the browser."""
    return str(browser.get(browser.begin("rogue", goal)).headers["location"])


def is_refused(site: LoginSite, browser: Browser, page: Any, reason: str) -> None:
    """Nobody is logged in; the page is clear and tells nothing of the provider; the record names the reason."""
    assert page.status_code in (400, 403), page.text
    assert "Inloggen is niet gelukt" in page.text
    assert site.rogue.issuer not in page.text and reason not in page.text and "Traceback" not in page.text
    assert not browser.logged_in
    entry = site.entries("login.refused")[-1]
    assert entry.details == {"provider": "rogue", "reason": reason}


@pytest.mark.parametrize("name", TAMPERED)
def test_an_id_token_is_refused(site: LoginSite, name: str) -> None:
    bend, reason, defences = TAMPERED[name]
    bend(site.rogue)
    with site.browser() as browser:
        is_refused(site, browser, browser.end(at_rogue(browser)), reason)
    with site.without(*defences), site.browser() as browser:
        assert browser.end(at_rogue(browser)).status_code == 302
        assert browser.logged_in


@pytest.mark.parametrize("name", CLAIMS)
def test_userinfo_is_refused(site: LoginSite, name: str) -> None:
    bend, reason, defences = CLAIMS[name]
    bend(site.rogue)
    with site.browser() as browser:
        is_refused(site, browser, browser.end(at_rogue(browser)), reason)
    with site.without(*defences), site.browser() as browser:
        assert browser.end(at_rogue(browser)).status_code == 302
        assert browser.logged_in


@pytest.mark.parametrize("wanted", ["beheer", "course-ai-in-je-vak", "box-abcdefgh-sanne", "portal"])
def test_a_claim_chooses_nobodys_name(site: LoginSite, wanted: str) -> None:
    site.rogue.person["preferred_username"] = wanted
    with site.browser() as browser:
        browser.end(at_rogue(browser))
        assert browser.name.startswith("p-")
    # The name alone gets nobody in: it must be a pseudonym as well.
    with site.without("user_info_to_username"), site.browser() as browser:
        assert browser.end(at_rogue(browser)).status_code == 403
    with site.without("user_info_to_username", "check_allowed"), site.browser() as browser:
        browser.end(at_rogue(browser))
        assert browser.name == wanted


def test_a_code_that_was_used_gets_nobody_in(site: LoginSite) -> None:
    with site.browser() as first, site.browser() as thief:
        code = first.at_provider(first.begin("surf"), "anna-7f3a").partition("code=")[2].partition("&")[0]
        own = thief.at_provider(thief.begin("surf"), "bram-91bc")
        own_code = own.partition("code=")[2].partition("&")[0]
        page = thief.end(own.replace(own_code, code))
        assert page.status_code == 400 and not thief.logged_in and site.refusals()[-1] == "code-refused"
    # A provider that takes a code twice, and asks for no proof: then the nonce of the token is of another login.
    with site.browser() as first, site.browser() as thief:
        code = at_rogue(first).partition("code=")[2].partition("&")[0]
        own = at_rogue(thief)
        replay = own.replace(own.partition("code=")[2].partition("&")[0], code)
        is_refused(site, thief, thief.end(replay), "token-nonce")
    with site.without("check_nonce"), site.browser() as first, site.browser() as thief:
        code = at_rogue(first).partition("code=")[2].partition("&")[0]
        own = at_rogue(thief)
        thief.end(own.replace(own.partition("code=")[2].partition("&")[0], code))
        assert thief.logged_in


def test_a_state_that_was_used_gets_nobody_in(site: LoginSite) -> None:
    def replay() -> Any:
        with site.browser() as browser, site.browser() as thief:
            callback = at_rogue(browser)
            stolen = browser.cookies["leerlab-oidc"]
            assert browser.end(callback).status_code == 302
            thief.get(callback, headers={"Cookie": f"leerlab-oidc={stolen}"})
            return thief.logged_in

    assert not replay() and site.refusals()[-1] == "state-used"
    with site.without("first_time"):
        assert replay()


@pytest.mark.parametrize("begun", [False, True], ids=["victim at rest", "victim logging in"])
def test_nobody_is_logged_in_as_the_attacker(site: LoginSite, begun: bool) -> None:
    def lure() -> bool:
        with site.browser() as attacker, site.browser() as victim:
            callback = at_rogue(attacker)
            if begun:
                victim.begin("rogue")
            victim.end(callback)
            return victim.logged_in

    assert not lure() and site.refusals()[-1] == ("state-mismatch" if begun else "state-missing")
    with site.without("check_state"):
        assert lure()


def test_a_state_of_one_provider_is_worth_nothing_at_another(site: LoginSite) -> None:
    with site.browser() as browser:
        callback = at_rogue(browser).replace("/oidc/rogue/", "/oidc/surf/")
        assert browser.end(callback).status_code == 400
        assert not browser.logged_in and site.refusals()[-1] == "state-mismatch"
    # Positive control: the same answer at the provider that the login began at.
    with site.browser() as browser:
        browser.end(at_rogue(browser))
        assert browser.logged_in


def test_an_answer_that_names_another_provider_is_refused(site: LoginSite) -> None:
    with site.browser() as browser:
        is_refused(site, browser, browser.end(at_rogue(browser) + "&iss=http://127.0.0.1:1"), "callback-other-issuer")
    with site.without("check_callback_issuer"), site.browser() as browser:
        browser.end(at_rogue(browser) + "&iss=http://127.0.0.1:1")
        assert browser.logged_in


@pytest.mark.parametrize("goal", ["https://evil.example/", "//evil.example/", "/\\evil.example", "///evil.example"])
def test_a_login_sends_nobody_to_another_site(site: LoginSite, goal: str) -> None:
    with site.browser() as browser:
        assert browser.end(at_rogue(browser, goal)).headers["location"] == "/hub/token"
    with site.without("onward"), site.browser() as browser:
        assert browser.end(at_rogue(browser, goal)).headers["location"] == goal


def test_a_forged_state_cookie_is_no_state(site: LoginSite) -> None:
    with site.browser() as browser:
        callback = at_rogue(browser)
        signed = browser.cookies["leerlab-oidc"]
        forged = signed[:-4] + ("0000" if not signed.endswith("0000") else "1111")
        with site.browser() as other:
            other.get(callback, headers={"Cookie": f"leerlab-oidc={forged}"})
            assert not other.logged_in and site.refusals()[-1] == "state-missing"
        # Positive control: the same callback with the cookie as it was signed.
        browser.end(callback)
        assert browser.logged_in


def test_a_flood_of_forged_callbacks_fills_no_record_and_keeps_nobody_out(new_login_site: Any) -> None:
    site = new_login_site()
    with site.browser() as browser:
        for _ in range(140):
            browser.get("/hub/oidc/rogue/callback?code=x&state=y")
        assert 100 <= len(site.refusals()) <= 120
        browser.end(at_rogue(browser))
        assert browser.logged_in
