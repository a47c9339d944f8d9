"""The demo login: the demo people of site.yaml, for a browser on this machine that has given a one-time key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jupyterhub.auth import Authenticator
from traitlets import Instance, default

from base.paths import State
from hub_config.login import keys
from hub_config.login.attempts import Attempts
from hub_config.login.hosts import Hosts

BROWSER_COOKIE = "leerlab-browser"
COURSE_ACCOUNTS = "course-"

# Arguments: actor, action, subject, details. Awaited; its errors stop the login, since what is not recorded may not happen.
Record = Callable[[str, str, str, Mapping[str, str]], Awaitable[None]]


@dataclass(frozen=True)
class DemoPerson:
    """One of the demo people.

    Args:
        name: user name.
        title: how the pages call this person.
        groups: JupyterHub groups, `operators` among them for operators.
    """

    name: str
    title: str
    groups: tuple[str, ...]


@dataclass(frozen=True)
class DemoLogin:
    """All that the demo login needs.

    Args:
        people: who may be chosen.
        hosts: names this site answers to, and the address it listens on.
        state: the site's state folder, with the one-time keys.
        record: writes one line of the audit trail.
        attempts: limit on wrong keys.
    """

    people: tuple[DemoPerson, ...]
    hosts: Hosts
    state: State
    record: Record
    attempts: Attempts = field(default_factory=Attempts)

    def __deepcopy__(self, memo: dict[int, Any]) -> DemoLogin:
        """traitlets copies every configured value; this one holds what must stay one."""
        return self

    def person(self, name: str) -> DemoPerson | None:
        """The demo person of that name."""
        return next((person for person in self.people if person.name == name), None)


class DemoAuthenticator(Authenticator):
    """JupyterHub's authenticator for demo people. Groups come from site.yaml; nobody is a JupyterHub admin."""

    demo = Instance(DemoLogin, help="People, hosts, state and record of the demo login.").tag(config=True)

    @default("manage_groups")
    def _default_manage_groups(self) -> bool:
        return True

    @default("allow_all")
    def _default_allow_all(self) -> bool:
        return True

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
        return bool(user.name.startswith(COURSE_ACCOUNTS))

    def _model(self, person: DemoPerson) -> dict[str, Any]:
        return {
            "name": person.name,
            "groups": list(person.groups),
            "admin": False,
            "user_info": {"title": person.title},
        }

    def get_handlers(self, app: Any) -> list[tuple[str, Any]]:
        """The login page, the one-time key and logging out."""
        # Imported here: the handlers' module needs this class.
        from hub_config.login.handlers import KeyHandler, PeopleHandler, RecordingLogoutHandler

        return [("/login", PeopleHandler), ("/login/key", KeyHandler), ("/logout", RecordingLogoutHandler)]
