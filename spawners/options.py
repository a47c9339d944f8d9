"""What a person may ask for when starting a server: one profile among their own, and for which course it is."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from base.course_groups import PREFIXES
from base.messages import Message
from spawners.failures import StartRefused
from spawners.settings import Profile

SERVER_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,18}[a-z0-9])?")
"""What a person may call a server; the first has no name."""
_SHOWN = 40
_KNOWN = ("profile", "course")


def profiles_of(profiles: Sequence[Profile], groups: Collection[str]) -> list[Profile]:
    """The profiles that a member of these groups may choose, in the site's order."""
    return [profile for profile in profiles if not profile.groups or set(profile.groups) & set(groups)]


def requested_profile(options: Mapping[str, object]) -> str | None:
    """The profile that a request names; None when it names none.

    Args:
        options: JupyterHub's `user_options`, from the start page or the API: not to be trusted.

    Raises:
        StartRefused: anything else is in it, or the id is not text.
    """
    if unknown := sorted(str(key)[:_SHOWN] for key in options if key not in _KNOWN):
        raise StartRefused(
            Message("start.refused.option", {"option": unknown[0]}),
            f"Unknown option {unknown[0]!r}: only 'profile' and 'course' can be chosen.",
        )
    wanted = options.get("profile")
    if wanted is not None and not isinstance(wanted, str):
        raise StartRefused(Message("start.refused.profile", {"profile": "?"}), "The option 'profile' is not text.")
    return wanted


def choose_profile(profiles: Sequence[Profile], groups: Collection[str], options: Mapping[str, object]) -> Profile:
    """The profile to start: the requested one, or the person's first.

    Args:
        profiles: all profiles of the site.
        groups: the person's groups.
        options: JupyterHub's `user_options`.

    Raises:
        StartRefused: the options are not allowed, or the profile is not one of this person's.
    """
    wanted = requested_profile(options)
    own = profiles_of(profiles, groups)
    if not own:
        raise StartRefused(Message("start.refused.none"), "No profile is open to this person's groups.")
    for profile in own:
        if wanted is None or profile.id == wanted:
            return profile
    # The same answer for a profile that does not exist and one of another group: neither is this person's business.
    raise StartRefused(
        Message("start.refused.profile", {"profile": str(wanted)[:_SHOWN]}),
        f"Profile {str(wanted)[:_SHOWN]!r} is not one of this person's profiles.",
    )


def course_of(groups: Collection[str], options: Mapping[str, object]) -> str | None:
    """The course that a server is started for: the one that the request names, else the only one there is.

    Args:
        groups: the person's groups.
        options: JupyterHub's `user_options`, which it also keeps for the next start. A course that is not, or no
            longer, one of this person's counts as none, so that nobody's work is charged to others.

    Returns:
        The course's id; None for what is for no course, or for several.
    """
    own = {group.partition("-")[2] for group in groups if group.startswith(PREFIXES)}
    wanted = options.get("course")
    if isinstance(wanted, str) and wanted in own:
        return wanted
    return next(iter(own)) if len(own) == 1 else None


def form_options(form: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """The start page's form as options, each a single one; other fields are kept so that they are refused by name."""
    return {key: values[0] if len(values) == 1 else list(values) for key, values in form.items() if key != "_xsrf"}
