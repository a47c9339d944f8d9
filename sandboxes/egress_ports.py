"""Which loopback port leads to which sandbox's own proxy: kept in `run/egress.json`, written by `sandboxes.egress`."""

from __future__ import annotations

import json

from base.paths import State

FILE = "egress.json"


def port_of(state: State, sandbox: str) -> int | None:
    """The port of a sandbox's proxy; None when it has none, and so reaches nothing.

    Args:
        state: the site's state folder.
        sandbox: the sandbox's id.
    """
    try:
        ports = json.loads((state.run / FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    port = ports.get(sandbox) if isinstance(ports, dict) else None
    return port if isinstance(port, int) and 1024 <= port <= 65535 else None
