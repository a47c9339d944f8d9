"""On a whole running site: a teacher starts the class, Slurm keeps its limits, and what nobody opens ends."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from whole_site import PROFILE, Visitor, wait_for

from cluster.jobs import Job
from hub_config.audit import open_ledger
from hub_config.slurm import slurm_of

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]
COURSE = "ai-in-je-vak"
LIMITS = [
    {"id": "klas", "groups": [f"nbgrader-{COURSE}"], "each": {"servers": 1}, "named_servers": 1},
    {"id": "rest", "named_servers": 1},
]


@pytest.fixture(scope="module")
def site(site_of_module: Callable[..., Any]) -> Any:
    return site_of_module(limits=LIMITS, lessons={"unused": "1m"})


@pytest.fixture
def people(site: Any) -> Iterator[dict[str, Visitor]]:
    """Two students and their teacher, each of whom has logged in."""
    found = {name: Visitor(site, name) for name in ("sanne", "jelmer", "docent")}
    yield found
    for one in found.values():
        one.close()


def jobs(site: Any) -> dict[str, list[Job]]:
    """Jobs that have not ended, by the account that they are charged to; slurmctld's own word."""
    slurm = slurm_of(site.site, site.state)
    told = asyncio.run(slurm._commands.ask("squeue", ["--noheader", "--format=%i|%a"]))
    account = dict(line.split("|") for line in told.splitlines())
    found: dict[str, list[Job]] = {}
    for job in asyncio.run(slurm.queue()).jobs:
        found.setdefault(account.get(str(job.id), ""), []).append(job)
    return found


def trail(site: Any, action: str) -> list[tuple[str, str]]:
    with closing(open_ledger(site.site, site.state)) as ledger:
        return [(entry.actor, entry.subject) for entry in ledger.entries(action=action)]


def start_class(site: Any, visitor: Visitor) -> Any:
    """The button on the course's page, by its plain form."""
    portal, path = site.site.portal, f"/courses/{COURSE}"
    page = visitor.browser.get(f"{portal}{path}", follow_redirects=True).text
    token = re.search(r'name="_xsrf" value="([^"]+)"', page)
    assert token
    form = {"_xsrf": token[1]}
    return visitor.browser.post(f"{portal}{path}/start", data=form, headers={"Origin": portal}, follow_redirects=True)


def more(visitor: Visitor) -> int:
    """Ask the hub's API, and no form, for a second server."""
    token = visitor.browser.token("/hub/token")
    path = f"/hub/api/users/{visitor.name}/servers/tweede"
    return visitor.browser.post(path, headers={"X-XSRFToken": token}, json=PROFILE).status_code


def test_a_class_is_ready_limited_and_ends_where_nobody_comes(site: Any, people: dict[str, Visitor]) -> None:
    sanne, jelmer, docent = people["sanne"], people["jelmer"], people["docent"]
    assert start_class(site, sanne).status_code == 403, "a student"
    assert not sanne.has_server() and not trail(site, "lesson.start")
    answer = start_class(site, docent)
    assert answer.status_code == 200 and "Er worden 2 werkplekken gestart" in answer.text
    assert trail(site, "lesson.start") == [("docent", f"course:{COURSE}")]
    wait_for("the class", lambda: sanne.is_ready() and jelmer.is_ready(), 120)
    # Each under an account of their own; nobody else got one started.
    assert {account: len(own) for account, own in jobs(site).items()} == {"person-sanne": 1, "person-jelmer": 1}
    again = json.loads(site.leerlab("course", "start-class", COURSE, "--json").stdout)
    assert again == {"starting": 0, "running": 2, "without": 0}
    assert site.leerlab("course", "start-class", "anders", check=False).returncode == 2

    # Sanne comes; jelmer does not, and only his ends.
    lab = f"http://sanne.{site.site.hub.host}/user/sanne/lab"
    assert sanne.browser.get(lab, follow_redirects=True).status_code == 200
    # Over the limit, by the API: it waits in Slurm until the first ends. The control has no limit.
    assert more(sanne) in (201, 202) and more(docent) in (201, 202)
    docent.start_notebook(wait=False)
    wait_for(
        "Slurm to hold sanne's second server back",
        lambda: "AssocGrpJobsLimit" in {job.reason for job in jobs(site)["person-sanne"]}, 60,
    )  # fmt: skip
    wait_for(
        "both of docent's",
        lambda: [one.state.waiting for one in jobs(site).get("person-docent", [])] == [False] * 2,
        60,
    )
    wait_for("jelmer's to end", lambda: not jelmer.has_server(), 240)
    assert sanne.is_ready()
    assert trail(site, "lesson.unused") == [("portal", "jelmer")]
