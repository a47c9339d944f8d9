"""The names of accounts that the site itself owns: of courses, and of people in sandboxes (decisions 1 and 2)."""

from __future__ import annotations

import re

COURSE_PREFIX, BOX_PREFIX = "course-", "box-"
_BOX = re.compile(rf"{BOX_PREFIX}([a-z2-7]{{8}})-(.+)")


def box_account(sandbox: str, person: str) -> str:
    """The hub account of a person in a sandbox.

    Args:
        sandbox: the sandbox's id.
        person: pseudonym.
    """
    return f"{BOX_PREFIX}{sandbox}-{person}"


def box_of(account: str) -> tuple[str, str] | None:
    """The sandbox and the person behind such an account; None for any other account."""
    found = _BOX.fullmatch(account)
    return (found[1], found[2]) if found else None
