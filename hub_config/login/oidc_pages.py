"""Pages of the login through identity providers: the buttons, the way there and back, and what went wrong."""

from __future__ import annotations

import hmac
from dataclasses import asdict
from typing import Any

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.utils import get_browser_protocol
from oauthenticator.oauth2 import OAuthCallbackHandler, OAuthLoginHandler, _deserialize_state, _serialize_state
from tornado.httputil import url_concat

from base.errors import LeerlabError
from base.settings import BothLanguages
from hub_config.login.handlers import RecordingLogoutHandler
from hub_config.login.login_state import LIFETIME_SECONDS, LoginState
from hub_config.login.provider import Provider
from hub_config.login.refusals import LoginRefused, Page, Reason
from hub_config.login.sentences import sentences
from portal import request as page_request
from portal.language import safe_return

COOKIE = "leerlab-oidc"
LONGEST_NEXT = 2000


def onward(address: str) -> str:
    """An address on this very host to go to after the login; empty when the one asked for is not one."""
    return safe_return(address, "") if len(address) <= LONGEST_NEXT else ""


class _OidcPage(BaseHandler):  # type: ignore[misc]  # JupyterHub has no types
    """What the pages before login share: where the state is kept, and the page of a refusal."""

    provider: Provider

    def initialize(self, provider: Provider | None = None) -> None:
        """Take the provider that the address names."""
        if provider is not None:
            self.provider = provider

    @property
    def _cookie(self) -> tuple[str, dict[str, Any]]:
        """Name and attributes of the cookie. Over https no other host of this domain can set one of this name."""
        public = self.settings.get("public_url")
        if (public and public.scheme == "https") or get_browser_protocol(self.request) == "https":
            return f"__Host-{COOKIE}", {"path": "/", "secure": True}
        return COOKIE, {"path": self.hub.base_url}

    async def refuse(self, refusal: LoginRefused) -> None:
        """Record, and send the browser to the page that says so; nothing of the provider's goes with it."""
        known = self.provider.id
        if refusal.reason is not Reason.LEDGER:
            try:
                await self.authenticator.record_refusal(known, refusal)
            except LeerlabError as error:
                self.log.error("A refusal of %s could not be recorded: %s", known, error)
                refusal = LoginRefused(Reason.LEDGER)
        # Elsewhere, so that code and state leave the address and the page can be read again in the other language.
        shown = {"why": refusal.reason.page.value, "provider": known}
        self.redirect(url_concat(f"{self.hub.base_url}login/failed", shown))


class ProvidersHandler(BaseHandler):  # type: ignore[misc]
    """`/hub/login`: one button a provider."""

    async def get(self) -> None:
        """The page; who is logged in already goes on."""
        if self.current_user:
            self.redirect(self.get_next_url(self.current_user))
            return
        goal = onward(self.get_argument("next", ""))
        buttons = [
            {
                "title": in_language(provider.settings.button),
                "url": url_concat(f"{self.hub.base_url}oidc/{provider.id}/login", {"next": goal} if goal else {}),
            }
            for provider in self.authenticator.providers.values()
        ]
        self.set_header("Cache-Control", "no-store")
        self.finish(await self.render_template("login_oidc.html", buttons=buttons))


class FailedHandler(BaseHandler):  # type: ignore[misc]
    """`/hub/login/failed`: what happened, what it means, what to do."""

    async def get(self) -> None:
        """The page; the login page for what is no reason or provider of ours."""
        why = self.get_argument("why", "")
        provider = self.authenticator.providers.get(self.get_argument("provider", ""))
        if why not in list(Page) or provider is None:
            self.redirect(f"{self.hub.base_url}login")
            return
        what, means, do = sentences(Page(why), in_language(provider.settings.button))
        self.set_status(Page(why).status)
        self.finish(await self.render_template("login_failed.html", what=what, means=means, do=do))


def in_language(text: BothLanguages) -> str:
    """The text in the language of the request."""
    return text.nl if page_request.current().language == "nl" else text.en


class BeginHandler(_OidcPage, OAuthLoginHandler):  # type: ignore[misc]
    """`/hub/oidc/<provider>/login`: sends the browser to the provider."""

    @property
    def _OAUTH_AUTHORIZE_URL(self) -> str:
        return str(self.provider.authorize_url)

    async def get(self) -> None:
        """State, nonce and PKCE's verifier go into a cookie, their public halves to the provider."""
        try:
            await self.provider.ready()
        except LoginRefused as refusal:
            await self.refuse(refusal)
            return
        verifier, challenge = self._generate_pkce_params()
        state = LoginState(self.provider.id, verifier, onward(self.get_argument("next", "")))
        name, attributes = self._cookie
        self._set_cookie(
            name,
            _serialize_state(asdict(state)),
            max_age=LIFETIME_SECONDS,
            expires_days=None,
            httponly=True,
            **attributes,
        )
        self.set_header("Cache-Control", "no-store")
        self.authorize_redirect(
            redirect_uri=self.provider.oauth_callback_url,
            client_id=self.provider.client_id,
            scope=self.provider.scope,
            extra_params={
                "state": state.state_id, "nonce": state.nonce,
                "code_challenge": challenge, "code_challenge_method": "S256",
            },
            response_type="code",
        )  # fmt: skip


class CallbackHandler(_OidcPage, OAuthCallbackHandler):  # type: ignore[misc]
    """`/hub/oidc/<provider>/callback`: the browser comes back."""

    login_state: LoginState
    _state_cookie: str | None = None

    def get_state_cookie(self) -> str:
        """What `BeginHandler` stored; read once, then gone from the browser."""
        if self._state_cookie is None:
            name, attributes = self._cookie
            found = self.get_signed_cookie(name, max_age_days=LIFETIME_SECONDS / 86400)
            self._state_cookie = (found or b"").decode("utf8", "replace")
            self.clear_cookie(name, **attributes)
        return self._state_cookie

    def check_state(self) -> None:
        """This very browser began this very login, at this provider, lately, and has not ended it yet.

        Raises:
            LoginRefused: one of these is not so.
        """
        cookie = self.get_state_cookie()
        if not cookie:
            raise LoginRefused(Reason.STATE_MISSING)
        self.login_state = LoginState(**_deserialize_state(cookie))
        given = self.get_argument("state", "")
        if not hmac.compare_digest(given.encode(), self.login_state.state_id.encode()):
            raise LoginRefused(Reason.STATE_OTHER)
        if self.login_state.provider != self.provider.id:
            raise LoginRefused(Reason.STATE_OTHER)
        if self.login_state.too_old:
            raise LoginRefused(Reason.STATE_OLD)
        if not self.authenticator.used.first_time(self.login_state.state_id):
            raise LoginRefused(Reason.STATE_USED)

    def check_issuer(self) -> None:
        """The answer comes from the provider that was asked (RFC 9207)."""
        named = self.get_argument("iss", "")
        if (named or self.provider.names_itself) and named != self.provider.settings.address:
            raise LoginRefused(Reason.OTHER_ISSUER)

    def check_error(self) -> None:
        """The provider did not end the login itself."""
        error = self.get_argument("error", "")
        if error:
            raise LoginRefused(Reason.CANCELLED if error == "access_denied" else Reason.PROVIDER_ERROR)

    def check_code(self) -> None:
        """There is a code."""
        if not self.get_argument("code", ""):
            raise LoginRefused(Reason.ANSWER)

    async def get(self) -> None:
        """Let in, or say why not."""
        self.set_header("Cache-Control", "no-store")
        try:
            self.check_state()
            await self.provider.ready()
            self.check_issuer()
            self.check_error()
            self.check_code()
            user = await self.login_user()
        except LoginRefused as refusal:
            await self.refuse(refusal)
            return
        if user is None:
            await self.refuse(LoginRefused(Reason.SUBJECT))
            return
        self._jupyterhub_user = user
        self.redirect(safe_return(self.login_state.next_url, self._home(user)))

    def _home(self, user: Any) -> str:
        """Where people begin; the request's own arguments are the provider's and go nowhere."""
        default = self.default_url
        return str(default(self) if callable(default) else default or f"{self.hub.base_url}home")


class OidcLogoutHandler(RecordingLogoutHandler):
    """Logging out here; the page says that the provider may still know the person."""

    @property
    def after(self) -> str:
        """The page that says so."""
        return f"{self.hub.base_url}logout"
