"""Sites with the login through identity providers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# pytest's importlib mode puts no test folder on the path.
sys.path.insert(0, str(Path(__file__).parent))

from login_site import PEOPLE, Browser, LoginSite, start_site, stop_site


@pytest.fixture(scope="session")
def shared_site() -> Iterator[LoginSite]:
    """One hub with its providers for all tests that only log in."""
    site = start_site()
    try:
        yield site
    finally:
        stop_site(site)


@pytest.fixture
def site(shared_site: LoginSite) -> LoginSite:
    """That hub, with every provider doing what it should."""
    shared_site.rogue.right()
    shared_site.certified.write(PEOPLE)
    return shared_site


@pytest.fixture
def browser(site: LoginSite) -> Iterator[Browser]:
    with site.browser() as one:
        yield one


@pytest.fixture
def new_login_site() -> Iterator[Callable[..., LoginSite]]:
    """Sites of a test's own."""
    made: list[LoginSite] = []

    def make(**changes: object) -> LoginSite:
        made.append(start_site(**changes))
        return made[-1]

    yield make
    for one in made:
        stop_site(one)
