"""What a person may ask, from what their running servers are for: the strictest counts. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from assistant.settings import AssistantSettings, Policy
from base.course_groups import STAFF, STUDENTS


class Place(StrEnum):
    """What kind of thing a server is for."""

    COURSE = "course"
    SANDBOX = "sandbox"


@dataclass(frozen=True, order=True)
class Purpose:
    """One thing that a server is for.

    Args:
        place: its kind.
        id: the course's or the sandbox's id.
    """

    place: Place
    id: str

    def __str__(self) -> str:
        return f"{self.place}:{self.id}"


@dataclass(frozen=True)
class Allowed:
    """What a person may ask now.

    Args:
        models: ids, in the order of site.yaml; none means off.
        tokens_per_hour: the fewest of all policies; 0 when off.
        because: what switches the assistant off; empty when it is on, or when no server is for anything.
    """

    models: tuple[str, ...] = ()
    tokens_per_hour: int = 0
    because: tuple[Purpose, ...] = ()

    @property
    def on(self) -> bool:
        """Whether anything may be asked."""
        return bool(self.models)


def of_groups(groups: Iterable[str], settings: AssistantSettings) -> tuple[Purpose, ...]:
    """What a person's own server is for: every course that they take, also one that site.yaml does not know.

    Who takes none and teaches gets those of their courses in which the assistant is on, to prepare lessons.

    Args:
        groups: of the hub.
        settings: the section of site.yaml.
    """
    named = sorted(set(groups))
    takes = [group.removeprefix(STUDENTS) for group in named if group.startswith(STUDENTS)]
    if not takes:
        teaches = sorted({group.partition("-")[2] for group in named if group.startswith(tuple(STAFF))})
        takes = [course for course in teaches if course in settings.courses] or teaches
    return tuple(Purpose(Place.COURSE, course) for course in takes)


def of_sandbox(sandbox: str) -> tuple[Purpose, ...]:
    """What a member's server in a sandbox is for."""
    return (Purpose(Place.SANDBOX, sandbox),)


def allowed(purposes: Collection[Purpose], settings: AssistantSettings) -> Allowed:
    """What somebody may ask whose running servers are for all this.

    Args:
        purposes: of all running servers of the person together.
        settings: the section of site.yaml.
    """
    everything = sorted(set(purposes))
    policies = [_policy(purpose, settings) for purpose in everything]
    off = tuple(purpose for purpose, policy in zip(everything, policies, strict=True) if policy is None)
    on = [policy for policy in policies if policy is not None]
    if off or not on:
        return Allowed(because=off)
    models = tuple(model.id for model in settings.models if all(model.id in policy.models for policy in on))
    if not models:
        return Allowed(because=tuple(everything))
    return Allowed(models, min(policy.tokens_per_hour for policy in on))


def charged(purposes: Sequence[Purpose], settings: AssistantSettings) -> Purpose:
    """The one of a server's purposes that its questions are charged to: the one with the fewest tokens.

    Args:
        purposes: of the asking server, not empty, all on.
        settings: the section of site.yaml.
    """

    def fewest(purpose: Purpose) -> tuple[int, Purpose]:
        policy = _policy(purpose, settings)
        return (policy.tokens_per_hour if policy else 0, purpose)

    return min(purposes, key=fewest)


def _policy(purpose: Purpose, settings: AssistantSettings) -> Policy | None:
    return settings.sandboxes if purpose.place is Place.SANDBOX else settings.courses.get(purpose.id)
