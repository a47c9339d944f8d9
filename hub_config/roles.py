"""Who may do what, as JupyterHub roles (https://jupyterhub.readthedocs.io/en/stable/rbac/)."""

from __future__ import annotations

from typing import Any

from hub_config.site import Site

COURSE_ACCOUNT = "course-"


def course_roles(site: Site) -> list[dict[str, Any]]:
    """Teachers of a course may start, stop and reach its formgrader server, and no other."""
    roles: list[dict[str, Any]] = []
    for course in site.courses:
        account = COURSE_ACCOUNT + course.id
        roles.append(
            {
                "name": f"formgrade-{course.id}",
                "description": f"Teachers of {course.id}: its formgrader",
                "scopes": [
                    f"servers!user={account}",
                    f"access:servers!user={account}",
                    f"read:users:name!user={account}",
                ],
                "groups": [f"formgrade-{course.id}"],
            }
        )
    return roles


def service_roles() -> list[dict[str, Any]]:
    """The grading service reads names and groups; nothing else of JupyterHub is open to it."""
    return [
        {
            "name": "grading-service",
            "description": "Who a token belongs to, and that person's groups",
            "scopes": ["read:users:name", "read:users:groups"],
            "services": ["grading"],
        }
    ]
