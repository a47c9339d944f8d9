"""One long-running process of a site: what a folder asks the site's supervisor to keep alive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Daemon:
    """A process that stays in the foreground, logs to standard error, and ends on SIGTERM.

    Args:
        name: its name in `leerlab status` and of its log file, such as `slurmctld`.
        argv: program, as an absolute path, and its arguments; no secrets, because every account can read them.
        environment: all of its environment; nothing is inherited.
        priority: lower starts earlier and stops later.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    priority: int = 500
