"""Who may do what, as JupyterHub roles (https://jupyterhub.readthedocs.io/en/stable/rbac/)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from base.course_groups import staff_groups
from hub_config.idle_token import SCOPES as IDLE_SCOPES
from hub_config.idle_token import SERVICE as IDLE_SERVICE

COURSE_ACCOUNT = "course-"
METRICS = "metrics"
"""The service whose token an operator's Prometheus shows: `secrets/metrics-token` of the state folder."""


def course_role(course: str) -> dict[str, Any]:
    """Teachers of a course may start, stop and reach its formgrader server, and no other.

    What they may do there, as owner, grader or reader, that server decides by their groups
    (`leerlab_lab.formgrader.access`).
    """
    account = COURSE_ACCOUNT + course
    return {
        "name": f"formgrade-{course}",
        "description": f"Teachers of {course}: its formgrader",
        "scopes": [
            f"servers!user={account}",
            f"access:servers!user={account}",
            f"read:users:name!user={account}",
        ],
        "groups": list(staff_groups(course)),
    }


def course_roles(courses: Iterable[str]) -> list[dict[str, Any]]:
    """The role of each course's teachers."""
    return [course_role(course) for course in courses]


def person_roles() -> list[dict[str, Any]]:
    """What everybody who logs in may do, and what operators may do beside that."""
    return [
        {
            # JupyterHub's own role with its own scope, and the portal; courses' and sandboxes' accounts have no login.
            "name": "user",
            "description": "Everything about oneself, and the portal",
            "scopes": ["self", "access:services!service=portal"],
        },
        {
            "name": "operators",
            "description": "Operators: stop anybody's server, read the numbers; starting or reaching one is not in it",
            "scopes": ["delete:servers", "read:metrics"],
            "groups": ["operators"],
        },
    ]


def service_roles(*, assistant: bool = False, idle: bool = False) -> list[dict[str, Any]]:
    """Grading reads names and groups; the portal reads users, groups and servers; metrics reads the site's numbers.

    Only the culler changes anything.

    Args:
        assistant: whether the site has one; its gateway reads names, groups and which servers run.
        idle: whether servers that nobody uses are stopped.
    """
    gateway = {
        "name": "assistant-service",
        "description": "Who a token belongs to, that person's groups, and which of their servers run",
        "scopes": ["read:users:name", "read:users:groups", "read:servers"],
        "services": ["assistant"],
    }
    culler = {
        "name": IDLE_SERVICE,
        "description": "Who last used which server; stops servers and changes nothing else",
        "scopes": list(IDLE_SCOPES),
        "services": [IDLE_SERVICE],
    }
    return [
        *([gateway] if assistant else []),
        *([culler] if idle else []),
        {
            "name": "portal-service",
            "description": "Who is here and what runs; a server's state names its job in Slurm and holds no secret",
            "scopes": ["list:users", "read:users", "read:servers", "admin:server_state"],
            "services": ["portal"],
        },
        {
            "name": "grading-service",
            "description": "Who a token belongs to, that person's groups, and who takes a course",
            "scopes": ["read:users:name", "read:users:groups", "read:groups"],
            "services": ["grading"],
        },
        {
            "name": "metrics-service",
            "description": "The numbers of /hub/metrics, and nothing else",
            "scopes": ["read:metrics"],
            "services": [METRICS],
        },
    ]
