"""What a job uses is written down by its wrapper, outside the wall: real walls, and nothing inside can change it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from wrapped_jobs import jobs_of, wall_folder

from confinement.wall import Bind, Wall
from grading.job import VARIABLE, Task
from spawners.use import counted_in

JOB = Path(__file__).resolve().parents[3] / "grading" / "job.py"
BUSY = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass\n"

SLURM = {"SLURM_JOB_ID": "42", "SLURM_CPUS_ON_NODE": "2"}

pytestmark = pytest.mark.integration


@pytest.fixture
def folder() -> Iterator[Path]:
    with wall_folder("use") as made:
        yield made


@pytest.fixture
def begin(folder: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    with jobs_of(JOB) as start:

        def begin(program: str, *, seconds: int = 60, binds: tuple[Bind, ...] = ()) -> subprocess.Popen[bytes]:
            wall = Wall(
                command=("/usr/bin/python3", "-I", "-c", program), home=folder / "home",
                seccomp=folder / "seccomp.bpf", binds=binds,
            )  # fmt: skip
            task = Task(wall, seconds, folder / "outcome.json", folder / "notebook.log", folder / "use" / "use.jsonl")
            return start({VARIABLE: task.to_json(), **SLURM})

        yield begin


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "use" / "use.jsonl").read_text().splitlines()]


def test_a_job_is_counted_from_its_first_moment_to_its_end(begin: Callable[..., Any], folder: Path) -> None:
    begun = time.monotonic()
    assert begin(BUSY.format(0.5)).wait(30) == 0
    took = time.monotonic() - begun
    first, *_, last = lines(folder)
    assert (first["job"], first["cores"], first["last"], last["last"]) == (42, 2, False, True)
    assert 0.5 <= last["cpu_seconds"] < 1.5
    assert 0.4 < last["seconds"] <= took
    assert (last["gpus"], last["gpu"]) == (0, None)
    assert oct((folder / "use" / "use.jsonl").stat().st_mode)[-3:] == "600"


def test_processes_that_end_on_the_way_are_counted(begin: Callable[..., Any], folder: Path) -> None:
    child = BUSY.format(0.2)
    # The second is left behind by its parent, so that the first process inside waits for it.
    program = (
        "import os, subprocess, sys, time\n"
        f"run = lambda: subprocess.Popen([sys.executable, '-I', '-c', {child!r}])\n"
        "run().wait()\n"
        "told, tell = os.pipe()\n"
        "if os.fork() == 0:\n    os.write(tell, str(run().pid).encode())\n    os._exit(0)\n"
        "os.wait(); left = os.read(told, 20).decode()\n"
        "while os.path.exists('/proc/' + left): time.sleep(0.05)\n"
    )
    assert begin(program).wait(30) == 0
    assert lines(folder)[-1]["cpu_seconds"] >= 0.4


@pytest.mark.fault
def test_a_wrapper_that_is_killed_leaves_its_last_line(begin: Callable[..., Any], folder: Path) -> None:
    process = begin("import time; time.sleep(60)")
    end = time.monotonic() + 20
    while not (folder / "use" / "use.jsonl").exists() or not lines(folder):
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    found = counted_in(folder / "use")
    assert found is not None and found.job == 42 and not found.last


@pytest.mark.fault
def test_a_job_goes_on_when_its_use_cannot_be_written(begin: Callable[..., Any], folder: Path) -> None:
    shutil.rmtree(folder / "use")
    process = begin("print('done')")
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and b"not measured" in output
    assert json.loads((folder / "outcome.json").read_text())["outcome"] == "done"


@pytest.mark.fault
def test_a_clock_that_is_set_does_not_change_how_long_a_job_was(folder: Path) -> None:
    # The wrapper's own time jumps by a day between two lines; its seconds come from a clock that nobody sets.
    program = f"""
import sys, time
sys.path.insert(0, {str(JOB.parent.parent)!r})
from pathlib import Path
from confinement.meter import Meter
real = time.time
with Meter(Path({str(folder / "use" / "use.jsonl")!r}), environment={{"SLURM_JOB_ID": "42"}}):
    time.sleep(0.3)
    time.time = lambda: real() - 86400
    time.sleep(0.3)
"""
    subprocess.run(["/usr/bin/python3", "-I", "-c", program], check=True, timeout=30)
    first, *_, last = lines(folder)
    assert last["time"] - first["time"] < -80_000
    assert 0.5 < last["seconds"] < 1000


FORGERY = """
import json, os
line = json.dumps({"job": 42, "time": 0, "seconds": 0, "cores": 1, "cpu_seconds": 0, "gpus": 0, "shared": False,
                   "gpu": None, "last": True}) + "\\n"
tried = 0
for top, folders, files in os.walk("/"):
    if top.startswith(("/proc", "/sys", "/usr")):
        folders[:] = []
        continue
    for path in [os.path.join(top, name) for name in files if name == "use.jsonl"] + [%(path)r, "/use/use.jsonl"]:
        try:
            with open(path, "a") as file:
                file.write(line)
            tried += 1
        except OSError:
            pass
for number in range(3, 64):
    try:
        os.write(number, line.encode())
    except OSError:
        pass
for process in filter(str.isdigit, os.listdir("/proc")):
    for number in range(64):
        try:
            with open(f"/proc/{process}/fd/{number}", "a") as file:
                file.write(line)
        except OSError:
            pass
print("wrote", tried)
end = __import__("time").process_time() + 0.5
while __import__("time").process_time() < end: pass
"""


@pytest.mark.attack
def test_a_lab_cannot_forge_its_own_use(begin: Callable[..., Any], folder: Path) -> None:
    payload = FORGERY % {"path": str(folder / "use" / "use.jsonl")}
    assert begin(payload).wait(60) == 0
    assert all(line["seconds"] > 0 or not line["last"] for line in lines(folder))
    last = counted_in(folder / "use")
    assert last is not None and last.cpu_seconds >= 0.5
    assert b"wrote 0" in (folder / "notebook.log").read_bytes()


@pytest.mark.attack
def test_the_control_a_lab_that_has_the_folder_inside_does_forge_it(begin: Callable[..., Any], folder: Path) -> None:
    payload = FORGERY % {"path": "/srv/use/use.jsonl"}
    assert begin(payload, binds=(Bind(folder / "use", Path("/srv/use"), writable=True),)).wait(60) == 0
    assert any(line["last"] and line["seconds"] == 0 for line in lines(folder))


@pytest.mark.attack
def test_a_link_in_place_of_the_file_is_not_followed(begin: Callable[..., Any], folder: Path) -> None:
    (folder / "victim").write_text("kept")
    (folder / "use" / "use.jsonl").symlink_to(folder / "victim")
    process = begin("pass")
    output, _ = process.communicate(timeout=30)
    assert b"not measured" in output and (folder / "victim").read_text() == "kept"
    (folder / "use" / "use.jsonl").unlink()
    (folder / "outcome.json").unlink()
    (folder / "notebook.log").unlink()
    assert begin("pass").wait(30) == 0 and lines(folder)[-1]["last"]
