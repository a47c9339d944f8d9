"""An operator reads people's names, not accounts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from portal.operator_page import OperatorPage


class Named:
    """A hub that knows one person."""

    async def titles(self, names: Sequence[str]) -> dict[str, str]:
        return {name: {"mila": "Mila van Waterwacht"}.get(name, name) for name in names}


class Nothing:
    users: dict[str, Any] = {}  # noqa: RUF012


async def test_the_account_of_a_sandbox_is_called_as_its_member_also_with_a_hyphen_in_the_name() -> None:
    page = OperatorPage(None, Named(), None, None, used=None, jobs=Path("/"))  # type: ignore[arg-type]
    accounts = ["box-h2pwpde3-mila", "box-h2pwpde3-p-v5cnbaug54lczwtp"]
    assert await page._names(accounts, Nothing()) == {  # type: ignore[arg-type]
        "box-h2pwpde3-mila": "Mila van Waterwacht",
        "box-h2pwpde3-p-v5cnbaug54lczwtp": "p-v5cnbaug54lczwtp",
    }


async def test_who_has_nothing_running_is_named_too() -> None:
    page = OperatorPage(None, Named(), None, None, used=None, jobs=Path("/"))  # type: ignore[arg-type]
    assert await page._names(["mila", "course-les"], Nothing()) == {  # type: ignore[arg-type]
        "mila": "Mila van Waterwacht",
        "course-les": "course-les",
    }
