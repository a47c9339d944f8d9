"""A course's server and labs, as JupyterHub would start them behind the wall."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import httpx
from grading_site import PROFILE, Site, wait_until

from confinement.run import Walled, start
from confinement.settings import ConfinementSettings
from confinement.wall import Wall
from grading.plans import CoursePages, formgrader_plan

# The same server without the one place that decides who may do what, and nothing else missing.
UNGUARDED = """
from leerlab_lab.formgrader import CourseSingleUser
from leerlab_lab.formgrader.access import Guard
Guard.stand_before = lambda self, application: None
CourseSingleUser.launch_instance()
"""


def hub_variables(name: str, token: str) -> Mapping[str, str]:
    """What JupyterHub 6.1 gives to a server (jupyterhub/spawner.py, `get_env`)."""
    prefix = f"/user/{name}/"
    access = json.dumps([f"access:servers!server={name}/", f"access:servers!user={name}"])
    return {
        "JUPYTERHUB_API_TOKEN": token,
        "JPY_API_TOKEN": token,
        "JUPYTERHUB_API_URL": "http://127.0.0.1:8081/hub/api",
        "JUPYTERHUB_ACTIVITY_URL": f"http://127.0.0.1:8081/hub/api/users/{name}/activity",
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_CLIENT_ID": f"jupyterhub-user-{name}",
        "JUPYTERHUB_HOST": "",
        "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{prefix}oauth_callback",
        "JUPYTERHUB_OAUTH_SCOPES": access,
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": access,
        "JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES": "[]",
        "JUPYTERHUB_SERVER_NAME": "",
        "JUPYTERHUB_SERVICE_PREFIX": prefix,
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:8888{prefix}",
        "JUPYTERHUB_USER": name,
    }


@contextmanager
def served(
    site: Site, wall: Wall, name: str, visitor: str, running: list[Walled] | None = None
) -> Iterator[httpx.Client]:
    """The server behind the wall, as a visitor who is allowed in sees it.

    Args:
        running: gets the wall's process, for who wants to end it.
    """
    hub_api = site.state.run / "hub-api.sock"
    if not hub_api.exists():
        hub_api.symlink_to(site.state.run / "hub.sock")
    wall = replace(wall, environment={**wall.environment, **hub_variables(name, site.hub.token(name))})
    token = site.hub.token(visitor, [f"access:servers!server={name}/"])
    with start(wall) as walled:
        if running is not None:
            running.append(walled)
        assert walled.published
        host, port = walled.published
        address = f"http://{host}:{port}/user/{name}/"
        with httpx.Client(base_url=address, headers={"Authorization": f"token {token}"}, timeout=60) as client:

            def up() -> bool:
                try:
                    return client.get("api").status_code == 200
                except httpx.TransportError:
                    return False

            try:
                wait_until(up, 80)
            except AssertionError:
                raise AssertionError(walled.output.decode(errors="replace")) from None
            yield client


@contextmanager
def formgrader(
    site: Site,
    course: str = "alpha",
    program: str = "",
    *,
    running: list[Walled] | None = None,
    settings: str = "",
    change: Callable[[Wall], Wall] = lambda wall: wall,
) -> Iterator[httpx.Client]:
    """The course's own server, as one of its teachers sees it.

    Args:
        program: runs in place of the server's own start, such as `UNGUARDED`.
        running: gets the wall's process, for who wants to end it.
        settings: more lines of the course's nbgrader_config.py.
        change: what is changed in its wall.
    """
    home = site.state.courses / course
    (home / "nbgrader_config.py").write_text(f"c = get_config()\nc.CourseDirectory.course_id = {course!r}\n{settings}")
    pages = CoursePages(
        course={"nl": "Rekenen", "en": "Sums"},
        site={"nl": "Proef", "en": "Trial"},
        portal="http://portal.leerlab.localhost:1",
        assignments={"week-1": {"nl": "Kwadraten maken", "en": "Making squares"}},
    )
    plan = formgrader_plan(course, PROFILE, site.state, site.installation, ConfinementSettings(), pages=pages)
    wall = change(plan.wall)
    if program:
        wall = replace(wall, command=("/opt/notebook/bin/python", "-c", program))
    with served(site, wall, f"course-{course}", "docent", running) as client:
        yield client
