"""Which unix account each person's jobs run as, on a site with `unix_accounts:`."""

from __future__ import annotations

import asyncio
import pwd
from collections.abc import Awaitable, Callable
from pathlib import Path

from base.errors import LeerlabError
from base.paths import State
from cluster.unix_accounts import DirectoryAccounts, MadeAccounts, UnixAccount
from hub_config.site import Site
from ledger.store import Ledger
from ledger.unix_accounts import UnixAccountLedger
from spawners.fetching import Fetching
from spawners.launching import Launcher

LAUNCHER = Path("/var/lib/leerlab/bin/launcher.py")
"""Where sudo's rule finds the launcher; leads to the version that is installed."""


class PeoplesAccounts:
    """Says which account is whose.

    Args:
        settings: the section of site.yaml.
        ledger: remembers it.
    """

    def __init__(self, settings: MadeAccounts | DirectoryAccounts, ledger: UnixAccountLedger) -> None:
        self._settings = settings
        self._ledger = ledger
        self._known: dict[str, UnixAccount] = {}

    async def of(self, person: str) -> UnixAccount:
        """A person's account; of accounts that were made beforehand the next free one, at the first call.

        Args:
            person: pseudonym.

        Raises:
            LeerlabError: all are given, the directory's claim named none, or this machine does not know it.
        """
        if person not in self._known:
            name = await asyncio.to_thread(self._name, person)
            self._known[person] = await asyncio.to_thread(self._seen, name)
        return self._known[person]

    def runs_as(self, person: str) -> Callable[[], Awaitable[UnixAccount]]:
        """For `ServerPlan.runs_as`."""
        return lambda: self.of(person)

    def _name(self, person: str) -> str:
        settings = self._settings
        if isinstance(settings, MadeAccounts):
            return self._ledger.give_next(person, lambda place: settings.account(place).name)
        name = self._ledger.of(person)
        if name is None:
            raise LeerlabError(
                f"The login of {person} named no unix account.",
                "Jobs of this person cannot run.",
                f"Have the provider send the claim {settings.claim}; the person logs in again.",
            )
        return name

    def _seen(self, name: str) -> UnixAccount:
        try:
            uid = pwd.getpwnam(name).pw_uid
        except KeyError:
            raise LeerlabError(
                f"This machine does not know the unix account {name}.",
                "Jobs of its person cannot run.",
                "Run leerlab accounts make here as root, or the playbook; of a directory: see `getent passwd`.",
            ) from None
        if uid not in self._settings.uids:
            uids = self._settings.uids
            raise LeerlabError(
                f"The unix account {name} has the number {uid}, and site.yaml says {uids[0]} to {uids[-1]}.",
                "Jobs of its person cannot run.",
                "Mend unix_accounts in site.yaml, or the account.",
            )
        return UnixAccount(name, uid)


def old_homes(state: State) -> list[Path]:
    """Homes of people from before the site had `unix_accounts`: the site's own account keeps them."""
    return sorted(path for path in state.homes.iterdir() if path.is_dir() and any(path.iterdir()))


def see_no_old_homes(state: State) -> None:
    """See that nobody would find an empty home in the place of a full one.

    Raises:
        LeerlabError: homes from before are there still.
    """
    if old := old_homes(state):
        raise LeerlabError(
            f"{len(old)} homes from before unix_accounts lie in {state.homes}, such as {old[0].name}.",
            "Their people would find an empty home, so nothing was started.",
            "Run leerlab accounts moves: it prints what root has to do. See docs/how-to/accounts.md.",
        )


def known_accounts(settings: MadeAccounts | DirectoryAccounts | None) -> list[UnixAccount]:
    """Accounts to try whether all is well with them: the first and the last of those that were made beforehand."""
    if not isinstance(settings, MadeAccounts):
        return []
    return [settings.account(place) for place in sorted({0, settings.count - 1})]


def accounts_of_people(site: Site, ledger: Ledger) -> PeoplesAccounts | None:
    """The accounts of the site's people; None on a site with one account."""
    if site.unix_accounts is None:
        return None
    return PeoplesAccounts(site.unix_accounts, UnixAccountLedger(ledger))


def launcher_of(site: Site) -> Launcher | None:
    """What starts jobs of people's accounts; None on a site with one account."""
    return Launcher(str(LAUNCHER)) if site.unix_accounts is not None else None


def fetching_of(site: Site, state: State) -> Fetching | None:
    """What brings the counts of jobs of people's accounts; None on a site with one account."""
    launcher = launcher_of(site)
    return Fetching(launcher, state) if launcher is not None else None
