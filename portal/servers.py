"""A person's running servers, with when each ends by itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from portal.cards import ServerState
from portal.hub import HubServer
from portal.people import Visitor
from portal.site import BOX_ACCOUNT, COURSE_ACCOUNT, SiteView
from portal.snapshot import Snapshot


class Kind(StrEnum):
    """What a server is for."""

    WORKPLACE = "workplace"
    COURSE = "course"
    SANDBOX = "sandbox"


@dataclass(frozen=True)
class Running:
    """One server that is not stopped.

    Args:
        owner: the hub's account that it belongs to.
        kind: what it is for.
        about: id of the course or the sandbox, or the person's name.
        state: starting, running or stopping.
        ends: when Slurm ends it; None when that cannot be seen now.
        url: opens it, or the page on its start.
        name: what the person calls it; empty for the first.
    """

    owner: str
    kind: Kind
    about: str
    state: ServerState
    ends: datetime | None
    url: str
    name: str = ""


def own_accounts(visitor: Visitor, courses: Iterable[str], boxes: Iterable[str] = ()) -> list[str]:
    """The hub's accounts whose servers are this person's business: their own, courses they teach, their sandboxes.

    Args:
        visitor: the person.
        courses: ids of the site's courses.
        boxes: ids of the person's active sandboxes.
    """
    teaches = [COURSE_ACCOUNT + course for course in courses if visitor.role_in(course) is not None]
    return [visitor.name, *teaches, *(f"{BOX_ACCOUNT}{box}-{visitor.name}" for box in boxes)]


def running(snapshot: Snapshot, accounts: Iterable[str], site: SiteView) -> list[Running]:
    """The servers of these accounts that are not stopped.

    Args:
        snapshot: what runs.
        accounts: names of the hub's accounts, in the order to show them.
        site: for the addresses and the profiles.
    """
    found = []
    for owner in accounts:
        user = snapshot.users.get(owner)
        if user is None:
            continue
        kind, about = kind_of(owner)
        for name, server in (("", user.server), *sorted(user.named.items())):
            if server is None:
                continue
            state = state_of(server)
            url = site.start_url(owner, _first_page(kind), server=name)
            if state is ServerState.STARTING:
                url = site.pending_url(owner, name)
            found.append(Running(owner, kind, about, state, end_of(server, snapshot, site), url, name))
    return found


def state_of(server: HubServer) -> ServerState:
    """How far a server is."""
    if server.pending == "stop":
        return ServerState.STOPPING
    return ServerState.RUNNING if server.ready and not server.pending else ServerState.STARTING


def kind_of(owner: str) -> tuple[Kind, str]:
    """What an account's server is for, and the id of that course or sandbox, or the person's name."""
    if owner.startswith(COURSE_ACCOUNT):
        return Kind.COURSE, owner.removeprefix(COURSE_ACCOUNT)
    if owner.startswith(BOX_ACCOUNT):
        return Kind.SANDBOX, owner.removeprefix(BOX_ACCOUNT).partition("-")[0]
    return Kind.WORKPLACE, owner


def end_of(server: HubServer, snapshot: Snapshot, site: SiteView) -> datetime | None:
    """When Slurm ends the server's job; None when that cannot be seen now, or it has not begun."""
    job = snapshot.jobs.get(server.job) if server.job is not None and snapshot.slurm_seen else None
    if job is not None and job.ends is not None:
        return job.ends
    longest = site.longest(server.profile)
    return job.started + longest if job is not None and job.started is not None and longest is not None else None


def _first_page(kind: Kind) -> str:
    return "formgrader" if kind is Kind.COURSE else "lab"
