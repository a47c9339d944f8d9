"""One identity provider: oauthenticator's GenericOAuthenticator, with every answer bounded and verified."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from oauthenticator.generic import GenericOAuthenticator
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.httputil import HTTPInputError
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from base.errors import LeerlabError
from hub_config.login.claims import account_of, bounded, groups_of, subject_of, title_of
from hub_config.login.discovery import Discovery
from hub_config.login.id_token import Expected, verify
from hub_config.login.refusals import LoginRefused, Reason
from hub_config.login.settings import ProviderSettings
from hub_config.login.strict_json import MOST_BYTES, NotStrict, read_object
from ledger.store import Ledger
from ledger.unix_accounts import UnixAccountLedger

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
"""Longest wait for one answer, from connecting to its last byte."""
LONGEST_TOKEN = 16 * 1024
SILENCE_SECONDS = 30.0
"""After no answer, checks of other people do not wait for this provider again for so long; a login does."""


class Denied(LoginRefused):
    """The provider answered with an error.

    Args:
        code: HTTP status.
        error: OAuth's error code (RFC 6749, section 5.2); empty when there is none.
    """

    def __init__(self, code: int, error: str) -> None:
        self.code = code
        self.error = error
        super().__init__(Reason.CODE if error == "invalid_grant" else Reason.PROVIDER_ERROR)


@dataclass(frozen=True)
class Tokens:
    """What the token endpoint gave.

    Args:
        access: opens userinfo.
        refresh: gets new tokens; None when the provider gives none.
        subject: whom a verified ID token named; None when there was none.
    """

    access: str
    refresh: str | None
    subject: str | None


@dataclass(frozen=True)
class Asked:
    """What a provider says of a person who logged in before.

    Args:
        tokens: to ask with next time.
        groups: what the claims give now; None when the provider would not say.
        title: what to call the person.
    """

    tokens: Tokens
    groups: tuple[str, ...] | None
    title: str


class Provider(GenericOAuthenticator):  # type: ignore[misc]  # oauthenticator has no types
    """One provider of site.yaml. JupyterHub's authenticator is `hub_config.login.oidc.OidcAuthenticator`.

    Args:
        settings: its part of site.yaml.
        secret: our client secret there.
        callback: our address that it sends browsers back to.
        ledger: gives people their names.
        account_claim: claim with the name of a person's unix account; None: no claim says it.
    """

    def __init__(
        self, settings: ProviderSettings, secret: str, callback: str, ledger: Ledger, account_claim: str | None = None,
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(**options)
        self.account_claim = account_claim
        self.settings = settings
        self.ledger = ledger
        self.silent_until = 0.0
        self.client_id = settings.client_id
        self.client_secret = secret
        self.oauth_callback_url = callback
        self.scope = list(settings.asked)
        self.enable_pkce = True
        self.manage_groups = True
        self.username_claim = "pseudonym"
        self.validate_server_cert = True
        # Redirects would carry the client's secret or a person's token elsewhere; packed answers could be bombs.
        self.http_request_kwargs = {
            "connect_timeout": CONNECT_SECONDS, "request_timeout": ANSWER_SECONDS,
            "follow_redirects": False, "decompress_response": False,
        }  # fmt: skip
        self.http_client = SimpleAsyncHTTPClient(force_instance=True, max_clients=50, max_body_size=4 * MOST_BYTES)
        self.discovery = Discovery(settings.address, self._ask)

    @property
    def id(self) -> str:
        """Its id in site.yaml."""
        return self.settings.id

    async def ready(self) -> None:
        """Know the provider's endpoints.

        Raises:
            LoginRefused: it does not answer, or not rightly.
        """
        found = await self.discovery.endpoints()
        self.authorize_url, self.token_url, self.userdata_url = found.authorization, found.token, found.userinfo
        self.basic_auth = found.basic
        self.names_itself = found.names_itself

    async def _ask(self, address: str) -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] = await self.httpfetch(address, headers={"Accept": "application/json"})
        except Denied as error:
            raise LoginRefused(Reason.DISCOVERY) from error
        return found

    async def fetch(self, req: HTTPRequest, label: str = "", parse_json: bool = True, **kwargs: Any) -> Any:
        """One request; its answer is a bounded JSON object, or a refusal. Nothing of an answer is logged.

        Raises:
            Denied: the provider answered with an error.
            LoginRefused: it did not answer in time, or with something else.
        """
        try:
            answer = await asyncio.wait_for(
                self.http_client.fetch(req, raise_error=False), timeout=CONNECT_SECONDS + ANSWER_SECONDS
            )
        except (HTTPClientError, HTTPInputError, OSError, TimeoutError) as error:
            self.log.warning("The provider %s does not answer: %r", self.id, error)
            raise LoginRefused(Reason.UNREACHABLE) from error
        if answer.code >= 500:
            self.log.warning("The provider %s answers %s", self.id, answer.code)
            raise LoginRefused(Reason.UNREACHABLE)
        if answer.code != 200:
            raise Denied(answer.code, _error_of(answer.body))
        try:
            return read_object(answer.body)
        except NotStrict as error:
            kinds = {"duplicate": Reason.DUPLICATE, "too-large": Reason.TOO_LARGE}
            raise LoginRefused(kinds.get(error.kind, Reason.ANSWER)) from error

    # -- a login, step by step as GenericOAuthenticator calls them

    def build_access_tokens_request_params(self, handler: Any, data: Any = None) -> dict[str, Any]:
        """Code and PKCE's verifier."""
        params: dict[str, Any] = super().build_access_tokens_request_params(handler, data)
        params.pop("data", None)
        return params

    def build_token_info_request_headers(self) -> dict[str, str]:
        """As oauthenticator's, with id and secret encoded as RFC 6749, section 2.3.1 says."""
        headers: dict[str, str] = super().build_token_info_request_headers()
        if self.basic_auth:
            pair = f"{quote(self.client_id, safe='')}:{quote(self.client_secret, safe='')}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        return headers

    async def get_token_info(self, handler: Any, params: Mapping[str, Any]) -> Tokens:
        """Exchange a code, or a refresh token when there is no handler; verify the ID token.

        Raises:
            LoginRefused: the provider refuses, or its answer is not right.
        """
        info = await self.httpfetch(
            self.token_url,
            method="POST",
            headers=self.build_token_info_request_headers(),
            body=urlencode(params).encode(),
        )
        access, kind, refresh = info.get("access_token"), info.get("token_type"), info.get("refresh_token")
        if not _is_token(access) or not isinstance(kind, str) or kind.lower() != "bearer":
            raise LoginRefused(Reason.ANSWER)
        subject = None
        if handler is not None or info.get("id_token") is not None:
            nonce = handler.login_state.nonce if handler is not None else None
            expected = Expected(self.settings.address, self.client_id, nonce)
            subject = subject_of(await verify(info.get("id_token"), expected, self.discovery, access))
        return Tokens(access, refresh if _is_token(refresh) else None, subject)

    async def token_to_user(self, token_info: Tokens) -> dict[str, Any]:
        """Who logs in: a pseudonym from the ledger, a title, and the groups that the claims give.

        Raises:
            LoginRefused: userinfo is another person's, gives no group or somebody else's unix account, or the ledger
                cannot be written.
        """
        claims = await self.claims(token_info)
        subject, groups = str(token_info.subject), groups_of(claims, self.settings.rules)
        pseudonym = self.ledger.pseudonym(self.id, subject)
        if not groups:
            raise LoginRefused(Reason.NO_GROUP, pseudonym)
        try:
            person = await asyncio.to_thread(self.ledger.person, self.id, subject, title_of(claims, pseudonym))
        except LeerlabError as error:
            raise LoginRefused(Reason.LEDGER, pseudonym) from error
        if (account := account_of(claims, self.account_claim)) is not None:
            try:
                await asyncio.to_thread(UnixAccountLedger(self.ledger).take, person.pseudonym, account)
            except LeerlabError as error:
                self.log.error("%s", error)
                raise LoginRefused(Reason.ACCOUNT, pseudonym) from error
        return {"pseudonym": person.pseudonym, "title": person.title, "groups": list(groups)}

    async def claims(self, tokens: Tokens) -> Mapping[str, Any]:
        """The claims of userinfo.

        Raises:
            LoginRefused: they are another person's (Core 1.0, section 5.3.2), too many or too long.
        """
        headers = self.build_userdata_request_headers(tokens.access, "bearer")
        claims = bounded(await self.httpfetch(self.userdata_url, headers=headers))
        check_same_subject(claims, tokens)
        return claims

    def build_auth_state_dict(self, token_info: Tokens, user_info: Mapping[str, Any]) -> dict[str, Any]:
        """What is kept, encrypted: enough to ask again, and nothing else of the provider's."""
        return {
            "provider": self.id, "subject": token_info.subject, "access_token": token_info.access,
            "refresh_token": token_info.refresh, "confirmed": int(time.time()),
            "groups": user_info["groups"], "title": user_info["title"],
        }  # fmt: skip

    async def get_user_groups(self, auth_state: Mapping[str, Any]) -> set[str]:
        """Groups, as the rules gave them."""
        return set(auth_state["groups"])

    async def update_auth_model(self, auth_model: dict[str, Any]) -> dict[str, Any]:
        """Nobody is a JupyterHub admin; pages call people by their title."""
        auth_model["admin"] = False
        auth_model["user_info"] = {"title": auth_model["auth_state"]["title"]}
        return auth_model

    # -- afterwards

    async def ask_again(self, state: Mapping[str, Any]) -> Asked:
        """What the provider says now of a person who logged in before; with a new token when the old one is over.

        Args:
            state: from `build_auth_state_dict`.

        Raises:
            LoginRefused: it does not answer, or would not say.
        """
        await self.ready()
        tokens = Tokens(state["access_token"], state["refresh_token"], state["subject"])
        try:
            claims = await self.claims(tokens)
        except Denied as denied:
            if denied.code != 401 or tokens.refresh is None:
                raise
            fresh = await self.get_token_info(None, self.build_refresh_token_request_params(tokens.refresh))
            if fresh.subject not in (None, tokens.subject):
                raise LoginRefused(Reason.OTHER_SUBJECT) from denied
            tokens = Tokens(fresh.access, fresh.refresh or tokens.refresh, tokens.subject)
            try:
                claims = await self.claims(tokens)
            except LoginRefused:
                # The old tokens are used up: the new ones must be kept whatever became of the question.
                return Asked(tokens, None, state["title"])
        return Asked(tokens, groups_of(claims, self.settings.rules), title_of(claims, state["title"]))


def check_same_subject(claims: Mapping[str, Any], tokens: Tokens) -> None:
    """Userinfo is about whom the ID token named."""
    if subject_of(claims) != tokens.subject:
        raise LoginRefused(Reason.OTHER_SUBJECT)


def _is_token(value: object) -> bool:
    """Whether it can be a token: printable ASCII (RFC 6749, appendix A), not too long."""
    return isinstance(value, str) and value.isascii() and value.isprintable() and 0 < len(value) <= LONGEST_TOKEN


def _error_of(body: bytes | None) -> str:
    try:
        error = read_object(body or b"").get("error")
    except NotStrict:
        return ""
    return error if isinstance(error, str) and len(error) < 100 else ""
