"""A hub whose database is PostgreSQL: people come in, and again once the database was restarted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from login_site import LoginSite, start_site, stop_site, wait_for

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import postgresql as servers

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(200)]


@pytest.fixture
def server() -> Iterator[Any]:
    """A PostgreSQL that the test may stop."""
    with servers.running() as started:
        yield started


@pytest.fixture
def hub(server: Any) -> Iterator[LoginSite]:
    """A hub on it, without Slurm."""
    site = start_site(database=server.url(server.database()))
    yield site
    stop_site(site)


@pytest.mark.fault
def test_a_hub_finds_its_database_again_after_a_restart(hub: LoginSite, server: Any) -> None:
    with hub.browser() as browser:
        assert browser.log_in("anna-7f3a").status_code == 302
        assert browser.logged_in
        server.stop()
        assert not browser.logged_in
        server.start()
        wait_for("the same person, still logged in", lambda: browser.logged_in, 30, hub.log)
    assert not (hub.root / "hub.sqlite").exists()
    with hub.browser() as another:
        assert another.log_in("anna-7f3a").status_code == 302
