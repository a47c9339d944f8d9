"""Who may read the site's numbers at its own address, as a logged-in browser."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from portal_site import PEOPLE, Pages

pytestmark = pytest.mark.integration


@pytest.mark.attack
@pytest.mark.parametrize("name", [name for name, _, _ in PEOPLE])
def test_operators_read_the_numbers_and_nobody_else_does(
    name: str, visitor: Callable[..., httpx.Client], pages: Pages
) -> None:
    operator = any(who == name and "operators" in groups for who, _, groups in PEOPLE)
    answer = visitor(name).get(f"{pages.address}/hub/metrics")
    assert answer.status_code == (200 if operator else 403)
    # The control is the operator: the numbers are there, and nobody is named in them.
    assert ("jupyterhub_total_users" in answer.text) is operator
    assert not operator or not any(f'"{who}"' in answer.text for who, _, _ in PEOPLE)
