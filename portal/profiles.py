"""The choice of a profile before a start: the form in JupyterHub's page, and how much is free of each now."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cache
from typing import Any

from jinja2 import Environment, FileSystemLoader

from cluster.gpus import is_slice
from portal import request as page_request
from portal.assets import TEMPLATES
from portal.language import PageLanguage
from spawners.facility import Facility
from spawners.room import room_for, waiting_for
from spawners.settings import Profile

PATIENCE_SECONDS = 2.0
"""How long the page waits for Slurm before it is shown without what is free."""


class Kind(StrEnum):
    """What a profile has of GPUs."""

    NONE = "none"
    WHOLE = "whole"
    SLICE = "slice"
    SHARED = "shared"


class Free(StrEnum):
    """Whether a profile could start now."""

    FREE = "free"
    QUEUE = "queue"
    FULL = "full"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ProfileChoice:
    """One profile that this person may choose, with its name in the person's language.

    Args:
        id: value of the form field `profile`.
        title: name of the profile.
        cpus: processor cores.
        memory: such as `4 GB`.
        seconds: longest run.
        kind: what it has of GPUs.
        share: how many GPUs, such as `1/8`; what it costs for as long as it runs.
        gpu_type: which GPUs; empty for any.
        reservation: the reserved time in which it runs; empty for none.
        most: how many of it one person has at once; 0: as many as there are.
        room: how many could start now; None when that cannot be seen.
        ahead: how many wait before who comes now.
    """

    id: str
    title: str
    cpus: int
    memory: str
    seconds: float
    kind: Kind = Kind.NONE
    share: str = ""
    gpu_type: str = ""
    reservation: str = ""
    most: int = 0
    room: int | None = None
    ahead: int = 0

    @property
    def free(self) -> Free:
        """Whether it could start now."""
        if self.room is None or self.reservation:
            return Free.UNKNOWN
        if self.ahead:
            return Free.QUEUE
        return Free.FREE if self.room else Free.FULL


@cache
def _templates() -> Environment:
    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, extensions=[PageLanguage])


def profile_form(choices: Sequence[ProfileChoice], chosen: str = "") -> str:
    """HTML of the choice, for `Spawner.options_form`; empty when there is nothing to choose.

    Args:
        choices: the profiles, the preferred one first.
        chosen: id of the profile that is marked at first; the first one when not given, or not among them.
    """
    if len(choices) < 2:
        return ""
    known = {choice.id for choice in choices}
    marked = chosen if chosen in known else choices[0].id
    return _templates().get_template("profiles.html").render(choices=choices, chosen=marked)


def free_words(choices: Sequence[ProfileChoice]) -> list[dict[str, str]]:
    """What is free of each, for a page that is open: the same words as in the form."""
    words = _templates().get_template("profile_free.html")
    return [{"id": one.id, "state": one.free.value, "text": words.render(choice=one).strip()} for one in choices]


def choice_of(profile: Profile, share: Fraction, language: str) -> ProfileChoice:
    """One profile as the start page shows it.

    Args:
        profile: the profile.
        share: how many GPUs it has.
        language: of the person.
    """
    kind = Kind.NONE
    if profile.shards:
        kind = Kind.SHARED
    elif profile.gpus:
        kind = Kind.SLICE if is_slice(profile.gpu_type) else Kind.WHOLE
    return ProfileChoice(
        profile.id,
        profile.title.nl if language == "nl" else profile.title.en,
        profile.cpus,
        f"{profile.memory}B",
        profile.time.total_seconds(),
        kind,
        str(share) if share else "",
        profile.gpu_type or "",
        profile.reservation or "",
        profile.per_person or 0,
    )


async def choices_of(spawner: Any) -> list[ProfileChoice]:
    """The choices of a spawner's owner, with what is free now as far as one shared look at the cluster tells.

    Args:
        spawner: a `spawners.spawner.LeerlabSpawner`.
    """
    facility: Facility = spawner.facility
    profiles, language = facility.profiles_for(spawner.user), page_request.current().language
    try:
        nodes = await asyncio.wait_for(spawner.looks.nodes(), PATIENCE_SECONDS)
    except TimeoutError:
        nodes = ()
    watcher = facility.watcher
    jobs = watcher.queue.jobs if watcher.queue is not None and watcher.answering else None
    found = []
    for profile in profiles:
        plain = choice_of(profile, facility.part_of_gpu(profile), language)
        seen = {}
        if jobs is not None:
            seen = {"room": room_for(profile, nodes), "ahead": waiting_for(profile.partition, jobs)}
        found.append(ProfileChoice(**{**vars(plain), **seen}))
    return found


async def options_form(spawner: Any) -> str:
    """The start page's form, with the last choice marked; none for who has no choice to make.

    Args:
        spawner: a `spawners.spawner.LeerlabSpawner`.
    """
    if len(spawner.facility.profiles_for(spawner.user)) < 2:
        return ""
    return profile_form(await choices_of(spawner), last_choice(spawner))


def last_choice(spawner: Any) -> str:
    """The profile that the person started last in this place, or in their first server; empty for none."""
    first = spawner.user.orm_user.orm_spawners.get("")
    for row in (spawner.orm_spawner, first):
        wanted = (row.user_options or {}).get("profile") if row is not None else None
        if isinstance(wanted, str):
            return wanted
    return ""
