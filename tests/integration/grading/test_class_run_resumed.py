"""A run over a class goes on after whatever broke it off: no mark is lost, none is given twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from grading_assignment import solve
from grading_class import ANSWERS, COLLECT, MARKS, RIGHT, RUN, ended, executions, hand_in, marks
from grading_server import formgrader
from grading_site import Site, wait_until
from grading_slurm import RunningSlurm

from confinement.run import Walled

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.timeout(600)]


@pytest.fixture
def class_site(released_site: Site) -> Site:
    """A site where everybody has handed in."""
    hand_in(released_site, ANSWERS)
    return released_site


@pytest.fixture
def teacher(class_site: Site) -> Iterator[tuple[Site, httpx.Client]]:
    """The course's server, where all was collected."""
    with formgrader(class_site) as page:
        assert page.post(COLLECT).json()["success"]
        yield class_site, page


def plan_of(site: Site) -> dict[str, Any]:
    try:
        plan: dict[str, Any] = json.loads((site.state.courses / "alpha/.runs/week-1/plan.json").read_text())
    except FileNotFoundError:
        return {}
    return plan


def jobs(site: Site) -> list[Path]:
    """The folders of executions whose job is known."""
    found = sorted(site.state.jobs.glob("*/execution.json"))
    return [file.parent for file in found if json.loads(file.read_text())["job"] is not None]


def job_number(folder: Path) -> str:
    return str(json.loads((folder / "execution.json").read_text())["job"])


def one_is_done(page: httpx.Client) -> bool:
    run = page.get(RUN).json()
    assert run["running"], run
    return bool(run["done"])


def killed(site: Site, moment: str, how: signal.Signals = signal.SIGKILL) -> None:
    """Begin a run, and end the course's server at that moment."""
    running: list[Walled] = []
    with formgrader(site, running=running) as page:
        assert page.post(COLLECT).json()["success"]
        assert page.post(RUN).status_code == 202
        if moment == "sent":
            wait_until(lambda: [one for one in plan_of(site).get("sendings", []) if one["execution"]], 120)
        elif moment == "marking":
            wait_until(lambda: one_is_done(page), 120)
        running[0].signal(how)
        running[0].wait(60)


@pytest.mark.parametrize(
    ("moment", "how"),
    [
        pytest.param("preparing", signal.SIGKILL, marks=pytest.mark.slow),
        ("sent", signal.SIGKILL),
        pytest.param("marking", signal.SIGKILL, marks=pytest.mark.slow),
        # As the hub and Slurm end it: it gets the time to say goodbye.
        pytest.param("marking", signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_a_course_s_server_that_ended_goes_on_with_its_run_when_it_is_back(
    class_site: Site, moment: str, how: signal.Signals
) -> None:
    killed(class_site, moment, how)
    plan = plan_of(class_site)
    assert plan["stage"] != "ended" and len(plan["done"]) < len(ANSWERS)
    with formgrader(class_site) as page:
        run = ended(page)
        assert (run["done"], run["failed"], run["resumed"], run["sent_again"]) == (len(ANSWERS), {}, 1, 0)
        assert marks(page) == MARKS
        # What ran on the cluster meanwhile was fetched, not run once more.
        assert executions(class_site) == [len(ANSWERS)]
        assert page.post(RUN).json()["total"] == 0
        shown = page.get("formgrader/manage_submissions/week-1").text
    assert "nagekeken" in shown and not list(class_site.state.jobs.glob("*/execution.json"))


@pytest.mark.slow
def test_what_the_cluster_no_longer_knows_after_a_restart_is_sent_again_once(
    class_site: Site, slurm: RunningSlurm
) -> None:
    killed(class_site, "sent")
    (folder,) = jobs(class_site)
    slurm.ask("scancel", job_number(folder))
    wait_until(lambda: job_number(folder) not in slurm.ask("squeue", "--noheader", "--format=%i").split(), 60)
    shutil.rmtree(folder)
    with formgrader(class_site) as page:
        run = ended(page)
        assert (run["done"], run["failed"], run["sent_again"]) == (len(ANSWERS), {}, len(ANSWERS))
        assert marks(page) == MARKS and executions(class_site) == [len(ANSWERS)] * 2


def test_a_job_that_is_cancelled_costs_nobody_a_mark(teacher: tuple[Site, httpx.Client], slurm: RunningSlurm) -> None:
    site, page = teacher
    page.post(RUN)
    (folder,) = wait_until(lambda: jobs(site), 120)
    slurm.ask("scancel", job_number(folder))
    run = ended(page)
    assert (run["done"], run["failed"]) == (len(ANSWERS), {})
    assert marks(page) == MARKS
    first, second = executions(site)
    assert first == len(ANSWERS) and second == run["sent_again"] > 0


def zygotes(execution: str) -> list[int]:
    """The processes that forked kernels come from, and those kernels, of one execution: the oldest first."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            warm = b"leerlab_lab.forked.zygote" in (folder / "cmdline").read_bytes()
            if warm and execution in (folder / "mountinfo").read_text():
                found.append(int(folder.name))
        except OSError:
            continue
    return sorted(found)


@pytest.mark.slow
def test_a_warm_process_that_is_killed_costs_nobody_a_mark(teacher: tuple[Site, httpx.Client]) -> None:
    site, page = teacher
    page.post(RUN)
    (folder,) = wait_until(lambda: jobs(site), 120)
    os.kill(wait_until(lambda: zygotes(folder.name), 120)[0], signal.SIGKILL)
    run = ended(page)
    assert (run["done"], run["failed"]) == (len(ANSWERS), {}) and run["sent_again"] > 0
    assert marks(page) == MARKS


@pytest.mark.slow
def test_work_that_is_lost_twice_is_told_and_keeps_the_marks_that_were_there(
    teacher: tuple[Site, httpx.Client], slurm: RunningSlurm
) -> None:
    site, page = teacher
    page.post(RUN)
    seen: set[Path] = set()

    def cancelled_both() -> bool:
        for folder in set(jobs(site)) - seen:
            slurm.ask("scancel", job_number(folder))
            seen.add(folder)
        return len(seen) == 2

    wait_until(cancelled_both, 200)
    run = ended(page)
    given = {name: mark for name, mark in marks(page).items() if mark is not None}
    assert set(given) | set(run["failed"]) == set(ANSWERS) and run["failed"]
    assert all("Grade this submission again later." in why for why in run["failed"].values())
    assert given == {name: MARKS[name] for name in given} and len(executions(site)) == 2


@pytest.mark.slow
def test_a_hub_that_restarts_in_mid_run_is_waited_for(teacher: tuple[Site, httpx.Client]) -> None:
    site, page = teacher
    page.post(RUN)
    wait_until(lambda: jobs(site), 120)
    assert site.hub.server is not None
    site.hub.server.stop()
    with site.client(site.hub.token("course-alpha")) as client:
        wait_until(lambda: client.get(f"/executions/{jobs(site)[0].name}").status_code == 503, 60)
        # Longer than the service remembers who a token belongs to.
        wait_until(lambda: page_is_refused(site), 60)
    site.hub.server.start()
    run = ended(page)
    assert (run["done"], run["failed"], run["sent_again"]) == (len(ANSWERS), {}, 0)
    assert marks(page) == MARKS and executions(site) == [len(ANSWERS)]


def page_is_refused(site: Site) -> bool:
    """Whether the service knows nobody any more, the course's server either."""
    (token,) = [token for token, about in site.hub.tokens.items() if about["name"] == "course-alpha"][:1]
    with site.client(token) as client:
        return client.get(f"/executions/{jobs(site)[0].name}").status_code == 503


@pytest.mark.slow
def test_work_that_is_older_by_the_clock_and_not_what_was_graded_is_graded(teacher: tuple[Site, httpx.Client]) -> None:
    site, page = teacher
    page.post(RUN)
    ended(page)
    assert page.post(RUN).json()["total"] == 0
    ended(page)
    work = site.state.courses / "alpha" / "submitted" / "bram" / "week-1"
    for file in (work / "kwadraten.ipynb", work / "timestamp.txt"):
        file.chmod(0o644)
    solve(work / "kwadraten.ipynb", RIGHT)
    (work / "timestamp.txt").write_text("2020-01-01 00:00:00.000000 UTC")
    assert page.post(RUN).json()["total"] == 1
    ended(page)
    assert marks(page) == {**MARKS, "bram": 3.0}
    assert page.post(RUN).json()["total"] == 0
