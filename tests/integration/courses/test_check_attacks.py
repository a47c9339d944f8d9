"""A course that means harm: nothing of it leaves its wall, reads what is another's, or decides its own verdict."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from small_course import Checker, SmallCourse

from base import yaml_source
from base.errors import InputError
from catalogue.entries import entries
from confinement.settings import ConfinementSettings
from courses.catalogue import Course
from courses.toolkit import report as reports
from courses.toolkit import steps
from courses.toolkit.check import CourseReport, Wanted, check_course
from courses.toolkit.steps import Walls, bring_in
from courses.toolkit.watch import Allowance, TookTooMuch

pytestmark = [pytest.mark.integration, pytest.mark.attack, pytest.mark.timeout(200)]


def said(report: CourseReport, cell: str = "verken") -> str:
    """What a cell of the reference ended with."""
    (one,) = report.assignments
    found = [finding for finding in one.outcome.findings if finding.cell == cell]
    return "\n".join(finding.what("en") for finding in found)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the host beside the course."""
    file = tmp_path / "geheim.txt"
    file.write_text("wachtwoord-van-de-host")
    return file


def test_a_notebook_reads_nothing_of_the_host(check: Checker, course: SmallCourse, secret: Path) -> None:
    course.append("verken", f"print(open({str(secret)!r}).read())")
    assert "FileNotFoundError" in said(check(course.folder, "reference"))
    # The same cell outside every wall reads it.
    assert secret.read_text() == "wachtwoord-van-de-host"


@pytest.fixture
def listener() -> Iterator[tuple[int, list[bytes]]]:
    """A port of the host that notes who comes."""
    came: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(190)

        def take() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    came.append(connection.recv(64))

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield server.getsockname()[1], came


def test_a_notebook_reaches_no_network(check: Checker, course: SmallCourse, listener: tuple[int, list[bytes]]) -> None:
    port, came = listener
    call = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 5).sendall(b'hier')"
    course.append("verken", call)
    assert "needs the internet" in said(check(course.folder, "reference"))
    assert came == []
    # The control: the same call where there is no wall.
    with socket.create_connection(("127.0.0.1", port), 5) as direct:
        direct.sendall(b"hier")
    until = time.monotonic() + 60
    while not came and time.monotonic() < until:
        time.sleep(0.05)
    assert came == [b"hier"]


LOOKS_ROUND = """
import glob, pathlib
_found = [
    name for name in glob.glob('/home/nb/**/notebook.ipynb', recursive=True) if 'kwadraat(-4)' in open(name).read()
]
raise RuntimeError(f'saw {len(_found)} notebooks with hidden tests')
"""
WRITES_RESULTS = """
import pathlib
_written = 0
for _name in ('reference', 'reference-again', 'reference-real', 'untouched'):
    try:
        pathlib.Path('/home/nb/runs', _name, 'executed.ipynb').write_text('{}')
        _written += 1
    except OSError:
        pass
raise RuntimeError(f'wrote {_written} results')
"""


@pytest.mark.parametrize(
    ("payload", "held", "got"),
    [
        (LOOKS_ROUND, "saw 0 notebooks", "saw 2 notebooks"),
        (WRITES_RESULTS, "wrote 0 results", "wrote 2 results"),
    ],
    ids=["reads the tests of other cases", "fakes result files"],
)
@pytest.mark.slow
def test_a_case_sees_and_writes_its_own_folder_only(
    check: Checker, course: SmallCourse, walls: Walls, tmp_path: Path,
    payload: str, held: str, got: str,
) -> None:  # fmt: skip
    course.append("verken", payload)
    learners = ("reference", "untouched")
    assert held in said(check(course.folder, *learners))
    # The control: the same course, with everything but the narrowing of each case to its own folder.
    weak = _copy_of_lab(walls, tmp_path / "code")
    zygote = weak / "images/notebook/leerlab_lab/forked/zygote.py"
    text = zygote.read_text()
    call = "nested.fork(nest, tuple(pipes)) if order.walled else "
    assert call in text
    zygote.write_text(text.replace(call, ""))
    installation = replace(walls.installation, code=weak)
    weaker = replace(walls, installation=installation)
    report = check_course(
        course.folder, walls=weaker, entries=entries(), jobs=2, wanted=Wanted(learners=learners),
        progress=lambda *_: None,
    )  # fmt: skip
    assert got in said(report)


def _copy_of_lab(walls: Walls, place: Path) -> Path:
    shutil.copytree(
        walls.installation.code / "images" / "notebook", place / "images" / "notebook",
        ignore=shutil.ignore_patterns("__pycache__"),
    )  # fmt: skip
    return place


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BOMB, "course.yaml:1"),
        ("id: !!python/object/apply:os.system [touch /tmp/x]\n", "course.yaml:1"),
        ("id: " + "x" * (yaml_source.LARGEST_FILE + 1), "course.yaml"),
        ("[" * 5000, "course.yaml"),
    ],
    ids=["alias bomb", "tag", "huge", "deep"],
)
def test_a_hostile_description_is_refused_and_nothing_is_run(
    check: Checker, course: SmallCourse, text: str, why: str
) -> None:
    (course.folder / "course.yaml").write_text(text)
    report = check(course.folder, "reference")
    assert [finding.code for finding in report.findings] == ["course.unreadable"]
    assert why in report.findings[0].what("en")
    assert report.assignments == ()


def test_the_same_folder_with_an_honest_description_is_read(course: SmallCourse) -> None:
    assert Course.load(course.folder).description.id == "klein"
    (course.folder / "course.yaml").write_text(BOMB)
    with pytest.raises(InputError):
        Course.load(course.folder)


def test_a_link_in_a_course_brings_nothing_of_the_host_in(tmp_path: Path, secret: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "gegevens.csv").symlink_to(secret)
    (found,) = bring_in(source, tmp_path / "copy", "source/rekenen")
    assert found.code == "course.file"
    assert not (tmp_path / "copy").exists()
    # The control: a copy that follows links brings it in.
    assert (source / "gegevens.csv").read_text() == "wachtwoord-van-de-host"


SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.mark.slow
def test_what_a_course_says_is_no_markup_in_the_report(check: Checker, course: SmallCourse) -> None:
    course.described("{nl: Kwadraten, en: Squares}", json.dumps({"nl": SCRIPT, "en": SCRIPT}))
    course.append("verken", f"raise ValueError({SCRIPT!r} + chr(27) + '[2J')")
    report = check(course.folder, "reference")
    assert SCRIPT in said(report)
    for language in ("nl", "en"):
        page = reports.as_html([report], language)
        assert "<script" not in page and "<img" not in page and "&lt;script&gt;" in page
        assert "\x1b" not in str(reports.plain(said(report)))


GREEDY = {
    "memory": "import os\nfor _ in range(40):\n    if os.fork() == 0:\n        _x = bytearray(120 * 2**20)\n"
    "        import time\n        time.sleep(60)",
    "disk": "for _n in range(400):\n    open(f'vol{_n}', 'wb').write(bytes(2**20))\nprint('FULL')",
    "fork": "import os, time\ntry:\n    for _n in range(600):\n        if os.fork() == 0:\n            time.sleep(60)\n"
    "            os._exit(0)\nexcept OSError:\n    raise RuntimeError('too many') from None\n"
    "raise RuntimeError('MADE ALL')",
}


@pytest.mark.slow
def test_many_processes_that_each_eat_a_little_are_ended_together(check: Checker, course: SmallCourse) -> None:
    course.append("verken", GREEDY["memory"])
    report = check(course.folder, "reference", jobs=1, bounds={"memory": 2**30})
    assert "run: memory" in said(report, "")


@pytest.mark.slow
def test_without_the_watch_they_would_have_had_it_all(
    check: Checker, course: SmallCourse, monkeypatch: pytest.MonkeyPatch
) -> None:
    course.append("verken", GREEDY["memory"].replace("120", "80"))
    monkeypatch.setattr("courses.toolkit.watch.memory_below", lambda _process: 0)
    report = check(course.folder, "reference", jobs=1, bounds={"memory": 2**30})
    assert "run: memory" not in said(report, "")


@pytest.mark.slow
def test_a_fork_bomb_stops_at_the_wall_s_limit(check: Checker, course: SmallCourse, walls: Walls) -> None:
    course.append("verken", GREEDY["fork"])
    room = {"memory": 2**40}  # so that it is not the memory of all these processes that ends them
    refused = said(check(course.folder, "reference", bounds=room))
    assert "MADE ALL" not in refused and "too many" in refused
    # The control: the same wall with room for more processes.
    wider = replace(walls, confinement=ConfinementSettings(processes=2048))
    report = check_course(
        course.folder, walls=wider, entries=entries(), jobs=2, wanted=Wanted(learners=("reference",), bounds=room),
        progress=lambda *_: None,
    )  # fmt: skip
    assert "MADE ALL" in said(report)


@pytest.mark.slow
def test_gigabytes_on_the_disk_end_at_the_size_of_the_case_s_place(check: Checker, course: SmallCourse) -> None:
    course.append("verken", GREEDY["disk"].replace("400", "2000"))
    found = said(check(course.folder, "reference"))
    assert "No space left" in found or "came to no result" in found
    assert "FULL" not in found


def test_the_watch_ends_a_wall_that_fills_its_home(walls: Walls, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    wall = walls.step(home, "prepare")
    fill = "import time\nfor n in range(64):\n    open(f'/home/nb/{n}', 'wb').write(bytes(2**20))\ntime.sleep(100)"
    filling = replace(wall, command=("/usr/bin/python3", "-c", fill))
    with steps.start(filling) as walled, pytest.raises(TookTooMuch, match="disk"):
        steps.wait(walled, home, Allowance(90, 2**30, 8 * 2**20), lambda: None)
    with steps.start(filling) as walled, pytest.raises(TookTooMuch, match="time"):
        steps.wait(walled, home, Allowance(2, 2**30, 2**40), lambda: None)
