"""Parts of the login by themselves: claims and rules, provider's metadata and keys, strict JSON, states, addresses."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from hub_config.login.claims import bounded, groups_of, subject_of, title_of
from hub_config.login.discovery import Discovery, endpoints_of, keys_of
from hub_config.login.hosts import HostRule, Hosts
from hub_config.login.login_state import LIFETIME_SECONDS, Used
from hub_config.login.names import BOX_ACCOUNT, PSEUDONYM, belongs_to_nobody, is_internal
from hub_config.login.oidc_pages import onward
from hub_config.login.refusals import LoginRefused, Reason
from hub_config.login.settings import Operator, RuleSettings
from hub_config.login.strict_json import NotStrict, read_object

ISSUER = "https://op.example"


def rule(operator: str, value: str | None = None, claim: str = "c") -> RuleSettings:
    return RuleSettings(claim=claim, operator=Operator(operator), value=value, groups=("teachers",))


@pytest.mark.parametrize(
    ("claim", "given_rule", "fits"),
    [
        ("student", rule("equals", "student"), True),
        ("Student", rule("equals", "student"), False),
        (["student"], rule("equals", "student"), False),
        (["a", "student"], rule("contains", "student"), True),
        ("student", rule("contains", "student"), False),
        ("a student", rule("contains", "student"), False),
        (["students"], rule("contains", "student"), False),
        ("urn:x:y", rule("prefix", "urn:x:"), True),
        (["b", "urn:x:y"], rule("prefix", "urn:x:"), True),
        ([["urn:x:y"]], rule("prefix", "urn:x:"), False),
        ("x", rule("exists"), True),
        (["x"], rule("exists"), True),
        ("", rule("exists"), False),
        ("  ", rule("exists"), False),
        ([], rule("exists"), False),
        (None, rule("exists"), False),
        (False, rule("exists"), False),
        ({"a": 1}, rule("exists"), False),
        (True, rule("equals", "True"), False),
        (1, rule("equals", "1"), False),
    ],
)
def test_a_rule_fits_exactly_its_claim(claim: Any, given_rule: RuleSettings, fits: bool) -> None:
    assert groups_of({"c": claim}, [given_rule]) == (("teachers",) if fits else ())


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=6), VALUES, max_size=4))
def test_no_claims_grant_anything_that_a_rule_does_not_name(claims: dict[str, Any]) -> None:
    rules = [rule(operator, "only this", "wanted") for operator in ("equals", "contains", "prefix")]
    assert groups_of({name: value for name, value in claims.items() if name != "wanted"}, rules) == ()
    title_of(claims, "p-x")


@pytest.mark.parametrize("subject", [None, "", " ", 7, ["a"], "x" * 256, "é", "a\nb", "a\x00"])
def test_a_subject_that_cannot_be_one_is_nobody(subject: Any) -> None:
    with pytest.raises(LoginRefused) as refused:
        subject_of({"sub": subject})
    assert refused.value.reason is Reason.SUBJECT


def test_a_title_is_one_short_line_without_tricks() -> None:
    assert title_of({"name": "  Anna \u202e de\nVries \x00"}, "p-x") == "Anna deVries"
    assert title_of({"given_name": "Anna", "family_name": "Smit"}, "p-x") == "Anna Smit"
    assert title_of({"name": ["x"]}, "p-x") == title_of({"name": "\u200b"}, "p-x") == "p-x"
    assert len(title_of({"name": "x" * 500}, "p-x")) == 80


@pytest.mark.parametrize(
    "claims", [{f"c{n}": 1 for n in range(101)}, {"c": ["x"] * 1001}, {"c": "x" * 4097}, {"c": ["x" * 4097]}]
)
def test_claims_are_bounded_in_size_and_number(claims: dict[str, Any]) -> None:
    with pytest.raises(LoginRefused):
        bounded(claims)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b'{"a": 1, "a": 2}', "duplicate"),
        (b'{"a": {"b": 1, "b": 1}}', "duplicate"),
        (b'[{"a": 1}]', "malformed"),
        (b'{"a": NaN}', "malformed"),
        (b"\xff", "malformed"),
        (b"[" * 60_000, "malformed"),
        (b'{"a": ' + b"1" * 5000 + b"}", "malformed"),
        (b" " * 70_000, "too-large"),
    ],
)
def test_json_from_outside_is_strict(data: bytes, kind: str) -> None:
    with pytest.raises(NotStrict) as refused:
        read_object(data)
    assert refused.value.kind == kind


def metadata(**changes: Any) -> dict[str, Any]:
    found = {
        "issuer": ISSUER, "authorization_endpoint": f"{ISSUER}/a", "token_endpoint": f"{ISSUER}/t",
        "userinfo_endpoint": f"{ISSUER}/u", "jwks_uri": f"{ISSUER}/k",
    }  # fmt: skip
    return {**found, **changes}


def test_a_provider_that_describes_itself_rightly_is_used() -> None:
    found = endpoints_of(ISSUER, metadata(token_endpoint_auth_methods_supported=["client_secret_post"]))
    assert found.token == f"{ISSUER}/t" and not found.basic and not found.names_itself


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": ISSUER + "/"},
        {"issuer": "https://other.example"},
        {"token_endpoint": "http://op.example/t"},
        {"token_endpoint": "http://127.0.0.1/t"},
        {"userinfo_endpoint": "https://me:pw@op.example/u"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "https://op.example/a\r\nX: y"},
        {"jwks_uri": None},
        {"jwks_uri": ["https://op.example/k"]},
    ],
)
def test_a_provider_that_describes_itself_wrongly_is_not_used(changes: dict[str, Any]) -> None:
    with pytest.raises(LoginRefused) as refused:
        endpoints_of(ISSUER, metadata(**changes))
    assert refused.value.reason is Reason.DISCOVERY


def jwk(key: Any, **more: Any) -> dict[str, Any]:
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPublicKey) else jwt.algorithms.ECAlgorithm
    made: dict[str, Any] = json.loads(algorithm.to_jwk(key))
    made.pop("key_ops", None)
    return {**made, **more}


def test_only_public_keys_that_are_long_enough_may_sign() -> None:
    large = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    curve = ec.generate_private_key(ec.SECP256R1())
    found = keys_of(
        {
            "keys": [
                jwk(large.public_key(), kid="rsa"),
                jwk(curve.public_key(), kid="ec"),
                jwk(small.public_key(), kid="too small"),
                jwk(large.public_key(), kid="for encryption", use="enc"),
                jwk(large.public_key(), kid="another algorithm", alg="PS256"),
                jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), kid="another curve"),
                {"kty": "oct", "k": "c2VjcmV0", "kid": "a secret"},
                {"kty": "RSA", "n": "!", "e": "AQAB", "kid": "junk"},
                json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(large)),
                "no key",
            ]
        }
    )
    assert [(key.id, key.algorithm) for key in found] == [("rsa", "RS256"), ("ec", "ES256")]


async def test_unknown_keys_make_us_ask_again_but_not_all_the_time() -> None:
    asked: list[str] = []
    now = [1000.0]
    key = jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), kid="one")

    async def ask(address: str) -> dict[str, Any]:
        asked.append(address)
        return metadata() if "well-known" in address else {"keys": [key]}

    discovery = Discovery(ISSUER, ask, clock=lambda: now[0])
    for wanted, seconds, times in (("one", 0, 1), ("one", 100, 1), ("two", 0, 2), ("two", 0.5, 2), ("two", 1.0, 3)):
        now[0] += seconds
        await discovery.keys(wanted)
        assert asked.count(f"{ISSUER}/k") == times
    assert asked.count(f"{ISSUER}/.well-known/openid-configuration") == 1
    now[0] += 4000
    await discovery.keys("one")
    assert asked.count(f"{ISSUER}/k") == 4 and asked.count(f"{ISSUER}/.well-known/openid-configuration") == 2


def test_a_state_is_remembered_for_as_long_as_its_cookie_lives() -> None:
    now = [0.0]
    used = Used(clock=lambda: now[0])
    assert used.first_time("a") and not used.first_time("a")
    now[0] += LIFETIME_SECONDS
    assert not used.first_time("a")
    now[0] += 100
    assert used.first_time("a")


@pytest.mark.parametrize(
    "goal", ["//evil", "/\\evil", "https://evil", "/\t/evil", "/\n/evil", "http:evil", "javascript:x", "/" + "x" * 3000]
)
def test_only_addresses_of_this_host_are_gone_to_after_a_login(goal: str) -> None:
    assert onward(goal) == ""
    assert onward("/hub/api/oauth2/authorize?client_id=x") == "/hub/api/oauth2/authorize?client_id=x"


def test_origins_of_people_follow_a_pattern_and_nothing_else_does() -> None:
    hosts = Hosts.of("site.example", 8000, ["course-les"], "127.0.0.1", pattern=f"(?:{PSEUDONYM}|{BOX_ACCOUNT})")
    person = "p-abcdefghijklmnop"
    for label in (person, f"box-abcdefgh-{person}", "course-les"):
        assert hosts.rule(f"{label}.site.example:8000", "/user/x/lab") is HostRule.ANSWER
        assert hosts.rule(f"{label}.site.example:8000", "/hub/home") is HostRule.SEND_HOME
    for host in (
        f"{person}.evil.example:8000", f"x.{person}.site.example:8000", f"{person}x.site.example:8000",
        "sanne.site.example:8000", f"{person}.site.example", f"{person}\n.site.example:8000", ".site.example:8000",
    ):  # fmt: skip
        assert hosts.rule(host, "/hub/home") is HostRule.REFUSE, host


def test_names_of_the_sites_own_are_nobodys() -> None:
    assert all(belongs_to_nobody(name) for name in ("portal", "course-x", "box-x"))
    assert not is_internal("portal") and not belongs_to_nobody("sanne")
