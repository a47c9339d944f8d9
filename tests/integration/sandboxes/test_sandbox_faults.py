"""A hub, Slurm or portal that fails in the middle of a sandbox's life: nothing is lost, nobody keeps what they had, and
the next turn puts right what was left."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from inside_attempts import HEARTBEAT
from sandbox_people import (
    CompanySite,
    Person,
    account_of,
    answers,
    daemon,
    job_of,
    logged_in,
    portal_asks,
    queued,
    trail,
    wait_for,
)

from hub_config.oversight import oversight
from hub_config.quota import LOOK_SECONDS
from hub_config.run.ready import hub_ready, portal_ready, slurm_ready
from hub_config.run.supervisor_client import Supervisor
from ledger.sandboxes import SandboxState
from sandboxes.folders import Folders

pytestmark = [pytest.mark.fault, pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(180)]
MARKER = "merkteken-van-de-kaasmakerij"


@pytest.fixture(scope="module")
def people(company_site: CompanySite) -> Iterator[dict[str, Person]]:
    with logged_in(company_site, "mila", "bram", "kees") as found:
        yield {person.name: person for person in found}


@pytest.fixture(scope="module")
def shared(company_site: CompanySite, people: dict[str, Person]) -> str:
    """A sandbox with two members, whose labs run."""
    mila, bram = people["mila"], people["bram"]
    sandbox = mila.ask_for_sandbox("Met zijn tweeën")
    bram.join(mila.invite(sandbox))
    for person in (mila, bram):
        person.start(account_of(sandbox, person.name), wait=False)
    for person in (mila, bram):
        wait_for("the lab", lambda who=person: answers(who, account_of(sandbox, who.name)))  # type: ignore[misc]
    return sandbox


def killed(site: CompanySite, name: str) -> None:
    """Kill a daemon, and wait until supervisord has another."""
    old = daemon(site, name)
    old.kill()
    wait_for(f"another {name}", lambda: runs_again(site, name, old), 30)


def runs_again(site: CompanySite, name: str, old: psutil.Process) -> bool:
    try:
        return daemon(site, name).pid not in (0, old.pid)
    except psutil.NoSuchProcess:
        return False


def test_a_hub_that_is_killed_costs_no_lab_and_no_membership(
    company_site: CompanySite, people: dict[str, Person], shared: str
) -> None:
    mila, account = people["mila"], account_of(shared, "mila")
    job = job_of(company_site, account)
    assert mila.run(account, "held = 42\nprint(held)") == 42
    killed(company_site, "hub")
    assert answers(mila, account), "the way to a lab does not lead through the hub"
    wait_for("the hub", lambda: hub_ready(company_site.site), 30)
    wait_for("the hub to know the lab", lambda: ready(company_site, account), 30)
    assert (job_of(company_site, account), mila.run(account, "print(held)")) == (job, 42)
    with logged_in(company_site, "mila") as (again,):
        assert again.visit(account).status_code == 200, "in a browser that had no session"
        assert again.visit(account_of(shared, "bram")).status_code == 403


def ready(site: CompanySite, account: str) -> bool:
    answer = portal_asks(site, "GET", f"users/{account}")
    return answer.status_code == 200 and bool(answer.json()["servers"].get("", {}).get("ready"))


def in_background(act: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_a_hub_killed_before_it_learns_who_was_taken_out_learns_it_when_it_begins(
    company_site: CompanySite, people: dict[str, Person], shared: str
) -> None:
    """The portal writes the ledger first and then tells the hub: killed in between, the hub has not heard of it."""
    mila, bram, account = people["mila"], people["bram"], account_of(shared, "bram")
    assert bram.visit(account).status_code == 200
    form = mila.form()
    hub = daemon(company_site, "hub")
    hub.send_signal(signal.SIGSTOP)
    try:
        address, data = f"{mila.portal}/sandboxes/{shared}/remove", {**form, "person": "bram"}
        taking = in_background(lambda: mila.browser.post(address, data=data, headers={"Origin": mila.portal}))
        wait_for("the ledger", lambda: "sandbox.leave" in trail(company_site, shared), 20)
        assert answers(bram, account), "the hub has done nothing yet"
    finally:
        hub.kill()
    taking.join(40)
    wait_for("another hub", lambda: runs_again(company_site, "hub", hub), 30)
    wait_for("the lab's end", lambda: not answers(bram, account), 60)
    wait_for("the account's end", lambda: portal_asks(company_site, "GET", f"users/{account}").status_code == 404, 30)
    assert bram.visit(account).status_code in (403, 404)
    assert bram.see(f"/sandboxes/{shared}").status_code == 404
    assert answers(mila, account_of(shared, "mila")), "the lab of who stays runs on"


@pytest.mark.timeout(360)
def test_while_slurm_is_away_an_ended_sandbox_is_shut_and_packed_once_its_job_has_ended(
    company_site: CompanySite, people: dict[str, Person], shared: str
) -> None:
    mila, account = people["mila"], account_of(shared, "mila")
    job = job_of(company_site, account)
    heart = Folders(company_site.state, shared).files / "hartslag"
    assert mila.run(account, HEARTBEAT) is True
    supervisor = Supervisor(company_site.state)
    supervisor.stop(["slurmctld"])
    try:
        assert mila.send(f"/sandboxes/{shared}/end", {"sure": "yes"}).status_code == 303
        # That the lab could not be stopped lets nobody in.
        assert mila.hub("GET", f"/users/{account}").status_code == 404
        with logged_in(company_site, "mila") as (again,):
            assert again.visit(account).status_code in (403, 404)
        assert beats(heart), "the job has not ended: nobody could end it"
        log = company_site.state.logs / "portal.log"
        wait_for("the keeper's look", lambda: "Slurm does not say what runs in ended sandboxes" in log.read_text(), 60)
        assert not Folders(company_site.state, shared).export.exists(), "packed while something still writes"
    finally:
        supervisor.start_stopped()
    wait_for("Slurm", lambda: slurm_ready(company_site.site, company_site.state), 30)

    wait_for("the job's end", lambda: not queued(company_site, job), 60)
    wait_for("the export", lambda: "sandbox.exported" in trail(company_site, shared), 60)
    assert Folders(company_site.state, shared).export.is_file() and not beats(heart)


def beats(heart: Path) -> bool:
    """Whether something still writes there, twenty times a second."""
    before = heart.read_text()
    time.sleep(0.3)
    return heart.read_text() != before


FOLDERS, FILES = 100, 150
"""So many that an erasure takes long enough to be cut off."""


def plant(folders: Folders) -> None:
    """Files with the marker in their contents, and one with it in its name."""
    for number in range(FOLDERS):
        folder = folders.files / f"{number:03d}"
        folder.mkdir()
        for each in range(FILES):
            (folder / f"{each:04d}.txt").write_text(MARKER)
    (folders.files / f"{MARKER}.txt").write_text("leeg")


def long_ended(site: CompanySite, sandbox: str) -> None:
    """Let the days pass for which the export of an ended sandbox is kept."""
    with closing(sqlite3.connect(site.state.ledger, timeout=20)) as connection, connection:
        connection.execute("pragma secure_delete = on")
        changed = connection.execute(
            "update sandbox set ended = '2026-01-01T00:00:00+00:00' where id = ? and state = 'ending'", (sandbox,)
        )
        assert changed.rowcount == 1


def killed_in_mid_erasure(site: CompanySite, folders: Folders) -> psutil.Process:
    """Kill the portal as soon as the first of the sandbox's folders is gone."""
    portal, until = daemon(site, "portal"), time.monotonic() + 90
    while len(set(folders.files.iterdir())) > FOLDERS:
        assert time.monotonic() < until, "the erasure did not begin"
        time.sleep(0.001)
    portal.kill()
    return portal


@pytest.mark.timeout(300)
def test_a_portal_killed_in_the_middle_of_an_erasure_finishes_it_when_it_is_back(
    company_site: CompanySite, people: dict[str, Person]
) -> None:
    kees = people["kees"]
    sandbox = kees.ask_for_sandbox(MARKER)
    folders = Folders(company_site.state, sandbox)
    plant(folders)
    with oversight(company_site.site, company_site.state) as sight:
        # Control: while it lives, the search finds the marker in contents, names and the ledger.
        places = {Path(place).name for place in sight.verify(sandbox, MARKER).places}
        assert {"0000.txt", f"{MARKER}.txt"} < places and any(company_site.state.ledger.name in one for one in places)
    assert kees.send(f"/sandboxes/{sandbox}/end", {"sure": "yes"}).status_code == 303
    long_ended(company_site, sandbox)
    portal = killed_in_mid_erasure(company_site, folders)
    left = sum(len(names) for _, _, names in os.walk(folders.files))
    assert 0 < left < FOLDERS * FILES, "cut off in the middle, or this shows nothing"
    assert "sandbox.erased" not in trail(company_site, sandbox)
    wait_for("another portal", lambda: runs_again(company_site, "portal", portal), 30)
    # Looked at every 30 seconds; the first look may meet a hub or a Slurm that does not answer yet.
    wait_for("the end of the erasure", lambda: "sandbox.erased" in trail(company_site, sandbox), 150)
    with oversight(company_site.site, company_site.state) as sight:
        verified = sight.verify(sandbox, MARKER)
        assert verified.clean, verified
        assert sight.show(sandbox).sandbox.state is SandboxState.ERASED
    wait_for("the portal", lambda: portal_ready(company_site.site), 30)
    assert MARKER not in kees.see("/").text


@pytest.mark.timeout(300)
def test_a_sandbox_above_its_size_is_stopped_and_who_comes_to_clean_up_is_let_in(
    company_site: CompanySite, people: dict[str, Person]
) -> None:
    kees = people["kees"]
    sandbox = kees.ask_for_sandbox("Te veel")
    account = account_of(sandbox, "kees")
    kees.start(account)
    wait_for("the lab", lambda: answers(kees, account))
    assert company_site.site.sandboxes is not None
    large = Folders(company_site.state, sandbox).files / "large"
    with large.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, int(company_site.site.sandboxes.size * 1.2))
    wait_for("the lab's end", lambda: not answers(kees, account), 60)
    wait_for("the end of the stop", lambda: not portal_asks(company_site, "GET", f"users/{account}").json()["servers"])
    kees.start(account)
    wait_for("the lab again", lambda: answers(kees, account))
    # Two looks: a lab writes files of its own when it starts.
    time.sleep(2 * LOOK_SECONDS + 2)
    assert answers(kees, account)
    assert kees.run(account, "import os; os.remove('/srv/sandbox/large'); print('true')") is True
    assert large.parent.is_dir() and not large.exists()
    assert kees.send(f"/sandboxes/{sandbox}/end", {"sure": "yes"}).status_code == 303
