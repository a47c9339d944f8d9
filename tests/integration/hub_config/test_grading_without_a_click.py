"""On a whole running site: what comes in is graded without a teacher, whatever breaks; no student can begin it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from handing_in import (
    ASSIGNMENT,
    COURSE,
    LOOP,
    OTHER,
    hand_in,
    marks,
    own_token,
    service_of,
    site_with_a_course,
    standing,
)
from whole_site import Visitor, daemon, wait_for

from hub_config.audit import open_ledger
from hub_config.idle_culling import listens
from hub_config.run.keys import secret
from hub_config.run.ready import hub_ready
from hub_config.run.supervisor_client import Supervisor

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1800)]
GRADED = 600.0
RUNS = f"/class-runs/{COURSE}/{ASSIGNMENT}"


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def site(place: Path, site_of_module: Callable[..., Any]) -> Any:
    return site_of_module(**site_with_a_course(place, "on_submit"))


@pytest.fixture(scope="module")
def tokens(site: Any) -> dict[str, str]:
    """What each person's own server would hold."""
    found = {}
    for name in ("sanne", "jelmer", "noor", "docent"):
        with closing(Visitor(site, name)) as visitor:
            found[name] = own_token(visitor)
    return found


@pytest.fixture(scope="module")
def full(site: Any, tokens: dict[str, str], place: Path) -> float:
    """The mark of the teacher's own solution, which is the first that is handed in."""
    hand_in(site, tokens["sanne"], place / "work", right=True)
    wait_for("sanne's marks", lambda: marks(site).get("sanne"), GRADED)
    return marks(site)["sanne"]


def trail(site: Any, action: str) -> list[dict[str, str]]:
    with closing(open_ledger(site.site, site.state)) as ledger:
        return [dict(entry.details) for entry in ledger.entries(action=action)]


def server(site: Any, method: str = "GET", course: str = COURSE) -> dict[str, Any]:
    """The course's server by the hub's word to the grading service."""
    headers = {"Authorization": f"token {secret(site.state, 'grading-token')}"}
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(site.state.run / "hub.sock")), timeout=150) as hub:
        answer = hub.request(method, f"http://hub/hub/api/leerlab/courses/{course}/server", headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def ended(site: Any) -> bool:
    return bool(standing(site)["stage"] == "idle")


def other_work(site: Any, tokens: dict[str, str], place: Path, full: float) -> Callable[[], bool]:
    """Jelmer hands in what gives another mark than he has; whether he has that."""
    right = marks(site).get("jelmer") != full
    assert hand_in(site, tokens["jelmer"], place / "work", right=right)["student"] == "jelmer"
    return lambda: "jelmer" in marks(site) and (marks(site)["jelmer"] == full) == right


def test_work_that_comes_in_is_graded_by_itself(site: Any, full: float) -> None:
    assert full > 0
    wait_for("the end of the run", lambda: ended(site), GRADED)
    told = standing(site)
    assert (told["rule"], told["by"], told["trouble"]) == ("on_submit", "on_submit", "")
    assert told["result"]["done"] == told["result"]["total"] == 1
    assert [one["by"] for one in trail(site, "class-run.begin")] == ["on_submit"]


def test_many_hand_ins_cost_one_run_at_a_time(site: Any, full: float, tokens: dict[str, str], place: Path) -> None:
    wait_for("the end of the run", lambda: ended(site), GRADED)
    before = len(trail(site, "class-run.begin"))
    for number in range(12):
        hand_in(site, tokens["noor"], place / "work", right=False, more=f"# {number}")
    hand_in(site, tokens["noor"], place / "work", right=True)
    wait_for("noor's last work to be graded", lambda: marks(site).get("noor") == full, GRADED)
    wait_for("the end of the run", lambda: ended(site), GRADED)
    assert 1 <= len(trail(site, "class-run.begin")) - before <= 4


@pytest.mark.fault
def test_a_service_that_is_killed_after_the_receipt_grades_when_it_is_back(
    site: Any, full: float, tokens: dict[str, str], place: Path
) -> None:
    wait_for("the end of the run", lambda: ended(site), GRADED)
    process, before = daemon(site, "grading"), len(trail(site, "class-run.begin"))
    graded = other_work(site, tokens, place, full)
    process.kill()
    assert len(trail(site, "class-run.begin")) == before and not graded()
    wait_for("jelmer's marks", graded, GRADED)


@pytest.mark.fault
def test_a_hub_that_is_away_is_told_to_operators_and_waited_for(
    site: Any, full: float, tokens: dict[str, str], place: Path
) -> None:
    wait_for("the end of the run", lambda: ended(site), GRADED)
    # The service knows the course's server no more, and must ask the hub.
    process, socket = daemon(site, "grading"), site.state.run / "grading.sock"
    process.kill()
    wait_for("another service", lambda: not process.is_running() and listens(socket), 60)
    before, graded = marks(site), other_work(site, tokens, place, full)
    supervisor = Supervisor(site.state)
    supervisor.stop(["hub"])
    try:
        wait_for("the trouble", lambda: "hub does not answer" in standing(site)["trouble"], GRADED)
        told = standing(site)
        assert told["tries"] == 1 and told["again"]
        assert marks(site) == before
        shown = site.leerlab("grade", COURSE, "--status")
        assert "The hub does not answer" in shown.stderr and "tried again at" in shown.stderr
    finally:
        supervisor.start_stopped()
    wait_for("the hub", lambda: hub_ready(site.site), 90)
    wait_for("jelmer's newest work to be graded", graded, GRADED)
    wait_for("the end of the run", lambda: ended(site), GRADED)
    assert standing(site)["trouble"] == "" and standing(site)["tries"] == 0


@pytest.mark.fault
def test_slurm_that_is_away_costs_no_mark_and_is_waited_for(
    site: Any, full: float, tokens: dict[str, str], place: Path
) -> None:
    wait_for("the end of the run", lambda: ended(site), GRADED)
    before = marks(site)
    supervisor = Supervisor(site.state)
    supervisor.stop(["slurmctld"])
    try:
        graded = other_work(site, tokens, place, full)
        wait_for("the trouble", lambda: standing(site)["trouble"], GRADED)
        assert marks(site) == before
    finally:
        supervisor.start_stopped()
    wait_for("jelmer's newest work to be graded", graded, GRADED)


@pytest.mark.fault
def test_a_course_whose_server_cannot_start_is_told_and_tried_again(
    site: Any, full: float, tokens: dict[str, str], place: Path
) -> None:
    wait_for("the end of the run", lambda: ended(site), GRADED)
    # It was started for this, and nobody has opened it.
    wait_for("the server to be left", lambda: server(site)["standing"] == "stopped", GRADED)
    folder = site.state.courses / COURSE
    aside = folder.with_name("aside")
    graded = other_work(site, tokens, place, full)
    folder.rename(aside)
    try:
        wait_for("the trouble", lambda: "could not be started" in standing(site)["trouble"], GRADED)
    finally:
        aside.rename(folder)
    wait_for("jelmer's newest work to be graded", graded, GRADED)


def test_an_operator_grades_a_class_and_stops_it(site: Any, full: float, tokens: dict[str, str], place: Path) -> None:
    wait_for("the end of the run", lambda: ended(site), GRADED)
    assert site.leerlab("grade", "geen-cursus", check=False).returncode == 2
    assert site.leerlab("grade", COURSE, "geen-opdracht", check=False).returncode == 2
    done = json.loads(site.leerlab("grade", COURSE, "--json").stdout)
    assert [(one["assignment"], one["by"], one["result"]["total"]) for one in done] == [(ASSIGNMENT, "operator", 0)]
    before = marks(site)
    hand_in(site, tokens["noor"], place / "work", right=True, more=LOOP)
    words = [sys.executable, "-m", "cli", "grade", COURSE, "--site", str(site.file)]
    environment = {**os.environ, "XDG_STATE_HOME": str(site.home)}
    command = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for("the run", lambda: standing(site)["stage"] == "grading", GRADED)
    command.send_signal(signal.SIGINT)
    _, said = command.communicate(timeout=GRADED)
    assert command.returncode == 1 and "Marks that were given so far stay" in said
    wait_for("the end of the run", lambda: ended(site), GRADED)
    assert standing(site)["result"]["cancelled"] and marks(site) == before
    # What was stopped begins again only when somebody asks for it, or hands in again.
    asked = json.loads(site.leerlab("grade", COURSE, ASSIGNMENT, "--no-wait", "--json").stdout)
    assert asked[0]["number"] == asked[0]["asked"] > asked[0]["answered"]
    wait_for("noor's loop to be graded", lambda: marks(site) != before, GRADED)


@pytest.mark.attack
@pytest.mark.parametrize("name", ["sanne", "docent"])
def test_no_person_begins_sees_or_stops_a_run(site: Any, full: float, tokens: dict[str, str], name: str) -> None:
    """The control is the same request with the token that only the site's account can read."""
    tried = [("POST", RUNS), ("GET", RUNS), ("DELETE", RUNS), ("GET", f"/class-runs/{COURSE}")]
    before = standing(site)["asked"]
    with service_of(site, tokens[name]) as service:
        assert {service.request(*one).status_code for one in tried} == {403}
    assert standing(site)["asked"] == before
    with service_of(site, secret(site.state, "grading-token")) as service:
        assert [service.request(*one).status_code for one in tried] == [202, 200, 200, 200]
    assert standing(site)["asked"] == before + 1


@pytest.mark.attack
def test_no_person_has_the_hub_start_a_courses_server_or_gets_its_token(
    site: Any, full: float, tokens: dict[str, str]
) -> None:
    """The control is the same request with the grading service's token."""
    address = f"{site.address}/hub/api/leerlab/courses/{COURSE}/server"
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(site.state.run / "hub.sock")), timeout=150) as hub:
        for name in ("sanne", "docent"):
            headers = {"Authorization": f"token {tokens[name]}"}
            said = {hub.request(method, address, headers=headers).status_code for method in ("GET", "POST", "DELETE")}
            assert said == {403}
        token = secret(site.state, "grading-token")
        assert hub.post(address, headers={"Authorization": f"token {token}"}).status_code == 200
    # From inside a wall, nobody gets even there.
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(site.state.run / "hub-api.sock")), timeout=150) as inner:
        assert inner.post(address, headers={"Authorization": f"token {token}"}).status_code == 404


@pytest.mark.attack
def test_the_token_that_one_courses_server_gets_opens_no_other(site: Any, full: float) -> None:
    """The control is the other course's own token."""
    own = {}
    for course in (COURSE, OTHER):
        wait_for(f"the server of {course}", lambda course=course: ready(site, course), GRADED)
        own[course] = server(site, "POST", course)["token"]

    def asked(course: str, token: str) -> int:
        headers = {"Host": f"course-{course}.{site.site.hub.host}", "Authorization": f"token {token}"}
        address = f"http://{site.site.hub.bind}:{site.site.hub.port}/user/course-{course}/formgrader/api/assignments"
        return httpx.get(address, headers=headers, timeout=60).status_code

    assert asked(OTHER, own[COURSE]) == 403
    assert asked(OTHER, own[OTHER]) == 200
    # Nor does it hand in, release or give feedback for its course.
    with service_of(site, own[COURSE]) as service:
        assert service.get("/exchange/courses").status_code == 403
    server(site, "DELETE", OTHER)


def ready(site: Any, course: str) -> bool:
    return bool(server(site, "POST", course)["standing"] == "ready")


def test_a_server_that_a_teacher_has_opened_is_left_to_them(site: Any, full: float) -> None:
    wait_for("the end of the run", lambda: ended(site), GRADED)
    wait_for("the server", lambda: ready(site, COURSE), GRADED)
    with closing(Visitor(site, "docent")) as teacher:
        page = f"http://course-{COURSE}.{site.site.hub.host}/user/course-{COURSE}/formgrader/manage_assignments"
        assert teacher.browser.get(page, follow_redirects=True).status_code == 200
        assert server(site, "DELETE")["standing"] == "ready"
