"""The operator's page: who is here, what runs, what failed, and whether each part of the site answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from base.course_groups import STAFF, STUDENTS
from ledger.sandboxes import SandboxState
from ledger.use import Total
from portal import request as page_request
from portal.boxes import BoxCard, Boxes, card
from portal.errors import HubSilent
from portal.health import Checks
from portal.hub import Hub, HubUser
from portal.pages import Context, LivePage
from portal.people import COMPANIES, OPERATORS, Visitor
from portal.servers import Running, running
from portal.site import BOX_ACCOUNT, COURSE_ACCOUNT, SiteView
from portal.snapshot import Snapshot
from portal.use import Used
from sandboxes.taking import Export, Taking
from spawners.failed import recent

MOST_PEOPLE = 200


@dataclass(frozen=True)
class PersonRow:
    """A person as an operator sees them.

    Args:
        name: the hub's name.
        title: what pages call them.
        roles: `student`, `teacher`, `company`, `operator`; empty for who has no part in anything.
        user: what the hub says of them.
    """

    name: str
    title: str
    roles: tuple[str, ...]
    user: HubUser


class OperatorPage:
    """Fills the operator's page.

    Args:
        site: the site.
        hub: the hub.
        checks: whether each part answers.
        boxes: the sandboxes; None when the site has none.
        taking: the exports of ended sandboxes; None when the site has none.
        used: what was used.
        jobs: the folder of all jobs.
    """

    def __init__(
        self, site: SiteView, hub: Hub, checks: Checks, boxes: Boxes | None = None, *, taking: Taking | None = None,
        used: Used, jobs: Path,
    ) -> None:  # fmt: skip
        self._site = site
        self._hub = hub
        self._checks = checks
        self._boxes = boxes
        self._taking = taking
        self._used = used
        self._jobs = jobs

    @property
    def page(self) -> LivePage:
        """The page."""
        regions = ("seen", "health", "allservers", "allfailures", "alluse", "allboxes", "people")
        return LivePage("operator.html", regions, self.fill)

    async def fill(self, _visitor: Visitor, _parameters: Mapping[str, str], snapshot: Snapshot) -> Context:
        """What the page shows."""
        people, more = await self._people()
        language = page_request.current().language
        boxes = await self._living() if self._boxes else []
        exports = await self._exports(boxes)
        servers, uses = self._servers(snapshot), await self._used.of_all()
        failures = await asyncio.to_thread(recent, self._jobs, datetime.now(UTC))
        return {
            "has_boxes": self._boxes is not None,
            "boxes": sorted(boxes, key=lambda one: not _waits(one, exports)),
            "exports": exports,
            "health": await self._checks.look(snapshot),
            "servers": servers,
            "failures": failures,
            "uses": uses,
            "use": sum(uses.values(), Total()),
            "watts": self._site.configuration.watts_per_core,
            "people": people,
            "more": more,
            "titles": {name: course.title(language) for name, course in self._site.courses.items()}
            | {box.sandbox.id: box.sandbox.title for box in boxes},
            "names": await self._names([*(one.owner for one in servers), *(one.owner for one in failures)], snapshot),
            "owners": await self._hub.titles(sorted({box.sandbox.owner for box in boxes})),
        }

    async def _living(self) -> list[BoxCard]:
        """All sandboxes that are not erased."""
        assert self._boxes is not None
        found = await self._boxes.call(self._boxes.life.ledger.all)
        return [card(one, one.owner) for one in found if one.state is not SandboxState.ERASED]

    async def _exports(self, boxes: list[BoxCard]) -> dict[str, Export]:
        """What is known of the exports of ended sandboxes."""
        if self._boxes is None or self._taking is None:
            return {}
        ended = [box.sandbox.id for box in boxes if box.sandbox.state is SandboxState.ENDING]
        return {one: await self._boxes.call(self._taking.export, one) for one in ended}

    async def _names(self, owners: list[str], snapshot: Snapshot) -> dict[str, str]:
        """What pages call the owner of each server; a sandbox's account is called as its member."""
        here = {user.name: user.title for user in snapshot.users.values()}
        members = {one: one.split("-", 2)[2] if one.startswith(BOX_ACCOUNT) else one for one in owners}
        wanted = {member for one, member in members.items() if one not in here or one.startswith(BOX_ACCOUNT)}
        titles = await self._hub.titles(sorted(one for one in wanted if not one.startswith(COURSE_ACCOUNT)))
        return {account: titles.get(member, member) for account, member in members.items()} | {
            name: title for name, title in here.items() if not name.startswith(BOX_ACCOUNT)
        }

    def _servers(self, snapshot: Snapshot) -> list[Running]:
        return running(snapshot, sorted(snapshot.users), self._site)

    async def _people(self) -> tuple[list[PersonRow] | None, bool]:
        """People by name, and whether there are more than are shown; None when the hub does not say."""
        try:
            users, following = await self._hub.people(0, MOST_PEOPLE)
        except HubSilent:
            return None, False
        return [
            PersonRow(user.name, user.title, roles_of(user.groups), user)
            for user in users
            if not user.name.startswith((COURSE_ACCOUNT, BOX_ACCOUNT))
        ], following is not None


def _waits(box: BoxCard, exports: Mapping[str, Export]) -> bool:
    """Whether a sandbox waits for an operator: those stand first."""
    export = exports.get(box.sandbox.id)
    return box.sandbox.state is SandboxState.WAITING or (export is not None and export.waits_for_operator)


def roles_of(groups: tuple[str, ...]) -> tuple[str, ...]:
    """What these groups make of somebody."""
    found = []
    if any(group.startswith(STUDENTS) or group.startswith("students-") for group in groups):
        found.append("student")
    if any(group.startswith(tuple(STAFF)) or group == "teachers" for group in groups):
        found.append("teacher")
    if COMPANIES in groups:
        found.append("company")
    if OPERATORS in groups:
        found.append("operator")
    return tuple(found)
