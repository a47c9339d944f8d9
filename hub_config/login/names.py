"""Which names are nobody's: accounts that the site itself owns, and names that its own pages are served under."""

from __future__ import annotations

COURSE_PREFIX = "course-"
BOX_PREFIX = "box-"
INTERNAL_PREFIXES = (COURSE_PREFIX, BOX_PREFIX)
"""Accounts of courses and of members of sandboxes (decisions 1 and 2): nobody logs in as one."""

RESERVED = frozenset({"portal"})
"""First labels of origins that are not a person's."""

# `Ledger.pseudonym`: `p-` and 80 bits in base32. A member's account in a sandbox: `box-`, its id, the person.
PSEUDONYM = r"p-[a-z2-7]{16}"
BOX_ACCOUNT = r"box-[a-z2-7]{8}-[a-z][a-z0-9-]{1,30}"
# A course may be published while the site runs, so its account is known by its form alone.
COURSE_ACCOUNT = r"course-[a-z][a-z0-9-]{1,30}"


def is_internal(name: str) -> bool:
    """Whether an account of JupyterHub is the site's own: nobody can log in as it, and no login takes it away."""
    return name.startswith(INTERNAL_PREFIXES)


def belongs_to_nobody(name: str) -> bool:
    """Whether a person may not have this name."""
    return name in RESERVED or is_internal(name)
