"""Whom each server is charged to, and accounts in Slurm for the people that the hub knows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from jupyterhub import orm

from cluster.accounting import course_account
from cluster.errors import SlurmError
from cluster.limits import person_account
from cluster.people import People
from cluster.request import ACCOUNT
from cluster.unix_accounts import UnixAccount
from hub_config.login.names import is_internal
from hub_config.site import Site

INTERVAL_SECONDS = 60.0

log = logging.getLogger("leerlab.charging")


def groups_of_people(session: Any) -> dict[str, tuple[str, ...]]:
    """The groups of everybody that the hub knows, by name; accounts of courses and sandboxes are nobody.

    Args:
        session: the hub's database session.
    """
    return {
        row.name: tuple(group.name for group in row.groups)
        for row in session.query(orm.User)
        if not is_internal(row.name) and ACCOUNT.fullmatch(person_account(row.name))
    }


class Charging:
    """Says whom a server is charged to, and has the account there before its job is submitted.

    Args:
        site: the checked settings.
        people: accounts of people; None where there is no accounting.
    """

    def __init__(self, site: Site, people: People | None) -> None:
        self._courses = course_account(site.cluster)
        self._everybody = people
        self._people = people if people is not None and people.charges_people else None
        self._task: asyncio.Task[None] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Charging:
        """traitlets copies every configured value; there is one."""
        return self

    def account(self, person: str) -> str | None:
        """The account of a person's own servers: the person's own where Slurm keeps limits, else the courses'."""
        return self._courses if self._people is None else person_account(person)

    def before(
        self, person: str, groups: Collection[str], runs_as: Callable[[], Awaitable[UnixAccount]] | None = None
    ) -> Callable[[], Awaitable[None]] | None:
        """What is awaited before a person's job is submitted; None: nothing. Mostly it has been done long before.

        Args:
            person: whose.
            groups: of the person.
            runs_as: tells the unix account as which the job runs; None: the site's own.
        """
        people, everybody, account = self._people, self._everybody, self.account(person)
        if everybody is None or account is None or (people is None and runs_as is None):
            return None

        async def ready() -> None:
            if people is not None:
                await people.ensure({person: tuple(groups)})
            if runs_as is not None:
                await everybody.allow((await runs_as()).name, account)

        return ready

    async def ensure(self, groups_of: dict[str, tuple[str, ...]]) -> None:
        """Have the accounts of many people at once, such as a class.

        Raises:
            SlurmUnavailable, SlurmRefused: as `People.ensure`.
        """
        if self._people is not None:
            await self._people.ensure(groups_of)

    def begin(self, hub: Any) -> None:
        """Have accounts for everybody now, and look every minute whether they are still as they should be.

        Args:
            hub: JupyterHub's application.
        """
        if self._people is not None:
            self._task = asyncio.create_task(self._run(hub, self._people))

    async def close(self) -> None:
        """Stop, and wait until that is done."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, hub: Any, people: People) -> None:
        while True:
            try:
                await people.ensure(groups_of_people(hub.db), anew=True)
            except SlurmError as error:
                log.warning("Accounts of people could not be brought up to date; the next turn tries again: %s", error)
            except Exception:
                log.exception("Accounts of people could not be brought up to date; the next turn tries again")
            await asyncio.sleep(INTERVAL_SECONDS)
