"""A whole site on PostgreSQL: hub and ledger, and what happens when the database is restarted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from whole_site import Visitor, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def server() -> Iterator[Any]:
    """A PostgreSQL that the test may stop."""
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    import postgresql

    with postgresql.running() as started:
        yield started


@pytest.mark.fault
def test_a_site_on_postgresql_lives_through_a_restart_of_the_database(
    new_site: Callable[..., Any], server: Any
) -> None:
    hub, ledger = server.database(), server.database()
    from base.ports import free_ports

    site = new_site(hub={"port": free_ports(1)[0], "database": server.url(hub)}, ledger={"url": server.url(ledger)})
    site.leerlab("up")
    assert not site.state.hub_database.exists() and not site.state.ledger.exists()
    person = Visitor(site)
    person.start_notebook()
    actions = [entry["action"] for entry in json.loads(site.leerlab("ledger", "list", "--json").stdout)]
    assert "login" in actions and "server.start" in actions

    server.stop()
    assert person.notebook_answers(), "a running notebook needs no database"
    seen = {each["name"]: each for each in json.loads(site.leerlab("doctor", "--json", check=False).stdout)}
    assert not seen["write"]["ok"] and "PostgreSQL" in seen["write"]["do"]
    server.start()
    wait_for("the hub to use the database again", person.is_ready, 60)
    again = Visitor(site, "jelmer")
    again.close()
    site.leerlab("ledger", "verify")
    site.leerlab("down")
    site.leerlab("up")
    assert not person.has_server()
    with server.connect(hub) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone()[0] > 2
    person.close()
