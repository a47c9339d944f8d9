"""Which assignment is graded when: what site.yaml says of a course, else what the course says of itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from base.in_force import InForce
from grading.when import BY_HAND, GradeRule

log = logging.getLogger("grading")


class GradeRules:
    """The rules of a site, those of courses that are published while it runs too.

    Args:
        of_site: for whole courses, by course: `courses[].grade` of site.yaml, which comes before all else.
        of_courses: by course and assignment: what the course.yaml of site.yaml's own courses says.
        in_force: the published courses, whose version in force stands in the place of site.yaml's.
    """

    def __init__(
        self, of_site: Mapping[str, GradeRule], of_courses: Mapping[str, Mapping[str, GradeRule]], in_force: InForce
    ) -> None:
        self._of_site, self._of_courses, self._in_force = of_site, of_courses, in_force

    def courses(self) -> list[str]:
        """The courses that the site gives at this moment.

        Raises:
            LeerlabError: what was published cannot be read, and never could.
        """
        return sorted({*self._of_courses, *self._in_force.now()})

    def of(self, course: str, assignment: str) -> GradeRule:
        """When an assignment is graded; by hand where nobody says otherwise.

        Raises:
            LeerlabError: what was published cannot be read, and never could.
        """
        if course in self._of_site:
            return self._of_site[course]
        published = self._in_force.now().get(course)
        if published is None:
            return self._of_courses.get(course, {}).get(assignment, BY_HAND)
        try:
            return GradeRule.parse(published.grade.get(assignment, str(BY_HAND)))
        except ValueError as error:
            log.error("%s of %s is graded by hand: %s", assignment, course, error)
            return BY_HAND
