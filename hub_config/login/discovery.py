"""What a provider says of itself: its endpoints and its keys (OpenID Connect Discovery 1.0), bounded and remembered."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from hub_config.login.addresses import why_not
from hub_config.login.refusals import LoginRefused, Reason

KEPT_SECONDS = 3600.0
"""How long endpoints and keys are used before they are asked for again."""
AGAIN_SECONDS = 1.0
"""Shortest time between two requests for keys: a token signed with an unknown key makes us ask."""
MOST_KEYS = 50
SMALLEST_RSA = 2048
"""Bits; RFC 7518, section 3.3."""

# Asks for an address and gives the JSON object there.
Ask = Callable[[str], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True)
class Endpoints:
    """Where a provider answers.

    Args:
        authorization: where a browser is sent.
        token: where a code is exchanged.
        userinfo: where claims are.
        keys: where its JSON Web Key Set is.
        names_itself: whether its answers to a browser name it (RFC 9207).
        basic: whether it takes the client's secret in the Authorization header.
    """

    authorization: str
    token: str
    userinfo: str
    keys: str
    names_itself: bool
    basic: bool


@dataclass(frozen=True)
class Key:
    """A public key that may sign ID tokens.

    Args:
        id: its `kid`; None when it has none.
        algorithm: the only algorithm it is used with: RS256 or ES256.
        public: the key.
    """

    id: str | None
    algorithm: str
    public: RSAPublicKey | EllipticCurvePublicKey


class Discovery:
    """One provider's endpoints and keys.

    Args:
        issuer: its issuer identifier.
        ask: fetches JSON; raises LoginRefused when there is none to be had.
        clock: monotonic seconds.
    """

    def __init__(self, issuer: str, ask: Ask, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._ask = ask
        self._clock = clock
        self._endpoints: Endpoints | None = None
        self._endpoints_at = 0.0
        self._keys: tuple[Key, ...] | None = None
        self._keys_at = 0.0

    async def endpoints(self) -> Endpoints:
        """The endpoints.

        Raises:
            LoginRefused: the provider does not answer, or says what cannot be.
        """
        # No lock here or below: of many people at a silent provider, none should wait for the others to give up first.
        known = self._endpoints
        if known is None or self._clock() - self._endpoints_at > KEPT_SECONDS:
            found = await self._ask(self._issuer.rstrip("/") + "/.well-known/openid-configuration")
            known = endpoints_of(self._issuer, found)
            self._endpoints, self._endpoints_at = known, self._clock()
        return known

    async def keys(self, known: str | None) -> Sequence[Key]:
        """The provider's keys.

        Args:
            known: id of the key that is looked for; when it is not among the remembered ones, they are asked for again.

        Raises:
            LoginRefused: as for `endpoints`.
        """
        address = (await self.endpoints()).keys
        keys, age = self._keys, self._clock() - self._keys_at
        lacks = keys is None or known not in {key.id for key in keys}
        if keys is None or age > KEPT_SECONDS or (lacks and age > AGAIN_SECONDS):
            keys = keys_of(await self._ask(address))
            self._keys, self._keys_at = keys, self._clock()
        return keys


def endpoints_of(issuer: str, found: Mapping[str, Any]) -> Endpoints:
    """The endpoints in a provider's metadata.

    Raises:
        LoginRefused: it is another issuer's (Discovery 1.0, section 4.3), or an endpoint is missing or unsafe.
    """
    if found.get("issuer") != issuer:
        raise LoginRefused(Reason.DISCOVERY)
    names = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")
    addresses: dict[str, str] = {}
    for name in names:
        address = found.get(name)
        if not isinstance(address, str) or len(address) > 1000 or why_not(address):
            raise LoginRefused(Reason.DISCOVERY)
        if urlsplit(address).scheme != urlsplit(issuer).scheme:
            raise LoginRefused(Reason.DISCOVERY)
        addresses[name] = address
    methods = found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    return Endpoints(
        authorization=addresses["authorization_endpoint"],
        token=addresses["token_endpoint"],
        userinfo=addresses["userinfo_endpoint"],
        keys=addresses["jwks_uri"],
        names_itself=found.get("authorization_response_iss_parameter_supported") is True,
        basic=not isinstance(methods, list) or "client_secret_basic" in methods or "client_secret_post" not in methods,
    )


def keys_of(found: Mapping[str, Any]) -> tuple[Key, ...]:
    """The keys of a key set (RFC 7517) that may sign ID tokens: public, RSA or P-256, long enough; others are left out.

    Raises:
        LoginRefused: it is no key set, or has too many keys.
    """
    members = found.get("keys")
    if not isinstance(members, list) or len(members) > MOST_KEYS:
        raise LoginRefused(Reason.DISCOVERY)
    keys = (_key(member) for member in members if isinstance(member, dict))
    return tuple(key for key in keys if key is not None)


def _key(member: Mapping[str, Any]) -> Key | None:
    algorithm = {"RSA": "RS256", "EC": "ES256"}.get(str(member.get("kty")))
    if algorithm is None or (algorithm == "ES256" and member.get("crv") != "P-256"):
        return None
    if "d" in member or member.get("use", "sig") != "sig":
        return None
    if member.get("alg", algorithm) != algorithm:
        return None
    try:
        public = jwt.PyJWK(dict(member), algorithm=algorithm).key
    except (jwt.PyJWTError, ValueError):
        return None
    if not isinstance(public, RSAPublicKey | EllipticCurvePublicKey) or (
        isinstance(public, RSAPublicKey) and public.key_size < SMALLEST_RSA
    ):
        return None
    name = member.get("kid")
    return Key(name if isinstance(name, str) else None, algorithm, public)
