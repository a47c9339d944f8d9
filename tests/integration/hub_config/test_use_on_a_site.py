"""On a whole running site: somebody starts a server, and what it used is on their page a minute later."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

import pytest
from whole_site import Visitor, daemon, wait_for

from hub_config.audit import open_ledger
from hub_config.run.ready import hub_ready
from ledger.use import Place, Total, UseLedger

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]


def used(site: Any, since: float) -> Total:
    with closing(open_ledger(site.site, site.state)) as ledger:
        return UseLedger(ledger).total(person="sanne", place=Place.COURSE, days=(time.time() - since) / 86400)


def test_what_a_server_used_is_on_the_persons_page_also_when_the_hub_was_killed_meanwhile(running_site: Any) -> None:
    visitor, begun = Visitor(running_site, "sanne"), time.time() - 1
    with closing(visitor):
        visitor.start_notebook()
        process = daemon(running_site, "hub")
        process.kill()
        wait_for("another hub", lambda: not process.is_running() and hub_ready(running_site.site), 60)
        wait_for("the ledger to know of the server", lambda: used(running_site, begun).seconds > 0, 120)
        found = used(running_site, begun)
        assert found.jobs == 1 and found.cpu_seconds > 0 and 0 < found.least < found.joules < found.most
        portal = running_site.site.portal
        visitor.browser.get(f"{portal}/", follow_redirects=True)
        page = visitor.browser.get(f"{portal}/", follow_redirects=True).text
        assert "Wat ik gebruikte in 30 dagen" in page and "Wh" in page
