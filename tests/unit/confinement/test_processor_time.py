"""Processor seconds of a job: those of processes that have ended are not lost, and those of others do not count."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from confinement.processor_time import Group, Tree, counter

BUSY = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass"


def run(program: str, *after: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", program, *after], stdin=subprocess.PIPE)


def test_a_process_that_has_ended_and_was_waited_for_still_counts() -> None:
    # More than is looked for: the kernel counts in hundredths, and rounds down.
    child = BUSY.format(0.4)
    parent = run(
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-I', '-S', '-c', {child!r}])\nsys.stdin.read()"
    )
    try:
        tree, end = Tree(parent.pid), 0.0
        while end < 0.3 and parent.poll() is None:
            end = tree.seconds()
        assert 0.3 <= end < 1.5
    finally:
        parent.kill()
        parent.communicate()
    assert tree.seconds() >= end


def test_the_processes_of_others_do_not_count() -> None:
    other, own = run(BUSY.format(0.4)), run("import sys; sys.stdin.read()")
    try:
        other.wait(30)
        assert Tree(own.pid).seconds() < 0.4
    finally:
        own.communicate()
        other.communicate()


def groups(folder: Path, line: str, files: dict[str, str]) -> tuple[Path, Path]:
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(line)
    for name, text in files.items():
        (folder / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup" / name).write_text(text)
    return folder / "proc", folder / "cgroup"


def test_the_jobs_own_control_group_is_read_where_there_is_one(tmp_path: Path) -> None:
    first = groups(
        tmp_path / "1", "4:cpu,cpuacct:/slurm_x/uid_5/job_42/step_batch/task_0\n1:name=systemd:/\n",
        {"cpu,cpuacct/slurm_x/uid_5/job_42/cpuacct.usage": "7500000000\n"},
    )  # fmt: skip
    found = counter("42", 1, *first)
    assert (found.source, found.seconds()) == ("cgroup", 7.5)
    second = groups(
        tmp_path / "2", "0::/system.slice/slurmstepd.scope/job_42/step_batch/user/task_0\n",
        {"system.slice/slurmstepd.scope/job_42/cpu.stat": "usage_usec 2500000\nuser_usec 1\nsystem_usec 2\n"},
    )  # fmt: skip
    assert counter("42", 1, *second).seconds() == 2.5


@pytest.mark.parametrize(
    "line", ["0::/system.slice/slurmd.service\n", "0::/x/job_421/step_batch\n", "4:cpuacct:/job_4\n"]
)
def test_a_group_that_others_share_is_not_the_jobs(tmp_path: Path, line: str) -> None:
    files = {"x/job_421/cpu.stat": "usage_usec 1\n", "cpuacct/job_4/cpuacct.usage": "1", "system.slice/cpu.stat": "1"}
    assert counter("42", 1, *groups(tmp_path, line, files)).source == "processes"


def test_a_group_that_is_taken_away_leaves_its_last_count() -> None:
    answers = iter([3.0])

    def read() -> float:
        try:
            return next(answers)
        except StopIteration:
            raise FileNotFoundError from None

    group = Group(read)
    assert [group.seconds(), group.seconds()] == [3.0, 3.0]
