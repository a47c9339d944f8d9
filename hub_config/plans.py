"""What each person's server is: which command behind which wall, with which relays, for which role."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from base.errors import LeerlabError
from base.paths import Installation, State
from confinement.wall import Bind, Limits, Relay, Wall
from grading.plans import formgrader_wall, lab_environment
from hub_config.roles import COURSE_ACCOUNT
from hub_config.site import Site
from spawners.options import choose_profile
from spawners.plan import ServerPlan
from spawners.settings import Profile

SERVER_PORT = 8888
HUB_PORT = 8081
GRADING_PORT = 8082


def base_wall(site: Site, state: State, installation: Installation) -> dict[str, Any]:
    """What every wall of this site shares, as arguments of `Wall`."""
    settings = site.confinement
    return {
        "seccomp": state.generated / "seccomp.bpf",
        "binds": (
            Bind(installation.notebook_env, Path("/opt/notebook")),
            Bind(installation.code / "images/notebook", Path("/opt/leerlab")),
        ),
        "relays": (
            Relay(HUB_PORT, f"unix:{state.run / 'hub-api.sock'}"),
            Relay(GRADING_PORT, f"unix:{state.run / 'grading.sock'}"),
        ),
        "publish": SERVER_PORT,
        "tmp": int(settings.tmp),
        "shm": int(settings.shm),
        "limits": Limits(settings.processes, settings.open_files, int(settings.file_size)),
    }


@dataclass(frozen=True)
class Plans:
    """Makes the plan of each start.

    Args:
        site: the checked settings.
        state: the site's state folder.
        installation: the environments to use.
    """

    site: Site
    state: State
    installation: Installation

    def plan_for(self, name: str, groups: Collection[str], options: Mapping[str, object]) -> ServerPlan:
        """The plan of one start.

        Args:
            name: the user's name; a course account gets its course's formgrader.
            groups: the user's groups.
            options: what the person chose; not to be trusted.

        Raises:
            spawners.failures.StartRefused: the options are not allowed.
        """
        course = next((course for course in self.site.courses if COURSE_ACCOUNT + course.id == name), None)
        if course is not None:
            wall = formgrader_wall(course, self.site.grading, self.state, base_wall(self.site, self.state, self.installation))
            return ServerPlan(self.profile(self.site.grading.profile), wall, HUB_PORT)
        home = self.state.homes / name
        home.mkdir(mode=0o700, exist_ok=True)
        wall = Wall(
            command=("/opt/notebook/bin/python", "-m", "jupyterhub.singleuser"),
            home=home,
            environment=lab_environment(
                {course.id: role for course in self.site.courses if (role := role_in(course.id, groups))}
            ),
            **base_wall(self.site, self.state, self.installation),
        )
        return ServerPlan(choose_profile(self.site.profiles, groups, options), wall, HUB_PORT)

    def profile(self, wanted: str) -> Profile:
        """The profile of that id.

        Raises:
            LeerlabError: there is none; `leerlab check` finds that first.
        """
        for profile in self.site.profiles:
            if profile.id == wanted:
                return profile
        raise LeerlabError(f"The profile {wanted} does not exist.", do="Run leerlab check.")


def role_in(course: str, groups: Collection[str]) -> str | None:
    """`teacher`, `student` or None: what a member of these groups is in a course."""
    if f"formgrade-{course}" in groups:
        return "teacher"
    return "student" if f"nbgrader-{course}" in groups else None
