"""Named servers: how many a person may have beside the first, by site.yaml's limits; to JupyterHub 0 is no limit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from tornado.web import HTTPError

from cluster.limits import GroupLimits, limits_of
from hub_config.login.names import is_internal
from spawners.options import SERVER_NAME


def allowed(limits: Sequence[GroupLimits], person: str, groups: Collection[str]) -> int:
    """How many servers with a name a person may have; none for accounts of courses and sandboxes.

    Args:
        limits: the section `limits` of site.yaml.
        person: name of the hub's account.
        groups: its groups.
    """
    found = limits_of(limits, groups)
    return 0 if found is None or is_internal(person) else found.named_servers


def limit(limits: Sequence[GroupLimits]) -> Callable[[Any], int]:
    """For `JupyterHub.named_server_limit_per_user`: asked with the handler of each request for a named server.

    Args:
        limits: the section `limits` of site.yaml.
    """

    def of(handler: Any) -> int:
        """How many the owner of the server that the request is about may have.

        Raises:
            HTTPError: 403, none at all; 400, the name is not one. JupyterHub has stored nothing yet then.
        """
        about = [one for one in handler.path_args if one]
        if len(about) < 2:
            # A page about servers, such as the administrators' list; nothing is started there.
            return 1
        owner = handler.find_user(about[0])
        count = 0 if owner is None else allowed(limits, owner.name, [group.name for group in owner.groups])
        if not count:
            raise HTTPError(403, "This account has no servers with a name.")
        if not SERVER_NAME.fullmatch(about[1]):
            raise HTTPError(400, "A server's name has small letters, digits and hyphens, at most 20.")
        return count

    return of
