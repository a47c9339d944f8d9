"""Pages of the demo login: the one-time key, the choice of a person, logging out."""

from __future__ import annotations

from typing import Any

from jupyterhub.handlers.login import LoginHandler, LogoutHandler
from tornado import web
from tornado.httputil import url_concat

from base.messages import Message
from hub_config.login import keys
from hub_config.login.hosts import HostRule
from hub_config.login.people import BROWSER_COOKIE, DemoLogin


class _DemoPage(LoginHandler):  # type: ignore[misc]  # JupyterHub has no types
    """What the pages before login share: whom they refuse before anything else, and how they look."""

    @property
    def demo(self) -> DemoLogin:
        """What the demo login needs; JupyterHub knows it as its authenticator's setting."""
        demo: DemoLogin = self.authenticator.demo
        return demo

    @property
    def _onward(self) -> dict[str, str]:
        """Where the person was going; JupyterHub checks it when it sends them there."""
        goal = self.get_argument("next", "")
        return {"next": goal} if goal else {}

    async def prepare(self) -> None:
        """Refuse a foreign Host, and a site that others can reach, before reading anything of the request."""
        hosts = self.demo.hosts
        if hosts.rule(self.request.host, self.request.path) is not HostRule.ANSWER:
            await self._refuse("host")
        elif not hosts.on_loopback:
            await self._refuse("not-loopback")
        else:
            await super().prepare()

    async def _refuse(self, why: str) -> None:
        await self.demo.record("anonymous", "login.refused", self.request.host[:200], {"why": why})
        self._jupyterhub_user = None
        self.expanded_scopes: set[str] = set()
        self.parsed_scopes: dict[str, Any] = {}
        self.set_status(403)
        self.finish(await super(LoginHandler, self).render_template("login_refused.html", why=why))

    def check_xsrf_cookie(self) -> None:
        """As JupyterHub does, with a sentence in the person's language when it fails."""
        try:
            super().check_xsrf_cookie()
        except web.HTTPError as error:
            # write_error renders the login page with this as the reason.
            raise web.HTTPError(403, "login.form-expired") from error

    def _render(self, login_error: str | Message | None = None, username: str | None = None, **kwargs: Any) -> Any:
        """The login page; JupyterHub calls this for errors on a submitted form as well."""
        problem = login_error if isinstance(login_error, Message) or not login_error else Message("login.failed")
        if login_error == "login.form-expired":
            problem = Message("login.form-expired")
        user = self.current_user
        return super(LoginHandler, self).render_template(
            "login.html",
            sync=bool(kwargs.get("sync")),
            admitted=self.authenticator.admits(self),
            people=self.demo.people,
            problem=problem,
            chosen=user.name if user else "",
            login_action=url_concat(f"{self.hub.base_url}login", self._onward),
            key_action=url_concat(f"{self.hub.base_url}login/key", self._onward),
        )


class PeopleHandler(_DemoPage):
    """`/hub/login`: give the one-time key, or choose who to be."""

    async def get(self) -> None:
        """The page; a person on the way to somewhere else who is logged in already goes there."""
        if self.current_user and self.get_argument("next", ""):
            await super().get()
            return
        self.finish(await self._render())

    async def post(self) -> None:
        """Log in as the chosen person."""
        user = await self.login_user({"username": self.get_body_argument("username", "")})
        if user is None:
            self.set_status(403)
            self.finish(await self._render(Message("login.failed")))
            return
        self._jupyterhub_user = user
        self.redirect(self.get_next_url(user))


class KeyHandler(_DemoPage):
    """`POST /hub/login/key`: burns a one-time key and admits this browser for this run of the site."""

    async def get(self) -> None:
        """Nothing to see here; the login page asks for the key."""
        self.redirect(f"{self.hub.base_url}login")

    async def post(self) -> None:
        """Admit the browser, or say why not."""
        wait = self.demo.attempts.wait_seconds()
        if wait:
            await self.demo.record("anonymous", "login.key.throttled", "", {})
            self.set_status(429)
            self.set_header("Retry-After", str(wait))
            self.finish(await self._render(Message("login.key-throttled", {"seconds": wait})))
            return
        if not keys.redeem(self.demo.state, self.get_body_argument("key", "").strip()):
            self.demo.attempts.wrong()
            await self.demo.record("anonymous", "login.key.refused", "", {})
            self.set_status(403)
            self.finish(await self._render(Message("login.key-wrong")))
            return
        await self.demo.record("anonymous", "login.key.redeemed", "", {})
        self.set_signed_cookie(
            BROWSER_COOKIE,
            keys.run_token(self.demo.state),
            expires_days=None,
            path=self.hub.base_url,
            httponly=True,
            samesite="Lax",
        )
        self.redirect(url_concat(f"{self.hub.base_url}login", self._onward))


class RecordingLogoutHandler(LogoutHandler):  # type: ignore[misc]  # JupyterHub has no types
    """`/hub/logout`: asks first, so that no other page can log somebody out; then does it and records it."""

    @property
    def after(self) -> str:
        """The page that whoever has logged out sees."""
        return str(self.settings["login_url"])

    async def get(self) -> None:
        """Ask, or say that nobody is logged in."""
        self.finish(await self.render_template("logout.html"))

    @web.authenticated
    async def post(self) -> None:
        """Log out."""
        name = self.current_user.name
        await self.default_handle_logout()
        await self.handle_logout()
        self._jupyterhub_user = None
        await self.authenticator.record(name, "logout", name, {})
        self.redirect(self.after)
