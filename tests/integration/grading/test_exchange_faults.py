"""Faults of the exchange on real file systems: a hand-in, or a rule, is there completely or not at all."""

from __future__ import annotations

import json
import os
import signal
import socket
from datetime import datetime

import httpx
import pytest
from grading_site import Site, wait_until
from grading_slurm import RunningSlurm
from grading_trees import MEDIA, NOTEBOOK, entry, tree
from test_faults import WEEK, service_process

pytestmark = [pytest.mark.integration, pytest.mark.fault]

HEADERS = {"Content-Type": MEDIA}
COURSE = "/exchange/courses/alpha"
DUE = "2099-01-01T00:00:00+00:00"


def small_disk(site: Site, kibibytes: int) -> tuple[str, ...]:
    """Runs a command that sees the exchange on a file system of its own, of this size: a real one, in memory."""
    mount = f'mount -t tmpfs -o size={kibibytes}k tmpfs "{site.state.exchange}" && exec "$@"'
    return ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh")


def work(number: int, size: int) -> bytes:
    content = bytes([number]) * size
    return tree(entry("werk.ipynb", content), content=content)


def test_a_disk_that_is_really_full_keeps_nothing_of_a_hand_in_and_all_of_those_before(
    site: Site, slurm: RunningSlurm
) -> None:
    site.service.stop()
    with (
        service_process(site, slurm, small_disk(site, 1024)),
        site.client(site.hub.token("course-alpha")) as course,
        site.client(site.hub.token("anna")) as anna,
    ):
        assert course.put(WEEK, content=NOTEBOOK, headers=HEADERS).status_code == 200
        assert course.put(f"{WEEK}/terms", json={"by": "docent", "due": DUE}).status_code == 200

        def hand_in(number: int, size: int) -> httpx.Response:
            return anna.post(f"{WEEK}/submissions", content=work(number, size), headers=HEADERS)

        kept = [hand_in(1, 100_000).json()]
        for number in range(2, 60):
            answer = hand_in(number, 100_000)
            if answer.status_code != 201:
                break
            kept.append(answer.json())
        assert answer.status_code == 507 and answer.json()["code"] == "grading.disk_full"
        assert "safe" in answer.json()["means"] and 1 < len(kept) < 12
        # Down to the last block: nothing more, of hand-ins and of rules.
        for size in (50_000, 20_000, 8_000, 4_096):
            number = 100 + size // 4096
            while (answer := hand_in(number, size)).status_code == 201:
                kept.append(answer.json())
                number += 1
            assert answer.status_code == 507
        due = DUE
        for day in range(2, 29):
            later = f"2099-01-{day:02}T00:00:00+00:00"
            refused = course.put(f"{WEEK}/terms", json={"by": "docent", "due": later})
            if refused.status_code != 200:
                break
            due = later
        assert refused.status_code == 507
        now = course.get(f"{COURSE}/terms").json()["assignments"]["week-1"]["due"]
        assert datetime.fromisoformat(now) == datetime.fromisoformat(due)
        listed = anna.get("/exchange/submissions?course=alpha").json()
        assert [one["submission"] for one in listed] == [one["submission"] for one in kept]
        for one in listed:
            body = anna.get(f"{WEEK}/submissions/anna/{one['submission']}").content
            head, _, content = body.partition(b"\n")
            assert len(content) == json.loads(head)["files"][0]["size"] == one["size"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_service_that_ends_in_the_middle_of_an_upload_keeps_nothing_of_it(
    site: Site, slurm: RunningSlurm, how: signal.Signals
) -> None:
    site.service.stop()
    token = site.hub.token("anna")
    data = work(7, 2_000_000)
    incoming = site.state.exchange / "incoming" / "service"
    with service_process(site, slurm) as process:
        with site.client(site.hub.token("course-alpha")) as course:
            assert course.put(WEEK, content=NOTEBOOK, headers=HEADERS).status_code == 200
        head = (
            f"POST {WEEK}/submissions HTTP/1.1\r\nHost: x\r\nAuthorization: token {token}\r\nContent-Type: {MEDIA}\r\n"
        )
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(site.service.socket))
            connection.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data[:1_000_000])
            wait_until(lambda: sum(file.stat().st_size for file in incoming.rglob("werk.ipynb")) > 500_000)
            os.kill(process.pid, how)
            process.wait(60)
    assert site.store.submissions("alpha") == []
    with service_process(site, slurm), site.client(token) as anna:
        assert not incoming.exists() or not list(incoming.iterdir())
        assert anna.get("/exchange/submissions?course=alpha").json() == []
        answer = anna.post(f"{WEEK}/submissions", content=data, headers=HEADERS)
        assert answer.status_code == 201 and answer.json()["attempt"] == 1
        (kept,) = site.store.submissions("alpha", "week-1", "anna")
        assert (kept.files / "werk.ipynb").stat().st_size == 2_000_000


def test_a_service_that_is_killed_while_rules_change_keeps_what_it_answered(site: Site, slurm: RunningSlurm) -> None:
    site.service.stop()
    with service_process(site, slurm) as process, site.client(site.hub.token("course-alpha")) as course:
        answered = 0
        for day in range(1, 29):
            content = {"by": "docent", "due": f"2099-01-{day:02}T00:00:00+00:00"}
            assert course.put(f"{WEEK}/terms", json=content).status_code == 200
            answered = day
            if day == 20:
                break
        os.kill(process.pid, signal.SIGKILL)
        process.wait(60)
    with service_process(site, slurm), site.client(site.hub.token("docent")) as docent:
        due = docent.get(f"{COURSE}/terms").json()["assignments"]["week-1"]["due"]
        assert due.startswith(f"2099-01-{answered:02}")
    assert len(list((site.state.exchange / "alpha" / "terms").glob("[!.]*"))) == answered
