"""A reader of a course starts and reaches its server, and stops nothing there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tornado.web import HTTPError

from portal.hub_pages import StopHandler, SwitchHandler
from spawners.stopping import PatientServerAPI, must_do_more_than_look


def user(*groups: str) -> Any:
    return SimpleNamespace(orm_user=SimpleNamespace(groups=[SimpleNamespace(name=group) for group in groups]))


READER = user("reader-alpha", "formgrade-beta")


@pytest.mark.parametrize(
    ("by", "owner"),
    [
        (user("formgrade-alpha"), "course-alpha"),
        (user("grader-alpha", "reader-alpha"), "course-alpha"),
        (READER, "course-beta"),
        (READER, "anna"),
        (user("operators"), "course-alpha"),
        (SimpleNamespace(kind="service", name="idle-culler"), "course-alpha"),
        (None, "course-alpha"),
    ],
)
def test_whether_others_may_the_hub_s_own_scopes_say(by: Any, owner: str) -> None:
    must_do_more_than_look(by, owner)


@pytest.mark.attack
async def test_a_reader_is_refused_by_the_hub_s_api_and_by_its_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HTTPError) as refused:
        must_do_more_than_look(READER, "course-alpha")
    assert refused.value.status_code == 403
    for handler, ask in ((PatientServerAPI, "delete"), (StopHandler, "post"), (SwitchHandler, "post")):
        one = object.__new__(handler)
        monkeypatch.setattr(handler, "current_user", READER)
        with pytest.raises(HTTPError) as refused:
            await getattr(one, ask)("course-alpha")
        assert refused.value.status_code == 403, handler
