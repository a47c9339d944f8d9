"""Which host names this site answers to. A foreign name that resolves to loopback (DNS rebinding) gets nothing."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

# Asked by services and by the proxy over sockets without a public name; they tell nothing without cookie or token.
_NAMELESS_PATHS = ("/hub/api/", "/hub/error/", "/hub/health")
_NAMELESS_EXACT = ("/hub/api", "/hub/health")


class HostRule(Enum):
    """What to do with a request, seeing its Host header and path."""

    ANSWER = "answer"
    SEND_HOME = "send home"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Hosts:
    """The exact list of names, with port, as browsers send them in `Host`.

    Args:
        hub: name of the hub's own origin, such as `leerlab.localhost:8000`.
        others: origins of people's servers and of services, such as `sanne.leerlab.localhost:8000`.
        bind: address that the public proxy listens on.
        pattern: regular expression of further first labels: people who are known only once they come. None: no others.
        https: whether a TLS proxy stands in front, so that names have no port.
    """

    hub: str
    others: frozenset[str]
    bind: str
    pattern: str | None = None
    https: bool = False

    @classmethod
    def of(
        cls, domain: str, port: int, names: Collection[str], bind: str, *,
        pattern: str | None = None, https: bool = False,
    ) -> Hosts:  # fmt: skip
        """The list for one domain and the names directly below it."""
        hub = domain if https else f"{domain}:{port}"
        return cls(hub, frozenset(f"{name}.{hub}" for name in names), bind, pattern, https)

    @property
    def home(self) -> str:
        """The hub's own origin."""
        return f"{'https' if self.https else 'http'}://{self.hub}"

    @property
    def on_loopback(self) -> bool:
        """Whether nobody but this machine can reach the site."""
        try:
            return ipaddress.ip_address(self.bind).is_loopback
        except ValueError:
            return False

    def rule(self, host: str, path: str) -> HostRule:
        """What to do with a request.

        The hub's pages are served on its own origin alone: on a person's origin, that person's code could read them.

        Args:
            host: the Host header, exactly as it came.
            path: the request's path.
        """
        if host == self.hub:
            return HostRule.ANSWER
        if path in _NAMELESS_EXACT or path.startswith(_NAMELESS_PATHS):
            return HostRule.ANSWER
        if not self._is_below(host):
            return HostRule.REFUSE
        return HostRule.SEND_HOME if path == "/hub" or path.startswith("/hub/") else HostRule.ANSWER

    def _is_below(self, host: str) -> bool:
        """Whether this is the origin of a person, a course or a sandbox."""
        if host in self.others:
            return True
        label = host.removesuffix("." + self.hub)
        return self.pattern is not None and label != host and re.fullmatch(self.pattern, label) is not None
