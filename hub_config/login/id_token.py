"""Verifies an ID token (OpenID Connect Core 1.0, section 3.1.3.7; JSON Web Token Best Current Practices, RFC 8725)."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import jwt

from hub_config.login.claims import subject_of
from hub_config.login.discovery import Discovery, Key
from hub_config.login.refusals import LoginRefused, Reason
from hub_config.login.strict_json import NotStrict, read_object

ALGORITHMS = ("RS256", "ES256")
LEEWAY_SECONDS = 60
MOST_LETTERS = 32 * 1024
REQUIRED = ("iss", "sub", "aud", "exp", "iat")


@dataclass(frozen=True)
class Expected:
    """What an ID token must say.

    Args:
        issuer: the provider's issuer identifier.
        client: our client id there.
        nonce: what this very login asked for; None when a token is refreshed.
    """

    issuer: str
    client: str
    nonce: str | None


async def verify(token: object, expected: Expected, discovery: Discovery, access_token: str) -> dict[str, Any]:
    """The claims of an ID token that is what it should be.

    Args:
        token: what the token endpoint gave.
        expected: what it must say.
        discovery: the provider's keys.
        access_token: what came with it.

    Raises:
        LoginRefused: it is not.
    """
    header, payload = parts_of(token)
    check_algorithm(header)
    name = header.get("kid")
    key = key_for(header, await discovery.keys(name if isinstance(name, str) else None))
    check_signature(str(token), key)
    check_issuer(payload, expected)
    check_audience(payload, expected)
    check_nonce(payload, expected)
    check_time(str(token))
    check_access_token(payload, access_token)
    subject_of(payload)
    return payload


def parts_of(token: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a signed token, neither with a name that stands twice."""
    if token is None:
        raise LoginRefused(Reason.TOKEN_MISSING)
    if not isinstance(token, str) or not token.isascii():
        raise LoginRefused(Reason.TOKEN_FORM)
    if len(token) > MOST_LETTERS:
        raise LoginRefused(Reason.TOO_LARGE)
    segments = token.split(".")
    if len(segments) != 3:
        raise LoginRefused(Reason.TOKEN_FORM)
    try:
        header, payload = (
            read_object(base64.b64decode(one + "=" * (-len(one) % 4), altchars=b"-_", validate=True))
            for one in segments[:2]
        )
    except NotStrict as error:
        raise LoginRefused(Reason.DUPLICATE if error.kind == "duplicate" else Reason.TOKEN_FORM) from error
    except (binascii.Error, ValueError) as error:
        raise LoginRefused(Reason.TOKEN_FORM) from error
    return header, payload


def check_algorithm(header: Mapping[str, Any]) -> None:
    """Only what we ask for; what a header must be understood for (`crit`, RFC 7515 section 4.1.11) is not."""
    if header.get("alg") not in ALGORITHMS or "crit" in header:
        raise LoginRefused(Reason.ALGORITHM)


def key_for(header: Mapping[str, Any], keys: Sequence[Key]) -> Key:
    """The provider's key that the header names; keys in the header itself count for nothing.

    Raises:
        LoginRefused: there is none, several would do, or it is for another algorithm.
    """
    fitting = [key for key in keys if key.algorithm == header.get("alg")]
    if "kid" in header:
        fitting = [key for key in fitting if key.id == header["kid"]]
    if len(fitting) != 1:
        raise LoginRefused(Reason.KEY)
    return fitting[0]


def check_signature(token: str, key: Key) -> None:
    """Signed by that key with that key's own algorithm, whatever the header says."""
    try:
        jwt.PyJWS().decode_complete(token, key.public, algorithms=[key.algorithm])
    except jwt.PyJWTError as error:
        raise LoginRefused(Reason.SIGNATURE) from error


def check_issuer(payload: Mapping[str, Any], expected: Expected) -> None:
    """Made by this provider."""
    if payload.get("iss") != expected.issuer:
        raise LoginRefused(Reason.ISSUER)


def check_audience(payload: Mapping[str, Any], expected: Expected) -> None:
    """Made for us; where it is for others too, made at our request."""
    audience = payload.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if expected.client not in audiences:
        raise LoginRefused(Reason.AUDIENCE)
    if (len(audiences) > 1 or "azp" in payload) and payload.get("azp") != expected.client:
        raise LoginRefused(Reason.AUDIENCE)


def check_nonce(payload: Mapping[str, Any], expected: Expected) -> None:
    """Made for this login and no other."""
    if expected.nonce is None:
        return
    nonce = payload.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
        raise LoginRefused(Reason.NONCE)


def check_time(token: str) -> None:
    """Not expired, not from the future; by PyJWT, whose signature check has been made already."""
    options: Any = {"verify_signature": False, "verify_exp": True, "verify_iat": True, "verify_nbf": True,
                    "verify_aud": False, "require": list(REQUIRED)}  # fmt: skip
    try:
        jwt.decode(token, options=options, leeway=LEEWAY_SECONDS)
    except jwt.ExpiredSignatureError as error:
        raise LoginRefused(Reason.EXPIRED) from error
    except (jwt.ImmatureSignatureError, jwt.InvalidIssuedAtError) as error:
        raise LoginRefused(Reason.TIME) from error
    except jwt.PyJWTError as error:
        raise LoginRefused(Reason.CLAIMS) from error


def check_access_token(payload: Mapping[str, Any], access_token: str) -> None:
    """Where it names the access token that it came with, it is that one (section 3.1.3.8)."""
    if "at_hash" not in payload:
        return
    half = sha256(access_token.encode()).digest()[:16]
    if payload["at_hash"] != base64.urlsafe_b64encode(half).rstrip(b"=").decode():
        raise LoginRefused(Reason.CLAIMS)
