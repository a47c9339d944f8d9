"""The page of one course: what it is about, its assignments, and for teachers what was handed in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from courses.catalogue import in_language
from ledger.use import Place
from portal import request as page_request
from portal.cards import Role
from portal.errors import absent
from portal.home import Home
from portal.hub import ClassStarted
from portal.pages import Context, LivePage
from portal.people import Visitor
from portal.servers import own_accounts, running
from portal.site import SiteView
from portal.snapshot import Snapshot
from portal.use import Used


class CoursePage:
    """Fills the page of a course.

    Args:
        site: the site.
        home: makes the cards.
        used: what was used; shown to teachers, of the whole course together.
    """

    def __init__(self, site: SiteView, home: Home, used: Used) -> None:
        self._site = site
        self._home = home
        self._used = used

    @property
    def page(self) -> LivePage:
        """The page."""
        return LivePage("course.html", ("seen", "servers", "assignments", "use"), self.fill)

    async def fill(self, visitor: Visitor, parameters: Mapping[str, str], snapshot: Snapshot) -> Context:
        """What the page shows. Who may see the course has been decided before."""
        language, course_id = page_request.current().language, parameters["course"]
        course = self._site.courses.get(course_id)
        if course is None:
            raise absent()  # Withdrawn since it was decided.
        role = Role.TEACHER if visitor.role_in(course_id) is not None else Role.STUDENT
        card = await asyncio.to_thread(self._home.card, visitor, course_id, role, snapshot, language)
        about = course.description
        return {
            "course": card,
            "owner": visitor.teaches(course_id),
            "about": about,
            "assistant": self._site.assistant_in(course_id),
            "outcomes": [in_language(outcome.text, language) for outcome in about.outcomes],
            "prior_knowledge": in_language(about.prior_knowledge, language) if about.prior_knowledge else "",
            "urls": {work.id: self._site.assignment_url(course_id, work.id, visitor.name) for work in card.assignments},
            "feedback_urls": {
                work.id: self._site.feedback_url(course_id, work.id, visitor.name) for work in card.assignments
            },
            "servers": running(snapshot, own_accounts(visitor, [course_id]), self._site),
            "titles": {course_id: card.title},
            "use": await self._used.of_place(Place.COURSE, course_id) if role is Role.TEACHER else None,
            "started": told(page_request.current()) if role is Role.TEACHER else None,
            "unused": self._site.configuration.lessons.unused.total_seconds(),
            "watts": self._site.configuration.watts_per_core,
        }


def told(asked: page_request.PageRequest) -> ClassStarted | None:
    """What has just become of the class, of the address that the form's answer led to; numbers alone are taken."""
    numbers = [asked.argument(name) for name in ("starting", "running", "without")]
    if not all(one.isascii() and one.isdigit() and len(one) < 6 for one in numbers):
        return None
    return ClassStarted(*map(int, numbers))
