"""What is sent to the cluster twice under one key runs once: who comes back after a restart may send it again."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import nbformat
import pytest
from grading_class import executions
from grading_site import Site
from grading_trees import MEDIA, entry

pytestmark = [pytest.mark.integration, pytest.mark.fault]


def notebook() -> bytes:
    new = nbformat.v4
    return nbformat.writes(new.new_notebook(cells=[new.new_code_cell("1 + 1", id="cell-0000")])).encode()


def send(client: httpx.Client, key: str) -> str:
    content = notebook()
    listed = json.dumps({"files": [entry("0/notebook.ipynb", content)]}).encode() + b"\n" + content
    headers = {"Content-Type": MEDIA, **({"Idempotency-Key": key} if key else {})}
    answer = client.post("/executions", content=listed, headers=headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def test_one_key_is_one_execution_for_one_course(site: Site) -> None:
    with site.client(site.hub.token("course-alpha")) as alpha, site.client(site.hub.token("course-beta")) as beta:
        first = send(alpha, "run-0")
        assert send(alpha, "run-0") == first
        with ThreadPoolExecutor(4) as at_once:
            assert len(set(at_once.map(lambda _: send(alpha, "run-1"), range(4)))) == 1
        others = {
            first,
            send(alpha, "run-1"),
            send(alpha, "run-2"),
            send(beta, "run-0"),
            send(alpha, ""),
            send(alpha, ""),
        }
        assert len(others) == 6
        # What somebody else's key names is not to be had.
        assert beta.get(f"/executions/{first}").status_code == 404
        for client, execution in ((alpha, one) for one in others):
            client.delete(f"/executions/{execution}")
    assert executions(site) == [1] * 6


def test_a_try_that_was_cut_off_by_the_end_of_the_service_is_made_anew(site: Site) -> None:
    with site.client(site.hub.token("course-alpha")) as alpha:
        first = send(alpha, "run-0")
        folder = site.state.jobs / first
        (folder / "execution.json").unlink()
        assert send(alpha, "run-0") == first and (folder / "execution.json").exists()
        alpha.delete(f"/executions/{first}")
    assert executions(site) == [1, 1]
