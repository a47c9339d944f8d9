"""Whether a person who logged in before still may: asks the provider again, and takes away what is no longer given."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from jupyterhub import crypto, orm
from jupyterhub.utils import new_token
from tornado.web import HTTPError

from base.errors import LeerlabError
from hub_config.login.names import BOX_PREFIX, is_internal
from hub_config.login.people import Record
from hub_config.login.provider import SILENCE_SECONDS, Asked, Denied, Provider
from hub_config.login.refusals import LoginRefused, Reason
from spawners.stopping import stop_without_request

FRESH_SECONDS = 5
"""A provider that answered so recently is not asked again: a page and its parts, or a login and its first start."""
ARRIVING_SECONDS = 30.0
"""Longest time between a login's verdict and JupyterHub having stored all of it."""
STOP_SECONDS = 120.0
MOST_UNRECORDED = 1000
_SERVER_TOKEN = "Server at "  # noqa: S105  # how JupyterHub notes the token of a server of a person's own

log = logging.getLogger("leerlab.login")


class Standings:
    """Keeps what people may do in step with what their providers say.

    Args:
        providers: by id.
        grace: how long a provider's last answer counts.
        record: writes one line of the audit trail.
    """

    def __init__(self, providers: Mapping[str, Provider], grace: timedelta, record: Record) -> None:
        self._providers = providers
        self._grace = grace.total_seconds()
        self._record = record
        self._locks: dict[str, asyncio.Lock] = {}
        self._arriving: dict[str, float] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._unrecorded: list[tuple[str, str, str, dict[str, str]]] = []
        self.hub: Any = None

    def expect(self, name: str) -> None:
        """Somebody has just been let in: JupyterHub stores groups and what to ask with one after the other.

        Args:
            name: the person's name.
        """
        now = time.monotonic()
        self._arriving = {one: when for one, when in self._arriving.items() if when > now - ARRIVING_SECONDS}
        self._arriving[name] = now

    def _is_arriving(self, name: str) -> bool:
        return self._arriving.get(name, -ARRIVING_SECONDS) > time.monotonic() - ARRIVING_SECONDS

    async def check(self, user: Any) -> bool:
        """Ask, apply the answer, and say whether the person is still somebody here.

        Accounts of courses and sandboxes belong to the site: they are left alone.

        Args:
            user: JupyterHub's user.
        """
        if is_internal(user.name):
            return True
        # One question at a time for each person: refresh tokens work once, and two uses look like theft.
        async with self._locks.setdefault(user.name, asyncio.Lock()):
            return await self._check(user)

    async def _check(self, user: Any) -> bool:
        before = user.encrypted_auth_state
        state = await user.get_auth_state()
        provider = self._providers.get(state["provider"]) if state else None
        if state is None or provider is None:
            arriving = state is None and self._is_arriving(user.name)
            if not arriving and (user.groups or user.api_tokens or before is not None):
                await self._withdraw(user, "", "provider-not-known")
            elif not arriving:
                self._end_servers(user)  # the hub ended, or something else was in the way, when that was done before
            return arriving
        age = time.time() - state["confirmed"]
        if 0 <= age < FRESH_SECONDS:
            return True
        began = time.monotonic()
        asked = await self._ask(provider, state)
        if user.encrypted_auth_state != before or self._arriving.get(user.name, 0.0) > began:
            return True  # another login has come in between, and knows better
        if asked is not None and asked.groups is None:
            await self._keep(user, {**state, **_kept(asked)}, before)
        if asked is None or asked.groups is None:
            silent = age > self._grace
            if silent:
                await self._withdraw(user, provider.id, "provider-silent")
            return not silent
        if not asked.groups:
            await self._withdraw(user, provider.id, "claim-lost")
            return False
        now = {**state, **_kept(asked), "confirmed": int(time.time()), "groups": list(asked.groups)}
        if await self._keep(user, {**now, "title": asked.title}, before):
            user.user_info = {"title": asked.title}
            await self._regroup(user, provider.id, asked.groups)
        return True

    async def _ask(self, provider: Provider, state: Mapping[str, Any]) -> Asked | None:
        """What the provider says; None when it says nothing that counts."""
        if time.monotonic() < provider.silent_until:
            return None
        try:
            return await provider.ask_again(state)
        except LoginRefused as refusal:
            if not isinstance(refusal, Denied):
                log.warning("%s could not be asked again: %s", provider.id, refusal.reason.value)
            if refusal.reason in (Reason.UNREACHABLE, Reason.DISCOVERY):
                provider.silent_until = time.monotonic() + SILENCE_SECONDS
            return None

    async def _keep(self, user: Any, state: Mapping[str, Any], before: bytes | None) -> bool:
        """Store what to ask with next time, unless something newer is stored already."""
        sealed = await crypto.encrypt(dict(state))
        if user.encrypted_auth_state != before:
            return False
        user.encrypted_auth_state = sealed
        user.db.commit()
        return True

    async def _regroup(self, user: Any, provider: str, groups: Sequence[str]) -> None:
        had = {group.name for group in user.groups}
        lost = sorted(had - set(groups))
        if had == set(groups):
            return
        user.sync_groups(list(groups))
        if lost:
            _drop_tokens(user, but_servers=True)
        user.db.commit()
        await self._write(user.name, "login.groups", {"provider": provider, "lost": " ".join(lost)[:1000]})

    async def _withdraw(self, user: Any, provider: str, reason: str) -> None:
        """End all that a person may do: groups, tokens and sessions at once, then the servers."""
        user.sync_groups([])
        _drop_tokens(user, but_servers=False)
        user.cookie_id = new_token()
        user.encrypted_auth_state = None
        user.db.commit()
        self._end_servers(user)
        await self._write(user.name, "login.withdrawn", {"provider": provider, "reason": reason})

    def _end_servers(self, user: Any) -> None:
        """Begin to stop a person's servers, those in sandboxes too."""
        for owner in [user, *self._boxes_of(user.name)]:
            for name, spawner in list(owner.spawners.items()):
                if spawner.active or spawner.pending:
                    task = asyncio.create_task(self._stop(owner, name))
                    self._stopping.add(task)
                    task.add_done_callback(self._stopping.discard)

    def _boxes_of(self, person: str) -> list[Any]:
        """A person's accounts in sandboxes."""
        if self.hub is None:
            return []
        rows = self.hub.db.query(orm.User).filter(orm.User.name.startswith(BOX_PREFIX, autoescape=True))
        return [self.hub.users[row] for row in rows if row.name.split("-", 2)[2:] == [person]]

    async def _stop(self, user: Any, server: str) -> None:
        try:
            await asyncio.wait_for(stop_without_request(self.hub, user, server), timeout=STOP_SECONDS)
        except (TimeoutError, HTTPError) as error:
            log.error("The server of %s could not be stopped: %r; the next check tries again", user.name, error)

    async def _write(self, subject: str, action: str, details: dict[str, str]) -> None:
        """Record; a record that cannot be made keeps no access alive, and is made later."""
        waiting = [*self._unrecorded, ("login-check", action, subject, details)]
        self._unrecorded = []
        while waiting:
            try:
                await self._record(*waiting[0])
            except LeerlabError as error:
                log.error("%s of %s is not recorded yet: %s", action, subject, error)
                self._unrecorded = [*waiting, *self._unrecorded][-MOST_UNRECORDED:]
                return
            del waiting[0]

    async def settle(self) -> None:
        """Wait until the servers that were being stopped have stopped, and write what could not be recorded."""
        if self._stopping:
            await asyncio.wait(list(self._stopping), timeout=STOP_SECONDS)
        waiting, self._unrecorded = self._unrecorded, []
        for line in waiting:
            await self._write(line[2], line[1], line[3])

    async def close(self) -> None:
        """Cancel what is still being done."""
        for task in list(self._stopping):
            task.cancel()
        await asyncio.gather(*self._stopping, return_exceptions=True)


def _kept(asked: Asked) -> dict[str, Any]:
    return {"access_token": asked.tokens.access, "refresh_token": asked.tokens.refresh}


def _drop_tokens(user: Any, *, but_servers: bool) -> None:
    """Delete a person's tokens, and codes that could still become one.

    Args:
        user: JupyterHub's user.
        but_servers: leave those of the person's own running servers; what they may do follows the groups anyway.
    """
    for token in list(user.orm_user.api_tokens):
        own = token.session_id is None and str(token.note or "").startswith(_SERVER_TOKEN)
        if not (but_servers and own):
            user.db.delete(token)
    for code in user.db.query(orm.OAuthCode).filter(orm.OAuthCode.user_id == user.id):
        user.db.delete(code)
