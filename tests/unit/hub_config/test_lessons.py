"""A class is started by whom it may, for whom it is, and what nobody opens ends: on the hub's own database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub import orm
from tornado.web import HTTPError

from base.paths import State
from base.quantities import Duration, Size
from hub_config import lessons
from hub_config.lessons import ClassHandler, ClassStart, Lessons, opened
from spawners.settings import Profile, Title
from spawners.submission import AHEAD

START = "0123456789abcdef"
NOW = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
UNUSED = timedelta(minutes=30)


def profile(name: str, *groups: str) -> Profile:
    return Profile(
        id=name, title=Title(nl=name, en=name), partition="cpu", cpus=1, memory=Size.parse("1G"),
        time=Duration.parse("1h"), groups=groups,
    )  # fmt: skip


class Spawner(SimpleNamespace):
    """As much of a spawner as lessons look at."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(active=False, pending=None, ready=False, ahead=False, start_id=None, orm_spawner=None)
        vars(self).update(changes)


@pytest.fixture
def hub() -> Iterator[SimpleNamespace]:
    """A hub with one course, two who take it, one who teaches it, and one who does neither."""
    session = orm.new_session_factory("sqlite:///:memory:")()
    users = {}
    for name, groups in {
        "sanne": ["nbgrader-les"], "jelmer": ["nbgrader-les", "gpu"], "docent": ["formgrade-les"], "gast": [],
        "course-les": ["nbgrader-les"],
    }.items():  # fmt: skip
        row = orm.User(name=name)
        session.add(row)
        for one in groups:
            group = orm.Group.find(session, one) or orm.Group(name=one)
            session.add(group)
            group.users.append(row)
        users[name] = SimpleNamespace(name=name, orm_user=row, spawners={"": Spawner()})
        users[name].get_or_create_spawner = lambda _server, _title, user=users[name], **_more: user.spawners[""]
    session.commit()
    yield SimpleNamespace(db=session, users=users)
    session.close()


class Told(list[tuple[Any, ...]]):
    """The audit trail, and the accounts that were asked for."""

    async def record(self, *entry: Any) -> None:
        self.append(entry)

    async def ensure(self, groups: dict[str, Any]) -> None:
        self.append(("accounts", *sorted(groups)))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def made(told: Told, tmp_path: Path) -> Lessons:
    state = State(tmp_path / "s")
    state.make()
    courses = SimpleNamespace(now=lambda: {"les": SimpleNamespace(profile="groot")})
    profiles = [profile("klein"), profile("groot", "gpu")]
    return Lessons(courses, profiles, charging=told, audit=told, state=state, language="nl", unused=UNUSED)  # type: ignore[arg-type]


class Handler(SimpleNamespace):
    """A request at the hub; what it starts is kept."""

    def __init__(self, hub: SimpleNamespace) -> None:
        super().__init__(db=hub.db, started={}, user_from_username=lambda name: hub.users[name])

    async def spawn_single_user(self, user: Any, server: str, options: dict[str, str]) -> None:
        assert server == "" and user.spawners[""].ahead
        user.spawners[""].active = True
        self.started[user.name] = options


async def begun(made: Lessons) -> None:
    await asyncio.gather(*made._tasks)


async def test_everybody_who_takes_the_course_gets_a_server_of_their_own_choice(
    made: Lessons, hub: SimpleNamespace, told: Told
) -> None:
    handler = Handler(hub)
    assert await made.start(handler, "les", "docent") == ClassStart(2, 0, 0)
    await begun(made)
    # The course's profile where it is one of theirs, else their first.
    assert handler.started == {
        "jelmer": {"profile": "groot", "course": "les"}, "sanne": {"profile": "klein", "course": "les"},
    }  # fmt: skip
    assert told == [("docent", "lesson.start", "course:les", {"servers": "2"}), ("accounts", "jelmer", "sanne")]


async def test_what_runs_already_is_left_alone_and_twice_starts_nothing_twice(
    made: Lessons, hub: SimpleNamespace
) -> None:
    hub.users["sanne"].spawners[""].pending = "spawn"
    handler = Handler(hub)
    assert await made.start(handler, "les", "docent") == ClassStart(1, 1, 0)
    await begun(made)
    assert await made.start(handler, "les", "docent") == ClassStart(0, 2, 0)
    assert list(handler.started) == ["jelmer"]


async def test_a_course_that_is_not_given_has_no_class(made: Lessons, hub: SimpleNamespace, told: Told) -> None:
    with pytest.raises(HTTPError) as refused:
        await made.start(Handler(hub), "anders", "docent")
    assert refused.value.status_code == 404 and not told


@pytest.mark.fault
async def test_one_start_that_is_refused_keeps_nobody_else_from_theirs(made: Lessons, hub: SimpleNamespace) -> None:
    handler = Handler(hub)
    whole = handler.spawn_single_user

    async def refuse(user: Any, server: str, options: dict[str, str]) -> None:
        if user.name == "jelmer":
            raise HTTPError(429)
        await whole(user, server, options)

    handler.spawn_single_user = refuse  # type: ignore[method-assign]
    await made.start(handler, "les", "docent")
    await begun(made)
    assert list(handler.started) == ["sanne"] and not hub.users["jelmer"].spawners[""].ahead


def caller(hub: SimpleNamespace, name: str, *scopes: str) -> ClassHandler:
    handler = ClassHandler.__new__(ClassHandler)
    handler._jupyterhub_user = hub.users[name]
    handler.expanded_scopes = set(scopes)
    return handler


@pytest.mark.attack
@pytest.mark.parametrize(
    ("name", "scopes", "status"),
    [
        ("sanne", [lessons.PORTAL_SCOPE], 404),
        ("gast", [lessons.PORTAL_SCOPE], 404),
        # A teacher's own server has a token without the portal's scope, which any notebook in it can read.
        ("docent", ["access:servers!user=docent"], 403),
        ("docent", [], 403),
    ],
)
def test_only_teachers_of_the_course_start_it_and_never_from_a_notebook(
    hub: SimpleNamespace, name: str, scopes: list[str], status: int
) -> None:
    with pytest.raises(HTTPError) as refused:
        caller(hub, name, *scopes)._caller("les")
    assert refused.value.status_code == status
    assert caller(hub, "docent", lessons.PORTAL_SCOPE)._caller("les") == "docent", "the control"
    with pytest.raises(HTTPError):
        caller(hub, "docent", lessons.PORTAL_SCOPE)._caller("anders")


def ready(hub: SimpleNamespace, made: Lessons, *, ahead: bool = True) -> None:
    """Sanne's server, ready since an hour before NOW."""
    started = SimpleNamespace(started=(NOW - timedelta(hours=1)).replace(tzinfo=None))
    hub.users["sanne"].spawners[""] = Spawner(active=True, ready=True, start_id=START, orm_spawner=started)
    folder = made._state.jobs / START
    folder.mkdir()
    if ahead:
        (folder / AHEAD).touch()


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    async def stop(_hub: Any, user: Any) -> None:
        names.append(user.name)
        user.spawners[""].ready = False

    monkeypatch.setattr(lessons, "stop_without_request", stop)
    return names


async def test_what_nobody_opens_ends_after_its_time_and_not_before(
    made: Lessons, hub: SimpleNamespace, stopped: list[str], told: Told
) -> None:
    ready(hub, made)
    await made.end_unused(hub, NOW)
    await made.end_unused(hub, NOW + UNUSED - timedelta(seconds=1))
    assert stopped == []
    await made.end_unused(hub, NOW + UNUSED)
    assert stopped == ["sanne"]
    assert told == [("portal", "lesson.unused", "sanne", {})]


async def test_what_its_owner_started_or_opened_never_ends_so(
    made: Lessons, hub: SimpleNamespace, stopped: list[str]
) -> None:
    ready(hub, made, ahead=False)
    await made.end_unused(hub, NOW)
    await made.end_unused(hub, NOW + 2 * UNUSED)
    (made._state.jobs / START / AHEAD).touch()
    row = hub.users["sanne"].orm_user
    hub.db.add(orm.OAuthClient(identifier="jupyterhub-user-sanne"))
    token = orm.APIToken(user=row, client_id="jupyterhub-user-sanne", scopes=[])
    token.created = (NOW - timedelta(days=1)).replace(tzinfo=None)
    hub.db.add(token)
    hub.db.commit()
    started = hub.users["sanne"].spawners[""].orm_spawner.started
    assert not opened(hub.db, row, started), "of an earlier day"
    token.last_activity = NOW.replace(tzinfo=None)
    hub.db.commit()
    assert opened(hub.db, row, started)
    await made.end_unused(hub, NOW)
    await made.end_unused(hub, NOW + 2 * UNUSED)
    assert stopped == []
