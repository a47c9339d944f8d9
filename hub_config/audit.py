"""Writes the audit trail from the hub's event loop without holding it up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from base.errors import LeerlabError
from base.paths import State
from hub_config.run.keys import secret
from hub_config.site import Site
from ledger.store import Ledger

LEDGER_KEY = "ledger-key"


def ledger_url(site: Site, state: State) -> str:
    """The address of the ledger's database."""
    return site.ledger.url or f"sqlite:///{state.ledger}"


def open_ledger(site: Site, state: State) -> Ledger:
    """The site's ledger, at the address of site.yaml or in the state folder."""
    secret(state, LEDGER_KEY)
    return Ledger.open(ledger_url(site, state), state.secrets / LEDGER_KEY)


@contextmanager
def existing_ledger(site: Site, state: State) -> Iterator[Ledger]:
    """The ledger of a site that has run; closed afterwards.

    Raises:
        LeerlabError: the site has never run.
    """
    if not state.secrets.is_dir():
        raise LeerlabError("This site has never run, so nothing is recorded.", do="Run ./leerlab up.")
    ledger = open_ledger(site, state)
    try:
        yield ledger
    finally:
        ledger.close()


@dataclass(frozen=True)
class Audit:
    """Records from async code; each call waits until the entry is on disk.

    Args:
        ledger: where to write.
    """

    ledger: Ledger

    def __deepcopy__(self, memo: dict[int, Any]) -> Audit:
        """traitlets copies every configured value; there is one ledger."""
        return self

    async def record(self, actor: str, action: str, subject: str, details: Mapping[str, str]) -> None:
        """Append one entry.

        Args:
            actor: pseudonym of who did it.
            action: dotted name of what was done, such as `server.start`.
            subject: to whom or what.
            details: further plain facts; no secrets.
        """
        await asyncio.to_thread(self.ledger.record, actor, action, subject, dict(details))
