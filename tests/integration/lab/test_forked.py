"""Notebooks in forks of one warm process: each behind a wall of its own, each cell at its own cost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from walled_lab import OFF, Lab

from base.paths import Installation
from confinement import seccomp
from confinement.run import start
from confinement.settings import ConfinementSettings
from confinement.wall import HOME, Wall
from grading.plans import COMMANDS, LAB, NOTEBOOK_ENV, OFFLINE, nesting, notebook_binds

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
DRIVER = Path(__file__).with_name("forked_driver.py")


@dataclass(frozen=True)
class Run:
    """One notebook's run, as the driver tells it."""

    told: dict[str, Any]

    def outputs(self, cell: int) -> list[dict[str, Any]]:
        return list(self.told["cells"][cell][1:])

    def text(self, cell: int) -> str:
        """All that a cell showed as text."""
        return "".join(
            one["text"] if one["output_type"] == "stream" else one.get("data", {}).get("text/plain", "")
            for one in self.outputs(cell)
        )

    def errors(self, cell: int) -> list[str]:
        """The kinds of a cell's errors."""
        return [str(one["ename"]) for one in self.outputs(cell) if one["output_type"] == "error"]

    @property
    def counts(self) -> list[int | None]:
        return [cell[0] for cell in self.told["cells"]]


Runs = Callable[..., list[Run]]


@pytest.fixture
def runs(lab: Lab) -> Runs:
    """Runs notebooks side by side, each given as its cells."""

    def runs(
        *notebooks: list[str], modules: tuple[str, ...] = (), cell: float = 10, notebook: float = 60, lose: bool = False
    ) -> list[Run]:
        seccomp.write_filters(lab.state.generated)
        home = lab.state.homes / "forked"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        shutil.copy(DRIVER, home / "driver.py")
        asked = {"notebooks": notebooks, "modules": modules, "cell": cell, "notebook": notebook, "lose": lose}
        (home / "asked.json").write_text(json.dumps(asked))
        more = nesting(lab.state)
        binds = (*notebook_binds(Installation.current(), lab.state), *more.pop("binds"))
        sizes = ConfinementSettings().sizes()
        # Tighter than what a run asks for: the outer limits hold as well.
        sizes["limits"] = replace(sizes["limits"], file_size=2**23, open_files=256)
        wall = Wall(
            command=(f"{NOTEBOOK_ENV}/bin/python", f"{HOME}/driver.py", HOME), home=home, binds=binds,
            environment={"PATH": COMMANDS, "PYTHONPATH": str(LAB), **OFFLINE}, **more, **sizes,
        )  # fmt: skip
        with start(wall) as walled:
            code = walled.wait(150)
            # For the report of a test that fails.
            print(walled.output.decode(errors="replace"))  # noqa: T201
            assert code == 0
        said = json.loads((home / "said.json").read_text())
        assert said["left"] == [], "nothing of a run stays"
        return [Run(one) for one in said["runs"]]

    return runs


def test_cells_show_what_they_show_in_a_lab(runs: Runs) -> None:
    (run,) = runs([
        "print('een'); print('twee'); 6 * 7",
        "",
        "import sys; print('fout', file=sys.stderr); 1 / 0",
        "import os; os.system('echo van buiten')",
        "!echo een opdracht",
        "from IPython.display import HTML, clear_output\ndisplay(HTML('<b>x</b>')); clear_output()\nprint('over')",
        "import asyncio; await asyncio.sleep(0); print(open('data.csv').read())",
        "import beside; print(beside.value)",
    ])  # fmt: skip
    assert run.told["ended"] == "done"
    first = run.outputs(0)
    assert first[0] == {"output_type": "stream", "name": "stdout", "text": "een\ntwee\n"}
    assert first[1]["output_type"] == "execute_result" and first[1]["data"]["text/plain"] == "42"
    assert (run.outputs(1), run.counts) == ([], [1, None, 3, 4, 5, 6, 7, 8])
    assert run.outputs(2)[0] == {"output_type": "stream", "name": "stderr", "text": "fout\n"}
    assert [run.errors(cell) for cell in range(8)] == [[], [], ["ZeroDivisionError"], [], [], [], [], []]
    assert run.text(7) == "7\n", "a module beside the notebook"
    assert "van buiten" in run.text(3) and "een opdracht" in run.text(4)
    assert run.text(5) == "over\n"
    assert run.text(6) == "a,b\n1,2\n\n"


def test_a_display_can_be_changed_later_and_a_widget_takes_in_what_is_shown(runs: Runs) -> None:
    (run,) = runs([
        "handle = display('eerst', display_id=True)",
        "handle.update('later')",
        "import ipywidgets\nout = ipywidgets.Output()\nwith out:\n    print('in het widget'); 1 / 0\nprint('erbuiten')",
        "import matplotlib.pyplot as plt; plt.plot([1, 2]); print('klaar')",
    ], modules=("matplotlib.pyplot", "ipywidgets"))  # fmt: skip
    assert run.text(0) == "'later'" and run.outputs(1) == []
    assert (run.text(2), run.errors(2)) == ("erbuiten\n", [])
    kinds = [one["output_type"] for one in run.outputs(3)]
    assert kinds.count("display_data") == 1 and "image/png" in str(run.outputs(3))


AS_IN_EVERY_KERNEL = {
    "argparse": (
        "import argparse\nreader = argparse.ArgumentParser()\nreader.add_argument('-f')\n"
        "reader.parse_args()\nprint('ok')"
    ),
    "a notebook is told from a terminal": "print('ok' if 'IPKernelApp' in get_ipython().config else 'a terminal')",
    "a pipe that nobody reads": (
        "import os\nreading, writing = os.pipe()\nos.close(reading)\n"
        "try: os.write(writing, b'x')\nexcept BrokenPipeError: print('ok')"
    ),
    "a program that does not read all": (
        "import subprocess\n"
        "subprocess.run(['head', '-c', '1'], input=b'x' * 10**6, stdout=subprocess.DEVNULL)\nprint('ok')"
    ),
    "a file that grows too large": (
        "try: open('large', 'wb').write(bytes(2**24))\nexcept OSError: print('ok')"
    ),
    "%matplotlib": "%matplotlib inline\nprint('ok')",
    "%gui": "%gui\nprint('ok')",
    "%store": (
        "kept = 1\n%store kept\n%store -r kept\n"
        "from IPython.display import clear_output\nclear_output()\nprint('ok')"
    ),
    "logging": (
        "import logging, sys\nlogging.basicConfig(level=logging.DEBUG, stream=sys.stdout)\n"
        "get_ipython().kernel.log.error('of the kernel itself')\nprint('ok')"
    ),
    "exit": "print('ok')\nexit()",
    "quit": "print('ok')\nquit()",
    "a fork that goes on": "import os\nprint('ok')\nif os.fork(): os.wait()",
}  # fmt: skip


@pytest.mark.parametrize("code", AS_IN_EVERY_KERNEL.values(), ids=AS_IN_EVERY_KERNEL)
def test_code_finds_what_it_finds_in_every_kernel(runs: Runs, code: str) -> None:
    # Longer than the moment in which an `exit` would take effect.
    (run,) = runs(["kept = 1", code, "import time; time.sleep(0.5)\nkept + 1"])
    assert (run.errors(1), run.text(1)) == ([], "ok\n")
    # Nothing was run again for it.
    assert run.errors(2) == [] and run.outputs(2)[-1]["execution_count"] == 3


PROCESSES = """
import multiprocessing
print('before')
def talk(number):
    for _ in range(300):
        print(str(number) * 120)
    display('not shown')
with multiprocessing.get_context('fork').Pool(3) as pool:
    pool.map(talk, range(3), chunksize=1)
print('after')
"""


def test_what_processes_print_at_once_is_all_shown_once(runs: Runs) -> None:
    (run,) = runs([PROCESSES, "2"])
    assert (run.errors(0), run.text(1)) == ([], "2"), run.told
    lines = run.text(0).splitlines()
    assert lines.count("before") == lines.count("after") == 1
    assert [sum(line == str(number) * 120 for line in lines) for number in range(3)] == [300] * 3
    assert all(one["output_type"] == "stream" for one in run.outputs(0))


ENDS = {
    "leaves": "import os; os._exit(3)",
    "kills itself": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "reads where nothing is": "import ctypes; ctypes.string_at(0)",
    "cannot be interrupted": "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
    "hides from interruption": "while True:\n    try:\n        while True: pass\n    except KeyboardInterrupt: pass",
    "says nonsense": (
        "import os\nfor number in range(3, 20):\n    try: os.write(number, b'\\xff' * 64)\n    except OSError: pass"
    ),
    "closes everything": "import os; os.closerange(0, 100)",
    "stops": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
}


@pytest.mark.fault
@pytest.mark.parametrize("code", ENDS.values(), ids=ENDS)
def test_a_cell_that_ends_python_costs_that_cell_alone(runs: Runs, code: str) -> None:
    (run,) = runs(
        ["kept = 41; open('made.txt', 'w').write('x')", code, "print(kept + 1, open('made.txt').read())"], cell=2
    )
    assert run.told["ended"] == "done"
    assert (
        run.errors(0) == [] and len(run.errors(1)) == 1 and run.errors(1)[0] in ("DeadKernelError", "CellTimeoutError")
    )
    assert (run.errors(2), run.text(2)) == ([], "42 x\n")
    assert run.counts == [1, 2, 3]


@pytest.mark.fault
def test_a_cell_that_takes_too_long_is_interrupted_and_keeps_what_python_knows(runs: Runs) -> None:
    (run,) = runs(["import os; before = os.getpid()", "while True: pass", "print(before == os.getpid())"], cell=2)
    assert run.errors(1) == ["CellTimeoutError"]
    assert run.text(2) == "True\n", "no new kernel was needed"


@pytest.mark.fault
def test_without_the_process_that_forks_kernels_a_run_comes_to_no_result(runs: Runs) -> None:
    told = runs(["import time; time.sleep(60)"], ["1"], lose=True)
    assert [run.told["ended"] for run in told] == ["lost", "done"]


@pytest.mark.fault
def test_memory_that_is_not_there_is_the_cells_own_error(runs: Runs) -> None:
    (run,) = runs(["kept = 1", "much = bytearray(2**31)", "print(kept)"])
    assert run.errors(1) == ["MemoryError"] and run.text(2) == "1\n"


@pytest.mark.fault
def test_a_notebook_that_takes_too_long_as_a_whole_keeps_the_cells_before(runs: Runs) -> None:
    (run,) = runs(["print('gedaan')", "import time; time.sleep(60)", "print('nooit')"], cell=60, notebook=3)
    assert (run.told["ended"], run.text(0), run.counts) == ("time", "gedaan\n", [1, None, None])


@pytest.mark.fault
def test_who_shows_very_much_is_cut_and_the_error_that_counts_is_kept(runs: Runs) -> None:
    (run,) = runs(["for _ in range(3000): print('x' * 1000)\n1 / 0", "print('goed')"])
    assert run.errors(0) == ["ZeroDivisionError"] and len(run.text(0)) < 2**20 + 2**16
    assert run.text(0).endswith("... Output truncated ...\n") and run.text(1) == "goed\n"


# What each looks for is there in a run beside it; the control looks from inside a run's own.
SECRET = "antwoord-van-de-buurvrouw"
NEIGHBOUR = (
    "import multiprocessing.shared_memory, os, pty, socket, subprocess, time\n"
    f"open('/home/nb/{SECRET}', 'w').close(); open('/tmp/{SECRET}', 'w').close()\n"
    f"shared = multiprocessing.shared_memory.SharedMemory('{SECRET}', create=True, size=8)\n"
    f"named = socket.socket(socket.AF_UNIX); named.bind('\\0{SECRET}'); named.listen()\n"
    "server = socket.socket(); server.bind(('127.0.0.1', 4321)); server.listen()\n"
    "sleeper = subprocess.Popen(['sleep', '20'])\n"
    "ends = pty.openpty()\n"
)
LOOKS = {
    "files": f"import os; found = [p for p, d, f in os.walk('/') if '{SECRET}' in f]",
    "shared memory": f"import os; found = [name for name in os.listdir('/dev/shm') if '{SECRET}' in name]",
    "abstract socket": f"import socket; found = socket.socket(socket.AF_UNIX).connect_ex('\\0{SECRET}') == 0",
    "loopback": "import socket; found = socket.socket().connect_ex(('127.0.0.1', 4321)) == 0",
    "processes": (
        "import pathlib\n"
        "found = [one for one in pathlib.Path('/proc').glob('[0-9]*/comm') if one.read_text() == 'sleep\\n']"
    ),
    "terminals": "import os; found = [name for name in os.listdir('/dev/pts') if name.isdigit()]",
}


@pytest.mark.attack
@pytest.mark.parametrize("code", LOOKS.values(), ids=LOOKS)
def test_a_run_sees_nothing_of_the_run_beside_it(runs: Runs, code: str) -> None:
    wait = "import time; time.sleep(2)"
    neighbour, looking = runs(
        [NEIGHBOUR, code, "print(bool(found))", "time.sleep(4)"], [wait, code, "print(bool(found))"]
    )
    assert neighbour.text(2) == "True\n", f"the control finds it: {neighbour.told}"
    assert looking.text(2) == "False\n", looking.told


RIGHTS = {
    "a namespace": "import ctypes; got = ctypes.CDLL(None).unshare(0x10000000) == 0",
    "a mount": "import ctypes; got = ctypes.CDLL(None).mount(b'tmpfs', b'/tmp', b'tmpfs', 0, None) == 0",
    "what lies below its home": "import ctypes; got = ctypes.CDLL(None).umount2(b'/home/nb', 2) == 0",
    "a capability": (
        "lines = open('/proc/self/status').read().splitlines()\n"
        "got = any(int(line.split()[1], 16) for line in lines if line.startswith(('CapBnd', 'CapEff', 'CapPrm')))"
    ),
    "the first process": "import os\ntry: os.kill(1, 9); os.stat('/proc/1'); got = False\nexcept OSError: got = True",
    "another's memory": "import ctypes; got = ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0",
    "more processes": (
        "import os, time\nmade = 0\ntry:\n    for _ in range(200):\n"
        "        if os.fork() == 0: time.sleep(5); os._exit(0)\n"
        "        made += 1\nexcept BlockingIOError: pass\ngot = made >= 64"
    ),
}


@pytest.mark.attack
@pytest.mark.parametrize("code", RIGHTS.values(), ids=RIGHTS)
def test_a_run_gets_no_rights(runs: Runs, code: str) -> None:
    (run,) = runs([code, "print(got)"])
    assert run.text(1) == "False\n", run.told


IN_A_LAB = """
import nbformat
from leerlab_lab import coursecheck
new = nbformat.v4
def meta(name, points=None):
    graded = points is not None
    return {"nbgrader": {"schema_version": 3, "grade_id": name, "grade": graded, "solution": not graded,
                         "locked": graded, "task": False, **({"points": points} if graded else {})}}
cells = [
    new.new_code_cell("def dubbel(x):\\n    ### BEGIN SOLUTION\\n    return 2 * x\\n    ### END SOLUTION\\n",
                      id="dubbel", metadata=meta("dubbel")),
    new.new_code_cell("assert dubbel(3) == 6, 'Vermenigvuldig met twee.'", id="controle", metadata=meta("controle", 1)),
]
kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
nbformat.write(new.new_notebook(cells=cells, metadata=kernel), "/home/nb/opdracht.ipynb")
wrong = {"name": "telt-op", "misconception": {"nl": "Telt op.", "en": "Adds."}, "loses": "controle",
         "message": "Vermenigvuldig met twee.", "cells": {"dubbel": "def dubbel(x):\\n    return x + 2\\n"}}
found = coursecheck.check("/home/nb/opdracht.ipynb", wrong=[wrong])
print("MARKS", {case.name: case.marks.get("controle") for case in found.cases})
"""


@pytest.mark.timeout(240)
def test_in_a_lab_where_no_walls_can_be_made_a_teacher_can_try_an_assignment(lab: Lab) -> None:
    said = lab.python(IN_A_LAB, offer=OFF, home="teacher")
    marks = next((line for line in said.splitlines() if line.startswith("MARKS")), said)
    assert "'reference': (1.0, 1.0)" in marks and "'telt-op': (0.0, 1.0)" in marks, said
