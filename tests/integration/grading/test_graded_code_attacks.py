"""What graded code can do: to the site, to its own marks, and to the marks of others."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from grading_assignment import solve, write_source
from grading_scripts import API, LAB
from grading_site import Site, last_json, wait_until
from grading_slurm import RunningSlurm
from grading_trees import MEDIA, entry

pytestmark = [pytest.mark.integration, pytest.mark.attack]

GOOD = "def kwadraat(x):\n    return x * x\n"
ANSWERS = {
    "goed": GOOD,
    "lus": "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True:\n    pass\n",
    "einde": "import os\nos._exit(0)\n",
    "geheugen": "import time\nvol = b'x' * 2**30\ntime.sleep(30)\n" + GOOD,
    # Marks by nbgrader's own rule: a result that is shown before the error would count as points.
    "toont": "def kwadraat(x):\n    get_ipython().displayhook(2.0)\n    return 0\n",
    # So many that what the test says after them is past all that is kept.
    "overstemt": (
        "def kwadraat(x):\n    for number in range(500):\n        get_ipython().displayhook(1 - number / 10**6)\n"
        "    return 0\n"
    ),
    "groot": (
        "from IPython.display import HTML, display\n"
        "display(HTML('<script>fout()</script><b onclick=\"fout()\">ja</b>'))\n"
        "print('x' * 3 * 10**7)\n" + GOOD
    ),
    # Cells with other sources and points than were sent, and then no chance for the real result.
    "vervalst": (
        "import json, os, signal\nnotebook = json.load(open('/home/nb/notebook.ipynb'))\n"
        "for cell in notebook['cells']:\n"
        "    cell.update(source='1', execution_count=1, outputs=[], metadata={'nbgrader': {'points': 100}})\n"
        "json.dump(notebook, open('/home/nb/executed.ipynb', 'w'))\nos.kill(os.getppid(), signal.SIGKILL)\n"
    ),
    "link": (
        "import os, signal\nos.symlink('/etc/passwd', '/home/nb/x')\n"
        "os.rename('/home/nb/x', '/home/nb/executed.ipynb')\n"
        "os.kill(os.getppid(), signal.SIGKILL)\n"
    ),
}
MARKS = {
    "goed": 3, "lus": 0, "einde": 0, "geheugen": 0, "toont": 0, "overstemt": 0, "groot": 3, "vervalst": 0, "link": 0,
}  # fmt: skip


@pytest.mark.timeout(300)
def test_no_answer_breaks_the_grading_of_others_or_wins_marks_that_it_does_not_deserve(
    released_site: Site,
) -> None:
    site, course = released_site, released_site.state.courses / "alpha"
    for name, answer in ANSWERS.items():
        site.hub.groups[name] = ["nbgrader-alpha"]
        work = site.state.homes / name
        work.mkdir()
        incoming = site.store.incoming_copy(site.store.release_of("alpha", "week-1").files)
        solve(incoming.folder / "files" / "kwadraten.ipynb", answer)
        # The description was of the file before: make it anew, as the service would on receiving this file.
        again = site.store.incoming_copy(incoming.folder / "files")
        incoming.give_up()
        site.store.submit("alpha", "week-1", name, again)
    said = site.course(
        "alpha",
        API
        + f"""
import concurrent.futures
act("collect")
marks = {{}}
for name in {sorted(ANSWERS)!r}:
    act("autograde", name)
act("generate_feedback")
for s in api.get_submissions("week-1"):
    marks[s["student"]] = s["score"]
print(json.dumps(marks))
""",
    )
    assert last_json(said) == MARKS
    text = {name: (course / "autograded" / name / "week-1" / "kwadraten.ipynb").read_text() for name in ANSWERS}
    assert "This cell was stopped, because it took longer than" in text["lus"]
    assert "Python ended while this cell ran." in text["einde"]
    assert "MemoryError" in text["geheugen"]
    shown = json.dumps([cell.get("outputs") for cell in _cells(text["groot"])])
    assert "<b>ja</b>" in shown and "<script" not in shown and "onclick" not in shown
    assert len(text["groot"]) < 3 * 2**20
    assert "root:x:0" not in text["link"]
    points = [
        cell.metadata["nbgrader"].get("points") for cell in _cells(text["vervalst"]) if "nbgrader" in cell.metadata
    ]
    assert points == [None, 1, 2]
    page = (course / "feedback" / "geheugen" / "week-1" / "kwadraten.html").read_text()
    assert "MemoryError" in page


def _cells(text: str) -> list[nbformat.NotebookNode]:
    cells: list[nbformat.NotebookNode] = nbformat.reads(text, as_version=4).cells
    return cells


PROBES = """
import os, socket
def seen(what):
    try:
        return bool(what())
    except OSError:
        return False
def connects(family, address):
    with socket.socket(family) as one:
        one.settimeout(2)
        return one.connect_ex(address) == 0
found = {
    "gradebook": seen(lambda: open(GRADEBOOK, "rb").read()),
    "source": seen(lambda: open(SOURCE, "rb").read()),
    "submissions": seen(lambda: os.listdir(SUBMISSIONS)),
    "service": seen(lambda: connects(socket.AF_UNIX, SERVICE)),
    "munge": seen(lambda: connects(socket.AF_UNIX, MUNGE)),
    "network": seen(lambda: connects(socket.AF_INET, ("127.0.0.1", PORT))),
    "environment": "LEERLAB_JOB" in os.environ or "JUPYTERHUB_API_TOKEN" in os.environ,
    "write": seen(lambda: open(WRITE, "w")),
}
print(found)
"""


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def probe_notebook(site: Site, slurm: RunningSlurm, port: int) -> nbformat.NotebookNode:
    course = site.state.courses / "alpha"
    source = write_source(course) / "kwadraten.ipynb"
    (course / "gradebook.db").write_text("cijfers")
    incoming = site.store.incoming_copy(source.parent)
    site.store.release("alpha", "week-1", incoming, by="course-alpha")
    site.store.submit("alpha", "week-1", "bram", site.store.incoming_copy(source.parent))
    values = {
        "GRADEBOOK": str(course / "gradebook.db"),
        "SOURCE": str(source),
        "SUBMISSIONS": str(site.state.exchange / "alpha" / "submissions" / "week-1"),
        "SERVICE": str(site.service.socket),
        "MUNGE": str(slurm.conf.parent.parent / "run" / "munge.sock"),
        "PORT": port,
        "WRITE": str(site.state.root / "geschreven"),
    }
    code = "\n".join(f"{name} = {value!r}" for name, value in values.items()) + PROBES
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code, id="probe")])


def test_graded_code_reaches_nothing_of_the_site(site: Site, slurm: RunningSlurm, listener: int) -> None:
    notebook = nbformat.writes(probe_notebook(site, slurm, listener)).encode()
    with site.client(site.hub.token("course-alpha")) as client:
        head = json.dumps({"files": [entry("0/notebook.ipynb", notebook)]}).encode() + b"\n"
        started = client.post("/executions", content=head + notebook, headers={"Content-Type": MEDIA}).json()
        place = f"/executions/{started['id']}"
        with site.client(site.hub.token("course-beta")) as other:
            for answer in (other.get(place), other.delete(place), other.get(f"{place}/0")):
                assert answer.status_code == 404
        standing = wait_until(lambda: _ended(client.get(f"{place}?seconds=5", timeout=30).json()), 60)
        assert standing["outcomes"] == {"0": "done"}
        executed = nbformat.reads(client.get(f"{place}/0").text, as_version=4)
        assert client.delete(place).json()["cancelled"] is False
        assert client.get(place).status_code == 404
    found = eval(executed.cells[0].outputs[0].text)
    assert set(found.values()) == {False}, found
    assert not (site.state.root / "geschreven").exists()


def _ended(standing: dict[str, object]) -> dict[str, object] | None:
    return standing if standing["state"] == "ended" else None


def test_without_the_wall_the_same_code_reaches_everything(
    site: Site, slurm: RunningSlurm, listener: int, tmp_path: Path
) -> None:
    """The positive control: the same notebook, run by the same program, without the wall."""
    nbformat.write(probe_notebook(site, slurm, listener), tmp_path / "notebook.ipynb")
    subprocess.run(
        [
            str(site.installation.notebook_env / "bin" / "python"), "-m", "leerlab_lab.execute",
            str(tmp_path / "notebook.ipynb"), str(tmp_path / "executed.ipynb"), "--cell-time", "20",
        ],
        env={
            **os.environ, "PYTHONPATH": str(site.installation.code / "images" / "notebook"), "LEERLAB_JOB": "{}",
            "HOME": str(tmp_path), "IPYTHONDIR": str(tmp_path / "ipython"),
        },
        check=True, timeout=60, cwd=tmp_path,
    )  # fmt: skip
    executed = nbformat.read(tmp_path / "executed.ipynb", as_version=4)
    found = eval(executed.cells[0].outputs[0].text)
    assert set(found.values()) == {True}, found


def test_a_student_s_lab_has_no_way_to_the_hidden_tests(released_site: Site) -> None:
    site = released_site
    said = site.lab(
        "anna",
        site.hub.token("anna"),
        LAB
        + """
import pathlib, subprocess
print(lister.fetch_assignment("alpha", "week-1"))
places = ["/home", "/opt/leerlab", "/srv", "/tmp"]
print(subprocess.run(["grep", "-rsl", "geheim_getal", *places], capture_output=True, text=True).stdout)
""",
    )
    assert "geheim_getal" not in said and ".ipynb" not in said
