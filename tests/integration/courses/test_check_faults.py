"""What a check says and leaves behind when something breaks on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_course import Checker, SmallCourse

from base.errors import LeerlabError
from courses.toolkit.watch import memory_below

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.timeout(120)]

CODE = Path(__file__).resolve().parents[3]


def codes(report: object) -> set[tuple[str, str]]:
    (one,) = report.assignments  # type: ignore[attr-defined]
    return {(finding.code, finding.cell) for finding in one.outcome.findings}


def test_a_kernel_that_dies_is_said_at_its_cell_and_the_others_go_on(check: Checker, course: SmallCourse) -> None:
    wrong = {"misconception": {"nl": "x", "en": "x"}, "loses": "controle-kwadraat", "message": "x"}
    course.case("wrong/leeg", cells={"kwadraat": "import os\nos._exit(3)\n"}, **wrong)
    report = check(course.folder, "reference", "wrong.leeg")
    (one,) = report.assignments
    assert [case.name for case in one.outcome.cases if case.ok] == ["reference"]
    assert ("wrong.crash", "controle-kwadraat") in codes(report)


def test_a_course_cannot_end_what_runs_it(check: Checker, course: SmallCourse) -> None:
    # The parent that a kernel sees is the first process of its own wall, which the kernel keeps from it (kill(2)).
    course.append("verken", "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nos.kill(1, signal.SIGKILL)")
    found = codes(check(course.folder, "reference"))
    assert not found & {("reference.error", "verken"), ("case.lost", ""), ("memory.gone", "verken")}


def test_a_check_that_is_killed_leaves_no_process_behind(course: SmallCourse, tmp_path: Path) -> None:
    course.append("start", "import time\ntime.sleep(50)")
    home = Path(f"/tmp/ll-k{os.getpid()}")
    home.mkdir()
    environment = {**os.environ, "XDG_STATE_HOME": str(home), "TMPDIR": str(tmp_path)}
    begun = subprocess.Popen(
        [sys.executable, "-m", "cli", "course", "check", str(course.folder)], cwd=CODE, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until = time.monotonic() + 60
        while not (inside := _sleeping(begun.pid)) and time.monotonic() < until:
            time.sleep(0.1)
        assert inside, "the course never ran"
    finally:
        begun.send_signal(signal.SIGKILL)
        begun.wait(10)
    until = time.monotonic() + 30
    while (left := [pid for pid in inside if Path("/proc", str(pid)).exists()]) and time.monotonic() < until:
        time.sleep(0.05)
    assert left == []
    subprocess.run(["/bin/chmod", "-R", "u+w", str(home)], check=True)
    subprocess.run(["/bin/rm", "-r", str(home)], check=True)


def _sleeping(process: int) -> list[int]:
    """All processes below one, once a kernel is among them."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(folder.name))
    found, waiting = [], [process]
    while waiting:
        below = parents.get(waiting.pop(), [])
        found += below
        waiting += below
    lines = [Path("/proc", str(pid), "cmdline") for pid in found]
    try:
        running = [line.read_bytes() for line in lines]
    except OSError:
        return []
    return found if any(b"forked.zygote" in line for line in running) else []


def test_without_room_for_its_own_files_a_check_says_what_to_do(
    check: Checker, course: SmallCourse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nergens"))
    with pytest.raises(LeerlabError, match="cannot write its own files") as refused:
        check(course.folder, "reference")
    assert "TMPDIR" in refused.value.do


def test_a_report_on_a_full_disk_is_said_and_ends_with_1(course: SmallCourse) -> None:
    home = Path(f"/tmp/ll-f{os.getpid()}")
    home.mkdir()
    (course.folder / "course.yaml").write_text("id: [\n")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "cli", "course", "check", str(course.folder), "--html", "/dev/full"], cwd=CODE,
            env={**os.environ, "XDG_STATE_HOME": str(home)}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    finally:
        subprocess.run(["/bin/chmod", "-R", "u+w", str(home)], check=True)
        subprocess.run(["/bin/rm", "-r", str(home)], check=True)
    assert done.returncode == 1
    assert "No space left" in done.stderr and "Traceback" not in done.stderr


def test_memory_below_counts_this_process() -> None:
    assert memory_below(os.getpid()) > 10 * 2**20
