"""The start page: a person's courses with what comes next, and what runs for them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from portal import request as page_request
from portal.boxes import Boxes
from portal.cards import CourseCard, Role, ServerState
from portal.errors import HubSilent
from portal.hub import Hub
from portal.pages import Context, LivePage
from portal.people import Visitor
from portal.servers import Running, own_accounts, running, state_of
from portal.site import COURSE_ACCOUNT, SiteView
from portal.snapshot import Snapshot
from portal.use import Used
from portal.work import Exchange, Work


class Home:
    """Fills the start page.

    Args:
        site: the site.
        hub: the hub.
        exchange: how far people are.
        boxes: the sandboxes; None when the site has none.
        used: what was used.
    """

    def __init__(self, site: SiteView, hub: Hub, exchange: Exchange, boxes: Boxes | None, used: Used) -> None:
        self._site = site
        self._hub = hub
        self._exchange = exchange
        self._boxes = boxes
        self._used = used

    @property
    def page(self) -> LivePage:
        """The page."""
        return LivePage("home.html", ("seen", "servers", "another", "courses", "boxes", "use"), self.fill)

    async def fill(self, visitor: Visitor, _parameters: Mapping[str, str], snapshot: Snapshot) -> Context:
        """What the page shows."""
        language = page_request.current().language
        courses = await asyncio.to_thread(self._cards, visitor, snapshot, language)
        titles = {name: course.title(language) for name, course in self._site.courses.items()}
        boxes = await self._boxes.of(visitor.name) if self._boxes else []
        titles |= {box.sandbox.id: box.sandbox.title for box in boxes}
        accounts = own_accounts(visitor, self._site.courses, [box.sandbox.id for box in boxes if box.active])
        servers = running(snapshot, accounts, self._site)
        return {
            "courses": courses,
            # Who only operates the site, or only is of a company, is not told to look for a course.
            "shows_courses": bool(courses) or not (visitor.operator or visitor.company or boxes),
            "servers": servers,
            "named": await self._named(visitor, servers),
            "most_named": self._site.named_servers(visitor.groups),
            "boxes": boxes,
            "box_urls": {box.sandbox.id: self._site.start_url(box.account, "lab") for box in boxes},
            "shows_boxes": self._boxes is not None and (visitor.company or bool(boxes)),
            "titles": titles,
            "use": await self._used.of_person(visitor.name),
            "watts": self._site.configuration.watts_per_core,
        }

    async def _named(self, visitor: Visitor, servers: list[Running]) -> dict[str, str] | None:
        """Where each of a person's servers that has a name and is stopped starts; None while the hub does not say."""
        if not self._site.named_servers(visitor.groups):
            return {}
        try:
            names = await self._hub.named_servers(visitor.name)
        except HubSilent:
            return None
        active = {server.name for server in servers if server.owner == visitor.name}
        return {name: self._site.start_url(visitor.name, "lab", server=name) for name in names if name not in active}

    def _cards(self, visitor: Visitor, snapshot: Snapshot, language: str) -> list[CourseCard]:
        cards = []
        for course_id in self._site.courses:
            if visitor.role_in(course_id) is not None:
                cards.append(self.card(visitor, course_id, Role.TEACHER, snapshot, language))
            if visitor.studies(course_id):
                cards.append(self.card(visitor, course_id, Role.STUDENT, snapshot, language))
        return cards

    def card(self, visitor: Visitor, course_id: str, role: Role, snapshot: Snapshot, language: str) -> CourseCard:
        """One course of one person; reads the exchange, so not on the event loop."""
        course, teacher = self._site.courses[course_id], role is Role.TEACHER
        work = tuple(self._exchange.work(course, visitor.name, language, teacher=teacher))
        following = next_of(work)
        account = COURSE_ACCOUNT + course_id if teacher else visitor.name
        user = snapshot.users.get(account)
        return CourseCard(
            id=course_id,
            title=course.title(language),
            role=role,
            summary=course.summary(language),
            assignments=work,
            next=following,
            next_url=self._site.assignment_url(course_id, following.id, visitor.name) if following else "",
            feedback_url=self._site.feedback_url(course_id, following.id, visitor.name) if following else "",
            open_url=self._site.open_url(course_id, visitor.name),
            formgrader_url=self._site.formgrader_url(course_id, language) if teacher else "",
            staff=visitor.role_in(course_id) if teacher else None,
            server_state=state_of(user.server) if user and user.server else ServerState.STOPPED,
        )


def next_of(work: tuple[Work, ...]) -> Work | None:
    """What to do next: of what is open, the one with the nearest deadline, else the first; else the last one done."""
    still = [one for one in work if one.open]
    if not still:
        return work[-1] if work else None
    due = [(one.deadline, order, one) for order, one in enumerate(still) if one.deadline is not None]
    return min(due)[2] if due else still[0]
