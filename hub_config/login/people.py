"""The demo people of a site, and all that letting one of them in needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from base.paths import State
from hub_config.login.attempts import Attempts
from hub_config.login.hosts import Hosts

BROWSER_COOKIE = "leerlab-browser"

# Arguments: actor, action, subject, details. Its errors stop the login: what is not recorded may not happen.
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
        given: groups that a person was given besides, at this moment.
        attempts: limit on wrong keys.
    """

    people: tuple[DemoPerson, ...]
    hosts: Hosts
    state: State
    record: Record
    given: Callable[[str], tuple[str, ...]] = lambda _name: ()
    attempts: Attempts = field(default_factory=Attempts)

    def __deepcopy__(self, memo: dict[int, Any]) -> DemoLogin:
        """traitlets copies every configured value; this one holds what must stay one."""
        return self

    def person(self, name: str) -> DemoPerson | None:
        """The demo person of that name, with all groups of this moment."""
        found = next((person for person in self.people if person.name == name), None)
        return found and replace(found, groups=tuple(dict.fromkeys((*found.groups, *self.given(name)))))
