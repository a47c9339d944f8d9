"""What a person may ask for when starting a server: the id of one profile among their own, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from base.messages import Message
from spawners.failures import StartRefused
from spawners.settings import Profile

_SHOWN = 40


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
    if unknown := sorted(str(key)[:_SHOWN] for key in options if key != "profile"):
        raise StartRefused(
            Message("start.refused.option", {"option": unknown[0]}),
            f"Unknown option {unknown[0]!r}: only 'profile' can be chosen.",
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


def form_options(form: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """The start page's form as options: a single `profile`, other fields kept so that they are refused by name."""
    return {key: values[0] if len(values) == 1 else list(values) for key, values in form.items() if key != "_xsrf"}
