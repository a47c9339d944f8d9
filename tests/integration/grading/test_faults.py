"""Faults: what is on its way when something breaks is either kept completely or not at all, and the person is told."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import nbformat
import pytest
from grading_scripts import API, LAB
from grading_site import COURSES, HUB_ID, PROFILE, Site, last_json, wait_until
from grading_slurm import RunningSlurm
from grading_trees import MEDIA, NOTEBOOK, entry, tree

from grading.configuration import ServiceConfiguration
from grading.settings import GradingSettings

pytestmark = [pytest.mark.integration, pytest.mark.fault]

WEEK = "/exchange/courses/alpha/assignments/week-1"
HEADERS = {"Content-Type": MEDIA}


@pytest.fixture
def released(site: Site) -> Site:
    with site.client(site.hub.token("course-alpha")) as client:
        assert client.put(WEEK, content=NOTEBOOK, headers=HEADERS).status_code == 200
    return site


def cut_upload(path: Path, token: str) -> None:
    """Begin to hand in, and drop the connection halfway."""
    head = f"POST {WEEK}/submissions HTTP/1.1\r\nHost: x\r\nAuthorization: token {token}\r\n"
    content = json.dumps({"files": [entry("werk.ipynb", b"x" * 10**6)]}).encode() + b"\n"
    head += f"Content-Type: {MEDIA}\r\nContent-Length: {len(content) + 10**6}\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(head.encode() + content + b"x" * 400_000)
        time.sleep(0.3)  # the bytes are on their way through the service


def test_a_connection_that_is_cut_leaves_nothing_and_the_next_try_succeeds(released: Site) -> None:
    token = released.hub.token("anna")
    cut_upload(released.service.socket, token)
    incoming = released.state.exchange / "incoming" / "service"
    wait_until(lambda: not list(incoming.iterdir()))
    assert released.store.submissions("alpha") == []
    with released.client(token) as client:
        assert client.post(f"{WEEK}/submissions", content=NOTEBOOK, headers=HEADERS).status_code == 201


def test_a_hub_that_is_down_refuses_everybody_and_loses_nothing(released: Site) -> None:
    assert released.hub.server is not None
    token = released.hub.token("anna")
    released.hub.server.stop()
    with released.client(token) as client:
        answer = client.post(f"{WEEK}/submissions", content=NOTEBOOK, headers=HEADERS)
        assert answer.status_code == 503 and "Try again" in answer.json()["do"]
        assert released.store.submissions("alpha") == []
        released.hub.server.start()
        assert client.post(f"{WEEK}/submissions", content=NOTEBOOK, headers=HEADERS).status_code == 201


def test_what_a_student_has_done_is_kept_when_the_service_is_away(released: Site) -> None:
    token = released.hub.token("anna")
    released.lab("anna", token, LAB + 'assert lister.fetch_assignment("alpha", "week-1")["success"]')
    released.service.stop()
    said = released.lab(
        "anna",
        token,
        LAB + 'result = lister.submit_assignment("alpha", "week-1")\nprint(json.dumps(result))',
    )
    result = last_json(said)
    assert not result["success"]
    assert "does not answer. Your files here are safe and nothing was changed." in result["value"]
    assert (released.state.homes / "anna" / "alpha" / "week-1" / "werk.ipynb").exists()
    assert not (released.state.homes / "anna" / "alpha" / "week-1" / "receipts").exists()


@contextmanager
def service_process(site: Site, slurm: RunningSlurm, within: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """The service as `up` starts it: a process of its own, with its ledger.

    Args:
        within: a command that runs it, such as one that gives it another file system.
    """
    (site.state.secrets / "ledger-key").write_text("0" * 64)
    configuration = ServiceConfiguration(
        state=site.state.root,
        hub_id=HUB_ID,
        hub=f"unix:{site.state.run / 'hub.sock'}",
        token_file=site.state.secrets / "grading-token",
        courses=COURSES,
        grading=GradingSettings(profile="graded"),
        profile=PROFILE,
        slurm_conf=slurm.conf,
        ledger=f"sqlite:///{site.state.ledger}",
        ledger_key=site.state.secrets / "ledger-key",
    )
    file = site.state.generated / "grading.json"
    file.write_text(configuration.model_dump_json())
    with (site.state.logs / "grading.log").open("ab") as log:
        process = subprocess.Popen(
            [*within, sys.executable, "-m", "grading"],
            env={**os.environ, "LEERLAB_GRADING": str(file)},
            stdout=log,
            stderr=log,
        )

    def up() -> bool:
        assert process.poll() is None, (site.state.logs / "grading.log").read_text()
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(site.service.socket)) == 0

    wait_until(up)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


# httpx leaves the socket of a connection that was refused to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_service_that_is_killed_while_students_hand_in_keeps_what_it_gave_a_receipt_for(
    released: Site, slurm: RunningSlurm
) -> None:
    released.service.stop()
    receipts: list[dict[str, str]] = []
    token = released.hub.token("anna")
    numbers = itertools.count()

    def hand_in() -> None:
        with released.client(token) as client:
            while True:
                content = str(next(numbers)).encode()  # the same files again would be the same hand-in
                data = tree(entry("werk.ipynb", content), content=content)
                try:
                    answer = client.post(f"{WEEK}/submissions", content=data, headers=HEADERS)
                except httpx.TransportError:
                    return
                receipts.append(answer.json())

    with service_process(released, slurm) as process:
        threads = [threading.Thread(target=hand_in) for _ in range(3)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(receipts) >= 5)
        os.kill(process.pid, signal.SIGKILL)
        for thread in threads:
            thread.join(60)
    with service_process(released, slurm):
        kept = released.store.submissions("alpha", "week-1", "anna")
        stamps = {deposit.manifest.stamp for deposit in kept}
        assert {receipt["submission"] for receipt in receipts} <= stamps
        for deposit in kept:
            assert (deposit.files / "werk.ipynb").read_bytes().isdigit()
        incoming = released.state.exchange / "incoming" / "service"
        assert not incoming.exists() or not list(incoming.iterdir())
        with released.client(token) as client:
            assert client.post(f"{WEEK}/submissions", content=NOTEBOOK, headers=HEADERS).status_code == 201


@pytest.mark.slow
def test_a_job_that_is_cancelled_gives_no_marks_and_can_be_graded_again(
    released_site: Site, slurm: RunningSlurm
) -> None:
    site = released_site
    for name, answer in (("anna", "import time\ntime.sleep(4)\n"), ("bram", "")):
        incoming = site.store.incoming_copy(site.store.release_of("alpha", "week-1").files)
        notebook = incoming.folder / "files" / "kwadraten.ipynb"
        read = nbformat.read(notebook, as_version=4)
        read.cells[1].source = answer + "def kwadraat(x):\n    return x * x\n"
        nbformat.write(read, notebook)
        again = site.store.incoming_copy(incoming.folder / "files")
        incoming.give_up()
        site.store.submit("alpha", "week-1", name, again)

    def cancel() -> None:
        job = wait_until(lambda: slurm.ask("squeue", "--noheader", "--states=R", "--format=%i").split(), 60)
        time.sleep(1.5)
        slurm.ask("scancel", *job)

    cancelling = threading.Thread(target=cancel)
    cancelling.start()
    grade = """
result = api.autograde("week-1", {name!r})
said = str(result.get("error")) + str(result.get("log"))
score = [s["score"] for s in api.get_submissions("week-1") if s["student"] == {name!r}]
print(json.dumps([result["success"], said, score]))
"""
    success, said, _ = last_json(site.course("alpha", API + "act('collect')" + grade.format(name="anna")))
    cancelling.join(10)
    assert not success and "The notebook's job was cancelled." in said
    both = API + grade.format(name="bram") + grade.format(name="anna")
    output = site.course("alpha", both).strip().splitlines()
    assert [json.loads(line)[0] for line in output[-2:]] == [True, True]
    assert [json.loads(line)[2] for line in output[-2:]] == [[3], [3]]


def test_a_slurm_that_is_away_refuses_an_execution_and_says_so(site: Site, slurm: RunningSlurm) -> None:
    slurm.stop("slurmctld")
    try:
        with site.client(site.hub.token("course-alpha")) as client:
            answer = client.post(
                "/executions",
                content=json.dumps({"files": [entry("0/notebook.ipynb")]}).encode() + b"\nx",
                headers=HEADERS,
                timeout=60,
            )
        assert answer.status_code == 503 and "cluster" in answer.json()["what"]
        assert [folder.name for folder in site.state.jobs.iterdir()] == ["use"]
    finally:
        slurm.start("slurmctld")
        wait_until(lambda: slurm.ask("sinfo", "-h", "-t", "idle", "-o", "%N").strip())


def test_executions_that_nobody_took_away_go_after_days_unless_their_job_lives(site: Site, slurm: RunningSlurm) -> None:
    with site.client(site.hub.token("course-alpha")) as client:
        notebook = nbformat.writes(
            nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import time; time.sleep(60)")])
        ).encode()
        head = json.dumps({"files": [entry("0/notebook.ipynb", notebook)]}).encode() + b"\n"
        running = client.post("/executions", content=head + notebook, headers=HEADERS, timeout=60).json()["id"]
        jobs = site.state.jobs
        over, unfinished, recent = jobs / ("0" * 24), jobs / ("1" * 24), jobs / ("2" * 24)
        shutil.copytree(jobs / running, over)
        asked = json.loads((over / "execution.json").read_text())
        (over / "execution.json").write_text(json.dumps({**asked, "id": over.name, "job": 9_999_999}))
        unfinished.mkdir()
        recent.mkdir()
        long_ago = time.time() - 30 * 24 * 3600
        for folder in (jobs / running, over, unfinished):
            os.utime(folder, (long_ago, long_ago))
        site.service.stop()
        site.service.start()
        wait_until(lambda: not over.exists() and not unfinished.exists(), 40)
        assert (jobs / running).is_dir() and recent.is_dir()
        # Control: once its job has ended, the same folder goes too.
        slurm.ask("scancel", "--name=grading")
        wait_until(lambda: client.get(f"/executions/{running}", timeout=30).json()["state"] == "ended", 40)
        os.utime(jobs / running, (long_ago, long_ago))
        site.service.stop()
        site.service.start()
        wait_until(lambda: not (jobs / running).exists(), 40)
