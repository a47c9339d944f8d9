"""Who is just being let in, while JupyterHub still stores it, is not taken for somebody without a login."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from hub_config.login import standing
from hub_config.login.standing import Standings


class HalfStored:
    """JupyterHub's user between the moment that it has groups and the moment that it has its encrypted state."""

    name = "p-abcdefghijklmnop"
    encrypted_auth_state = None
    groups = ("students-hbo",)
    api_tokens = ()

    async def get_auth_state(self) -> None:
        return None

    def sync_groups(self, groups: list[str]) -> None:
        raise PermissionError("the groups are taken away")


async def record(actor: str, action: str, subject: str, details: Mapping[str, str]) -> None:
    raise AssertionError(action)


async def test_a_person_who_is_arriving_keeps_the_groups_that_were_just_given(monkeypatch: pytest.MonkeyPatch) -> None:
    user: Any = HalfStored()
    standings = Standings({}, timedelta(hours=1), record)
    with pytest.raises(PermissionError):
        await standings.check(user)
    standings.expect(user.name)
    assert await standings.check(user)
    monkeypatch.setattr(standing, "ARRIVING_SECONDS", 0.0)
    with pytest.raises(PermissionError):
        await standings.check(user)
