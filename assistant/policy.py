"""What a person may ask now: a pure function of what their running servers are for. The strictest policy counts.

One person's servers can pass each other files and words, so what is off for one of them is off for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from assistant.settings import AssistantSettings, PolicySettings


class Kind(StrEnum):
    """What a server is for."""

    COURSE = "course"
    SANDBOX = "sandbox"


@dataclass(frozen=True)
class Place:
    """A course or a sandbox, by its id."""

    kind: Kind
    id: str


@dataclass(frozen=True)
class Verdict:
    """What is allowed.

    Args:
        models: ids that may be asked, the usual one first; none means off.
        tokens_per_hour: most tokens in an hour; 0 where it is off.
        off: the places that switch it off; may be none where no place switches it on.
    """

    models: tuple[str, ...] = ()
    tokens_per_hour: int = 0
    off: tuple[Place, ...] = ()


def policy_of(settings: AssistantSettings, place: Place) -> PolicySettings | None:
    """The policy of one place; None where it is off."""
    return settings.courses.get(place.id) if place.kind is Kind.COURSE else settings.sandboxes


def decide(settings: AssistantSettings, places: Sequence[Place]) -> Verdict:
    """What is allowed to somebody whose running servers are for these places.

    Args:
        places: of all running servers together; nobody's server is for no place and asks.
    """
    policies = [(place, policy_of(settings, place)) for place in dict.fromkeys(places)]
    if off := tuple(place for place, policy in policies if policy is None):
        return Verdict(off=off)
    on = [policy for _, policy in policies if policy is not None]
    if not on:
        return Verdict()
    models = tuple(model for model in on[0].models if all(model in policy.models for policy in on))
    if not models:
        return Verdict(off=tuple(place for place, _ in policies))
    return Verdict(models, min(policy.tokens_per_hour for policy in on))
