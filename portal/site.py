"""The site as the pages know it: its courses with their texts, how long a profile runs, and addresses at the hub."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from datetime import timedelta
from urllib.parse import quote, urlencode

from base.errors import LeerlabError
from base.in_force import InForce
from cluster.limits import limits_of
from courses.catalogue import Course
from portal.configuration import AssistantShown, PortalConfiguration

COURSE_ACCOUNT = "course-"
BOX_ACCOUNT = "box-"

log = logging.getLogger("portal")


class SiteView:
    """The site: what its settings say, and the courses that it gives at this moment.

    Args:
        configuration: of the portal.

    Raises:
        InputError: a course of the catalogue is wrong.
    """

    def __init__(self, configuration: PortalConfiguration) -> None:
        self.configuration = configuration
        self._of_site = {course.id: Course.load(course.folder) for course in configuration.courses}
        self._profiles = {course.id: course.profile for course in configuration.courses}
        self._in_force = InForce(configuration.folders.published)
        self._published: dict[tuple[str, int], Course] = {}

    @property
    def courses(self) -> Mapping[str, Course]:
        """All courses by id; what was published stands in the place of what site.yaml names."""
        now = self._in_force.now()
        wanted = {(name, one.version) for name, one in now.items()}
        self._published = {key: course for key, course in self._published.items() if key in wanted}
        for name, version in wanted - self._published.keys():
            try:
                self._published[name, version] = Course.load(self._in_force.folder(name, version))
            except LeerlabError as error:
                log.error("Version %d of the course %s cannot be shown: %s", version, name, error)
        return {**self._of_site, **{name: course for (name, _), course in self._published.items()}}

    def title(self, language: str) -> str:
        """What stands at the top of each page."""
        title = self.configuration.site.title
        return title.nl if language == "nl" else title.en

    def assistant_in(self, course: str) -> AssistantShown | None:
        """The assistant's policy in a course; None when the site has no assistant."""
        known = next((one.assistant for one in self.configuration.courses if one.id == course), None)
        # A course that site.yaml does not name has no policy, so it is off there.
        has_one = any(one.assistant is not None for one in self.configuration.courses)
        return known or (AssistantShown() if has_one else None)

    def longest(self, profile: str) -> timedelta | None:
        """How long a server of this profile may run; None for a profile that the site no longer has."""
        return next((one.time for one in self.configuration.profiles if one.id == profile), None)

    def start_url(self, owner: str, path: str = "", profile: str = "", course: str = "", *, server: str = "") -> str:
        """The hub's address that starts a user's server when needed and then opens a page in it.

        Args:
            owner: whose server.
            path: below the server's own address; empty for its first page.
            profile: profile to start it with; empty for the owner's first.
            course: the course that it is started for; empty for none.
            server: name of the server; empty for the first.
        """
        chosen = {"profile": profile, "course": course}
        place = f"{quote(owner)}/{quote(server)}" if server else quote(owner)
        query = {"next": f"/user/{place}/{path}", **{name: value for name, value in chosen.items() if value}}
        return f"{self.configuration.hub_origin}/hub/spawn/{place}?{urlencode(query)}"

    def open_url(self, course: str, person: str, path: str = "lab") -> str:
        """Opens a page in a person's own server, started with the course's profile."""
        published = self._in_force.now().get(course)
        profile = published.profile if published else self._profiles.get(course, "")
        return self.start_url(person, path, profile, course)

    def assignment_url(self, course: str, assignment: str, person: str) -> str:
        """Opens an assignment's notebook in a person's own server."""
        return self.open_url(course, person, f"leerlab/open/{course}/{assignment}")

    def feedback_url(self, course: str, assignment: str, person: str) -> str:
        """Opens the newest feedback on an assignment in a person's own server."""
        return self.open_url(course, person, f"leerlab/feedback/{course}/{assignment}")

    def formgrader_url(self, course: str, language: str) -> str:
        """Opens a course's grading pages, in a language; they have an origin, and so a cookie, of their own."""
        return self.start_url(COURSE_ACCOUNT + course, f"formgrader?language={language}")

    def pending_url(self, owner: str, server: str = "") -> str:
        """The hub's page on a start that is under way."""
        place = f"{quote(owner)}/{quote(server)}" if server else quote(owner)
        return f"{self.configuration.hub_origin}/hub/spawn-pending/{place}"

    def named_servers(self, groups: Collection[str]) -> int:
        """How many servers with a name a member of these groups may have."""
        found = limits_of(self.configuration.of_groups, groups)
        return found.named_servers if found is not None else 0
