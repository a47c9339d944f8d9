"""Keeps the hub in step with the ledger's sandboxes: for each member of an active one an account, a group and a role.

The ledger says who is a member. What it does not say any more is taken away: the server is stopped first, then the
account goes with its tokens and its role. A ledger that cannot be read changes nothing. An account of which the ledger
knows nothing at all, because it was lost or put back as it was earlier, loses its role and is otherwise left alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jupyterhub import orm, roles
from jupyterhub.apihandlers.base import APIHandler
from tornado.web import HTTPError

from base.errors import LeerlabError
from cluster.accounting import Accounts as SlurmAccounts
from cluster.errors import SlurmError
from hub_config.login.names import BOX_PREFIX
from ledger.openings import OpeningLedger
from ledger.sandboxes import SandboxLedger
from portal.configuration import SERVICE
from portal.people import COMPANIES
from sandboxes.egress import Egress
from spawners.stopping import stop_without_request

INTERVAL_SECONDS = 60.0
STOP_SECONDS = 120.0

log = logging.getLogger("leerlab.sandboxes")


@dataclass(frozen=True)
class Membership:
    """One person in one sandbox.

    Args:
        sandbox: the sandbox's id.
        person: the member's pseudonym.
    """

    sandbox: str
    person: str

    @property
    def account(self) -> str:
        """The hub account of this person in this sandbox."""
        return f"{BOX_PREFIX}{self.sandbox}-{self.person}"

    @property
    def group(self) -> str:
        """The hub group of all accounts of this sandbox."""
        return f"sandbox-{self.sandbox}"

    def role(self) -> dict[str, Any]:
        """What lets the person start, stop and reach the account's server."""
        return {
            "name": self.account,
            "description": f"A member of sandbox {self.sandbox}",
            "scopes": [
                f"servers!user={self.account}",
                f"access:servers!user={self.account}",
                f"read:users:name!user={self.account}",
                f"read:servers!user={self.account}",
            ],
        }


class Members:
    """The memberships that the hub has made accounts for: read by the plans of their servers, without any database."""

    def __init__(self) -> None:
        self._known: dict[str, Membership] = {}

    def of(self, account: str) -> Membership | None:
        """The membership behind an account; None when it has ended or never was."""
        return self._known.get(account)

    def all(self) -> Mapping[str, Membership]:
        """Every membership by its account."""
        return dict(self._known)

    def replace(self, memberships: Iterable[Membership]) -> None:
        """These and no others."""
        self._known = {one.account: one for one in memberships}

    def __deepcopy__(self, memo: dict[int, Any]) -> Members:
        """traitlets copies every configured value; all must see the same members."""
        return self


@dataclass(frozen=True)
class WayOut:
    """What sandboxes may reach outside: what their members agreed on, and the proxy that keeps to it.

    Args:
        openings: says what was agreed on.
        egress: the proxy.
    """

    openings: OpeningLedger
    egress: Egress

    def update(self) -> None:
        """Let the proxy follow the ledger; blocks.

        Raises:
            LeerlabError: the ledger cannot be read, or the proxy does not follow in time.
        """
        self.egress.update(self.openings.open())


class Accounts:
    """Makes and takes away the accounts of sandboxes' members.

    Args:
        ledger: says who is a member.
        members: told which memberships have an account.
        way_out: what sandboxes reach outside; None where they reach nothing.
        slurm: Slurm's accounting; None where nothing is counted.
        gpu_minutes: of each sandbox together; None without a limit.
    """

    def __init__(
        self,
        ledger: SandboxLedger,
        members: Members,
        *,
        way_out: WayOut | None = None,
        slurm: SlurmAccounts | None = None,
        gpu_minutes: int | None = None,
    ) -> None:
        self._ledger = ledger
        self._members = members
        self._way_out = way_out
        self._slurm = slurm
        self._gpu_minutes = gpu_minutes
        self._charged: set[str] = set()
        self._one_at_a_time = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Accounts:
        """traitlets copies every configured value; there is one."""
        return self

    def begin(self, hub: Any) -> None:
        """Bring the hub up to date now, and every minute from now on.

        Args:
            hub: JupyterHub's application.
        """
        self._task = asyncio.create_task(self._run(hub))

    async def close(self) -> None:
        """Stop, and wait until that is done."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, hub: Any) -> None:
        while True:
            try:
                await self.update(hub)
            except Exception:
                log.exception("Sandboxes could not be brought up to date; the next turn tries again")
            await asyncio.sleep(INTERVAL_SECONDS)

    async def update(self, hub: Any) -> None:
        """Bring the hub up to date now; returns when the servers of those who are no members any more have stopped.

        Args:
            hub: JupyterHub's application.

        Raises:
            LeerlabError: the ledger cannot be read; nothing was changed.
            HTTPError, TimeoutError: a server could not be stopped; its account is still there, without a role.
        """
        async with self._one_at_a_time:
            rows = await asyncio.to_thread(self._ledger.memberships)
            known = {Membership(*row).account for row in rows}
            present = [Membership(*row) for row, there in rows.items() if there]
            # Still in the ledger, and no company's any more: the provider has taken that back.
            wanted = {one.account: one for one in present if not _left_the_company(hub, one.person)}
            self._members.replace(wanted.values())
            active = {one.sandbox for one in present}
            await self._charge(active)
            await self._open()
            self._make(hub, wanted)
            boxes = hub.db.query(orm.User).filter(orm.User.name.startswith(BOX_PREFIX, autoescape=True))
            gone = [row.name for row in boxes if row.name not in wanted]
            failures = []
            for account in gone:
                self._withdraw(hub, account)
                if account not in known:
                    log.warning(
                        "The ledger knows nothing of %s: nobody may reach it, its server and files stay", account
                    )
                    continue
                try:
                    await self._remove(hub, account)
                except (HTTPError, TimeoutError) as error:
                    log.error("%s could not be taken away; the next turn tries again: %r", account, error)
                    failures.append(error)
            self._remove_groups(hub, {one.group for one in wanted.values()})
            await self._settle(active)
            if failures:
                raise failures[0]

    async def _charge(self, sandboxes: set[str]) -> None:
        """An account in Slurm for each sandbox, with its budget, before anything can run in it."""
        if self._slurm is None:
            return
        for sandbox in sorted(sandboxes - self._charged):
            try:
                await self._slurm.ensure(slurm_account(sandbox), self._gpu_minutes)
            except SlurmError as error:
                # Without its account a sandbox's job is refused; its files and pages are there all the same.
                log.warning("Sandbox %s has no account in Slurm yet; the next turn tries again: %s", sandbox, error)
                return
            self._charged.add(sandbox)

    async def _open(self) -> None:
        """Ports and lists for the way out, before anything can run in a new sandbox."""
        if self._way_out is None:
            return
        try:
            await asyncio.to_thread(self._way_out.update)
        except (LeerlabError, OSError) as error:
            # The proxy of before goes on, or none at all: sandboxes themselves need not wait for it.
            log.error("What sandboxes may reach could not be brought up to date; the next turn tries again: %s", error)

    async def _settle(self, sandboxes: set[str]) -> None:
        """No account in Slurm for sandboxes that have ended; what they used stays on record."""
        if self._slurm is None:
            return
        for sandbox in sorted(self._charged - sandboxes):
            try:
                await self._slurm.remove(slurm_account(sandbox))
            except SlurmError as error:
                log.info("Sandbox %s still has an account in Slurm; the next turn tries again: %s", sandbox, error)
                continue
            self._charged.discard(sandbox)

    def _make(self, hub: Any, wanted: Mapping[str, Membership]) -> None:
        """What is missing; a member who has never logged in to this hub gets it at the next turn."""
        for membership in wanted.values():
            person = orm.User.find(hub.db, membership.person)
            if person is None:
                continue
            account = orm.User.find(hub.db, membership.account)
            if account is None:
                account = orm.User(name=membership.account)
                hub.db.add(account)
                hub.db.commit()
                roles.assign_default_roles(hub.db, entity=account)
            group = orm.Group.find(hub.db, membership.group)
            if group is None:
                group = orm.Group(name=membership.group)
                hub.db.add(group)
            if account not in group.users:
                group.users.append(account)
            role = orm.Role.find(hub.db, membership.account) or roles.create_role(hub.db, membership.role())
            roles.grant_role(hub.db, entity=person, role=role)
            hub.db.commit()
            # The server is Leerlab's own: its member is not asked whether to trust it.
            hub.tornado_settings["oauth_no_confirm_list"].add(_client(membership.account))

    def _withdraw(self, hub: Any, account: str) -> None:
        """Nobody may reach an account any more."""
        if orm.Role.find(hub.db, account) is not None:
            roles.delete_role(hub.db, account)
        hub.tornado_settings["oauth_no_confirm_list"].discard(_client(account))

    async def _remove(self, hub: Any, account: str) -> None:
        """The server, then the account with its tokens."""
        user = hub.users[account]
        for name, spawner in list(user.spawners.items()):
            if spawner.active or spawner.pending:
                await asyncio.wait_for(stop_without_request(hub, user, name), timeout=STOP_SECONDS)
        await user.delete_spawners()
        hub.users.delete(user)

    def _remove_groups(self, hub: Any, wanted: set[str]) -> None:
        for group in hub.db.query(orm.Group).filter(orm.Group.name.startswith("sandbox-", autoescape=True)):
            if group.name not in wanted and not group.users:
                hub.db.delete(group)
        hub.db.commit()


def _left_the_company(hub: Any, name: str) -> bool:
    """Whether the hub knows a person, and of no company."""
    person = orm.User.find(hub.db, name)
    return person is not None and COMPANIES not in [group.name for group in person.groups]


def slurm_account(sandbox: str) -> str:
    """The Slurm account that a sandbox's jobs are charged to."""
    return f"{BOX_PREFIX}{sandbox}"


def _client(account: str) -> str:
    return f"jupyterhub-user-{account}"


class UpdateHandler(APIHandler):  # type: ignore[misc]  # JupyterHub has no types
    """`POST /hub/api/leerlab/sandboxes`: the portal has changed a membership. 204 when the hub is up to date."""

    async def post(self) -> None:
        """Bring the hub up to date; for the portal's own token alone."""
        caller = self.current_user
        if not isinstance(caller, orm.Service) or caller.name != SERVICE:
            raise HTTPError(403)
        accounts: Accounts | None = self.settings.get("leerlab_sandboxes")
        if accounts is None:
            raise HTTPError(404)
        try:
            await accounts.update(self.settings["leerlab_hub"])
        except (LeerlabError, TimeoutError) as error:
            log.error("Sandboxes could not be brought up to date: %s", error)
            raise HTTPError(503, "Sandboxes could not be brought up to date. Try again.") from error
        self.set_status(204)


HANDLERS = [(r"/api/leerlab/sandboxes", UpdateHandler)]
