"""The demo login: the demo people of site.yaml, for a browser on this machine that has given a one-time key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jupyterhub.auth import Authenticator
from traitlets import Instance, default

from hub_config.login import keys
from hub_config.login.handlers import KeyHandler, PeopleHandler, RecordingLogoutHandler
from hub_config.login.names import is_internal
from hub_config.login.people import BROWSER_COOKIE, DemoLogin, DemoPerson


class DemoAuthenticator(Authenticator):  # type: ignore[misc]  # JupyterHub has no types
    """JupyterHub's authenticator for demo people. Groups come from site.yaml; nobody is a JupyterHub admin."""

    demo = Instance(DemoLogin, help="People, hosts, state and record of the demo login.").tag(config=True)

    @default("manage_groups")
    def _default_manage_groups(self) -> bool:
        return True

    @default("allow_all")
    def _default_allow_all(self) -> bool:
        return True

    async def record(self, actor: str, action: str, subject: str, details: Mapping[str, str]) -> None:
        """Write one line of the audit trail."""
        await self.demo.record(actor, action, subject, details)

    def admits(self, handler: Any) -> bool:
        """Whether this browser has given a one-time key in this run of the site."""
        value = handler.get_signed_cookie(BROWSER_COOKIE)
        return value is not None and keys.is_this_run(self.demo.state, value.decode("ascii", "replace"))

    async def authenticate(self, handler: Any, data: Mapping[str, str]) -> dict[str, Any] | None:
        """The person that was chosen, if there is one of that name and the browser is admitted; else nobody."""
        name = str(data.get("username", ""))[:64]
        person = self.demo.person(name)
        if person is None or not self.admits(handler):
            await self.demo.record("anonymous", "login.refused", name, {"kind": "demo"})
            return None
        await self.demo.record(person.name, "login", person.name, {"kind": "demo"})
        return self._model(person)

    async def refresh_user(self, user: Any, handler: Any = None) -> bool | dict[str, Any]:
        """Groups as site.yaml has them now. Whoever is no longer in it must log in again, and cannot."""
        person = self.demo.person(user.name)
        if person is not None:
            return self._model(person)
        return is_internal(user.name)

    def _model(self, person: DemoPerson) -> dict[str, Any]:
        return {
            "name": person.name,
            "groups": list(person.groups),
            "admin": False,
            "user_info": {"title": person.title},
        }

    def get_handlers(self, app: Any) -> list[tuple[str, Any]]:
        """The login page, the one-time key and logging out."""
        return [("/login", PeopleHandler), ("/login/key", KeyHandler), ("/logout", RecordingLogoutHandler)]
