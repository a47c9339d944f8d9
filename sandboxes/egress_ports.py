"""Which loopback port leads to which sandbox's own proxy: kept in `run/egress.json`, written by `sandboxes.egress`."""

from __future__ import annotations

import json

from base.paths import State

FILE = "egress.json"


def ports(state: State) -> dict[str, int]:
    """The port of each sandbox by its id; empty where nothing may be reached.

    Args:
        state: the site's state folder.
    """
    try:
        found = json.loads((state.run / FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: port for name, port in found.items() if isinstance(port, int) and 1024 <= port <= 65535}


def port_of(state: State, sandbox: str) -> int | None:
    """The port of a sandbox's proxy; None when it has none, and so reaches nothing.

    Args:
        state: the site's state folder.
        sandbox: the sandbox's id.
    """
    return ports(state).get(sandbox)
