"""A course's server and labs, as JupyterHub would start them behind the wall: what answers and what is dead."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import httpx
import nbformat
import pytest
from grading_assignment import write_source
from grading_scripts import fetch_solve_and_submit
from grading_server import formgrader, hub_variables, served
from grading_site import Site, wait_until

from confinement.run import start
from confinement.settings import ConfinementSettings
from confinement.wall import Bind, Relay, Wall
from grading.plans import Role, exchange_relay, lab_environment, notebook_binds, seccomp_of

pytestmark = pytest.mark.integration

DEAD = [
    ("POST", "api/kernels"), ("GET", "api/kernels"), ("GET", "api/kernelspecs"), ("GET", "api/sessions"),
    ("POST", "api/sessions"), ("POST", "api/terminals"), ("GET", "api/terminals"), ("GET", "terminals/1"),
    ("GET", "terminals/websocket/1"), ("GET", "api/contents"), ("GET", "api/contents/gradebook.db"),
    ("PUT", "api/contents/x.txt"), ("GET", "files/gradebook.db"), ("GET", "view/gradebook.db"), ("GET", "lab"),
    ("GET", "tree"), ("GET", "nbconvert/html/source/week-1/kwadraten.ipynb"), ("GET", "api/nbconvert"), ("GET", "mcp"),
    ("GET", "lab/api/settings"), ("GET", "edit/nbgrader_config.py"), ("POST", "api/shutdown"), ("GET", "assignments"),
    ("GET", "api/config/x"), ("POST", "api/events"),
]  # fmt: skip


EVIL = "<script>window.fout = 1</script><img src=x onerror='fout()'>"


def hand_in(site: Site, name: str, answer: str) -> None:
    token = site.hub.token(name)
    cells = (
        nbformat.v4.new_markdown_cell(f"{EVIL} tekst", id="evil"),
        nbformat.v4.new_raw_cell(EVIL, id="raw", metadata={"raw_mimetype": "text/html"}),
    )
    fetch_solve_and_submit(site, name, token, answer, cells, {"evil.html": EVIL})


@pytest.mark.slow
def test_a_course_is_graded_with_formgrader_s_own_buttons_while_its_pages_answer(site: Site) -> None:
    write_source(site.state.courses / "alpha")
    with formgrader(site) as page:
        assert page.get("formgrader/manage_assignments").status_code == 200
        for action in ("assign", "release"):
            result = page.post(f"formgrader/api/assignment/week-1/{action}").json()
            assert result["success"], result
        hand_in(site, "anna", "import time\ntime.sleep(4)\ndef kwadraat(x):\n    return x * x\n")
        result = page.post("formgrader/api/assignment/week-1/collect").json()
        assert result["success"], result

        graded: list[httpx.Response] = []
        grading = threading.Thread(
            target=lambda: graded.append(page.post("formgrader/api/submission/week-1/anna/autograde"))
        )
        grading.start()
        wait_until(lambda: set(site.state.jobs.iterdir()) - {site.state.use})
        assert page.get("formgrader/api/status").json() == {"status": True}
        assert page.get("formgrader/api/assignments").json()[0]["status"] == "released"
        assert grading.is_alive(), "the pages answered only after the grading"
        grading.join(60)
        assert graded[0].json()["success"], graded[0].json()
        (submission,) = page.get("formgrader/api/submissions/week-1").json()
        assert submission["score"] == 3 and submission["autograded"]

        for action in ("generate_feedback", "release_feedback"):
            assert page.post(f"formgrader/api/assignment/week-1/anna/{action}").json()["success"]
        feedback = site.state.courses / "alpha" / "feedback" / "anna" / "week-1" / "kwadraten.html"
        assert "tekst" in feedback.read_text()
        assert "<script>window.fout" not in feedback.read_text() and "onerror" not in feedback.read_text()
        (notebook,) = page.get("formgrader/api/submitted_notebooks/week-1/kwadraten").json()
        shown = page.get(f"formgrader/submissions/{notebook['id']}/")
        assert shown.status_code == 200 and "tekst" in shown.text
        assert "<script>window.fout" not in shown.text and "onerror=" not in shown.text
        assert "default-src 'self'" in shown.headers["content-security-policy"]
        handed_in = page.get(f"formgrader/submissions/{notebook['id']}/evil.html")
        assert handed_in.status_code == 200
        assert handed_in.headers["content-security-policy"].startswith("sandbox;")
        assert handed_in.headers["content-disposition"] == "attachment"
        for path in ("formgrader/gradebook", "formgrader/manage_submissions/week-1", "formgrader/manage_students"):
            answer = page.get(path)
            assert answer.status_code == 200 and "/terminals/" not in answer.text
        # No script that a student wrote could run, and nothing of nbgrader's own pages is left.
        assert "script-src 'self';" in shown.headers["content-security-policy"]
        assert page.get("formgrader/static/js/utils.js").status_code == 404


@pytest.mark.attack
def test_nothing_but_formgrader_answers_in_a_course_s_server(site: Site) -> None:
    write_source(site.state.courses / "alpha")
    with formgrader(site) as page:
        assert page.get("formgrader/api/assignments").status_code == 200
        for method, path in DEAD:
            status = page.request(method, path).status_code
            assert status in {403, 404, 405}, (method, path, status)
        assert page.get("api/kernels").status_code == 404
        # Nobody without a token, nobody with a token for another server.
        stranger = {"Authorization": f"token {site.hub.token('anna')}"}
        assert page.get("formgrader/api/assignments", headers=stranger).status_code in {302, 403}
        assert page.get("formgrader/api/assignments", headers={"Authorization": ""}).status_code in {302, 403}
        # An address cannot make the server load settings from a student's folder.
        evil = site.state.courses / "alpha" / "submitted" / "anna" / "week-1"
        evil.mkdir(parents=True)
        (evil / "nbgrader_config.py").write_text("open('/home/nb/taken', 'w').close()\n")
        page.get("formgrader", params={"path": "/home/nb/submitted/anna/week-1"})
        page.get("formgrader/manage_assignments")
        assert not (site.state.courses / "alpha" / "taken").exists()


def test_the_same_requests_are_answered_in_an_ordinary_lab_where_nothing_is_switched_off(site: Site) -> None:
    """The positive control of the test before: the same payloads, without the course's server in front of them."""
    with served(site, lab_wall(site, Role.STUDENT), "anna", "anna") as page:
        asked = [(method, path) for method, path in DEAD if path != "api/shutdown"]
        answered = [path for method, path in asked if page.request(method, path).status_code < 400]
    assert {"api/kernels", "api/kernelspecs", "api/sessions", "api/contents", "lab"} <= set(answered)


def lab_wall(site: Site, role: Role, **variables: str) -> Wall:
    home = site.state.homes / "anna"
    home.mkdir(exist_ok=True)
    return Wall(
        command=("/opt/notebook/bin/python", "-m", "jupyterhub.singleuser"),
        home=home,
        seccomp=seccomp_of(site.state),
        binds=notebook_binds(site.installation, site.state),
        relays=(Relay(8081, f"unix:{site.state.run / 'hub-api.sock'}"), exchange_relay(site.state)),
        publish=8888,
        environment={**lab_environment(role), **variables},
        **ConfinementSettings().sizes(),
    )


PROBE = """
import json, socket, sys, time
until = time.monotonic() + float(sys.argv[1])
while True:
    with socket.socket() as probe:
        probe.settimeout(2)
        found = probe.connect_ex(("127.0.0.1", 3001))
    if found == 0 or time.monotonic() > until:
        break
    time.sleep(0.2)
print(json.dumps(found))
"""


def mcp_answers(site: Site, wall: Wall, seconds: int) -> tuple[bool, bool]:
    """Whether jupyter-server-mcp's port is open inside a running lab, and whether the server has it as an extension.

    Args:
        seconds: after the lab's start in which it may be opened.
    """
    folder = site.state.root / "probe"
    folder.mkdir(exist_ok=True)
    (folder / "lab.sh").write_text(
        "#!/bin/sh\n/opt/notebook/bin/python -m jupyterhub.singleuser 2>&1 | tee /tmp/log &\n"
        'for _ in $(seq 300); do grep -q "Jupyter Server .* is running" /tmp/log && break; sleep 0.2; done\n'
        f"/opt/notebook/bin/python /opt/probe/probe.py {seconds}\n"
    )
    (folder / "probe.py").write_text(PROBE)
    command = ("/bin/sh", "/opt/probe/lab.sh")
    wall = replace(wall, command=command, publish=None, binds=(*wall.binds, Bind(folder, Path("/opt/probe"))))
    wall = replace(wall, environment={**wall.environment, **hub_variables("anna", site.hub.token("anna"))})
    (site.state.run / "hub-api.sock").unlink(missing_ok=True)
    (site.state.run / "hub-api.sock").symlink_to(site.state.run / "hub.sock")
    with start(wall) as walled:
        walled.wait(110)
        output = walled.output.decode(errors="replace")
    assert "Jupyter Server" in output and "is running" in output, output
    last = output.strip().splitlines()[-1]
    return last == "0", "jupyter_server_mcp | extension was successfully loaded" in output


@pytest.mark.attack
def test_no_mcp_server_listens_in_a_lab(site: Site) -> None:
    assert mcp_answers(site, lab_wall(site, Role.STUDENT), 5) == (False, False)


@pytest.mark.attack
def test_without_leerlab_s_settings_an_mcp_server_listens_in_every_lab(site: Site) -> None:
    """The positive control: the same lab without the settings."""
    assert mcp_answers(site, lab_wall(site, Role.STUDENT, JUPYTER_CONFIG_PATH=""), 40) == (True, True)


def test_each_role_has_the_buttons_that_it_needs(site: Site) -> None:
    found = {}
    for role in Role:
        with served(site, lab_wall(site, role), "anna", "anna") as page:
            found[role] = page.get("courses").status_code, page.get("formgrader").status_code
            disabled = page.get("lab").text
            assert "@jupyter/nbgrader:formgrader" in disabled and "jupyterlab-chat-extension" in disabled
            assert "apputils-extension:announcements" in disabled
            # What was typed is handed in, also by who never saves.
            saving = page.get("lab/api/settings/@jupyterlab/docmanager-extension:plugin").json()["schema"]["properties"]
            assert saving["autosaveInterval"]["default"] == 10
            assert page.post("api/terminals").status_code == 200
    assert found == {Role.STUDENT: (200, 404), Role.TEACHER: (200, 404), Role.PLAIN: (404, 404)}
