"""The way of an assignment through the exchange with nbgrader's own buttons and commands, behind real walls."""

from __future__ import annotations

import json

import pytest
from grading_assignment import solve, write_source
from grading_site import Site, last_json

pytestmark = pytest.mark.integration

RELEASE = """
import json
from nbgrader.apps import NbGraderAPI
from nbgrader.apps.baseapp import NbGrader
app = NbGrader(); app.initialize([])
api = NbGraderAPI(app.coursedir, app.authenticator, parent=app)
assert not api.exchange_missing, "formgrader would say that there is no exchange"
for action in (api.generate_assignment, api.release_assignment):
    result = action("week-1")
    assert result["success"], result
print(json.dumps(api.get_assignment("week-1")))
"""
LAB = """
import json, sys
from nbgrader.server_extensions.assignment_list.handlers import AssignmentList
lister = AssignmentList(); lister.root_dir = "/home/nb"
"""
COLLECT = """
import json
from nbgrader.apps import NbGraderAPI
from nbgrader.apps.baseapp import NbGrader
app = NbGrader(); app.initialize([])
api = NbGraderAPI(app.coursedir, app.authenticator, parent=app)
result = api.collect("week-1")
assert result["success"], result
print(json.dumps(sorted(api.get_submitted_students("week-1"))))
"""


def test_an_assignment_travels_with_the_buttons_of_the_lab_and_of_formgrader(site: Site) -> None:
    course = site.state.courses / "alpha"
    write_source(course)
    assert last_json(site.course("alpha", RELEASE))["status"] == "released"

    token = site.hub.token("anna")
    listed = last_json(site.lab("anna", token, LAB + 'print(json.dumps(lister.list_assignments("alpha")))'))
    assert listed["success"]
    assert [(item["course_id"], item["assignment_id"], item["status"]) for item in listed["value"]] == [
        ("alpha", "week-1", "released")
    ]

    fetched = last_json(
        site.lab(
            "anna",
            token,
            LAB + 'print(json.dumps([lister.fetch_assignment("alpha", "week-1"), lister.list_courses(),'
            ' lister.list_assignments("alpha")]))',
        )
    )
    assert fetched[0] == {"success": True} and fetched[1] == {"success": True, "value": ["alpha"]}
    assert fetched[2]["value"][0]["status"] == "fetched"
    assert fetched[2]["value"][0]["path"] == "alpha/week-1"
    work = site.state.homes / "anna" / "alpha" / "week-1"
    text = (work / "kwadraten.ipynb").read_text()
    assert "geheim_getal" not in text and "x * x" not in text
    assert (work / "gegevens.csv").read_text() == "a,b\n1,2\n"

    solve(work / "kwadraten.ipynb", "def kwadraat(x):\n    return x * x\n")
    submitted = last_json(
        site.lab(
            "anna",
            token,
            LAB + 'print(json.dumps([lister.submit_assignment("alpha", "week-1"), lister.list_assignments("alpha")]))',
        )
    )
    assert submitted[0] == {"success": True}
    mine = submitted[1]["value"][1]
    assert mine["status"] == "submitted" and mine["student_id"] == "anna" and len(mine["submissions"]) == 1
    receipts = list((work / "receipts").glob("*.json"))
    assert len(receipts) == 1
    receipt = json.loads(receipts[0].read_text())
    assert receipt["timestamp"] == mine["submissions"][0]["timestamp"] and receipt["student"] == "anna"

    assert last_json(site.course("alpha", COLLECT)) == ["anna"]
    collected = course / "submitted" / "anna" / "week-1"
    assert (collected / "timestamp.txt").read_text() == receipt["timestamp"]
    assert (collected / "kwadraten.ipynb").read_bytes() == (work / "kwadraten.ipynb").read_bytes()
    assert not (collected / "receipts").exists()
    assert [action for _, action, _, _ in site.recorded] == [
        "exchange.release",
        "exchange.fetch",
        "exchange.submit",
        "exchange.collect",
    ]


# The way itself is shown above, the commands fetch_assignment and submit below: this adds only what `list` prints.
@pytest.mark.slow
def test_the_commands_of_nbgrader_work_in_a_terminal(released_site: Site) -> None:
    site = released_site
    script = """
import subprocess
def run(*words):
    return subprocess.run(["nbgrader", *words], check=True, cwd="/home/nb", capture_output=True, text=True).stderr
said = run("list") + run("fetch_assignment", "week-1", "--course", "alpha")
said += run("submit", "week-1", "--course", "alpha") + run("list", "--cached", "--course", "alpha")
print(said)
"""
    said = site.lab("bram", site.hub.token("bram"), script)
    assert "alpha week-1" in said
    assert "Submitted as: alpha week-1" in said and "Receipt:" in said
    assert "alpha bram week-1" in said and "(no feedback available)" in said


def test_links_stay_behind_when_a_student_hands_in(released_site: Site) -> None:
    site = released_site
    script = """
import os, subprocess
os.chdir("/home/nb")
subprocess.run(["nbgrader", "fetch_assignment", "week-1", "--course", "alpha"], check=True, capture_output=True)
os.symlink("/etc/passwd", "alpha/week-1/wachtwoorden.txt")
os.mkfifo("alpha/week-1/pijp")
said = subprocess.run(["nbgrader", "submit", "week-1", "--course", "alpha"], check=True, capture_output=True, text=True)
print(said.stderr)
"""
    said = site.lab("bram", site.hub.token("bram"), script)
    assert "Left out, because it is a link or a special file: wachtwoorden.txt" in said
    assert "Left out, because it is a link or a special file: pijp" in said
    (deposit,) = site.store.submissions("alpha", "week-1", "bram")
    assert {entry.path for entry in deposit.manifest.files} == {"kwadraten.ipynb", "gegevens.csv"}
