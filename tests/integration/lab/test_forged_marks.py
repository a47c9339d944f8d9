"""Answers that are wrong and want the points of the tests all the same: each gains nothing, or its teacher is told.

The control of each is the same answer where the one defence is missing: then it has the points, and nobody is told.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from walled_lab import Lab

from base.paths import Installation
from confinement import seccomp
from confinement.run import start
from confinement.settings import ConfinementSettings
from confinement.wall import HOME, Wall
from grading.plans import COMMANDS, LAB, NOTEBOOK_ENV, OFFLINE, nesting, notebook_binds

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]
DRIVER = Path(__file__).with_name("forged_driver.py")

WRONG = "def kwadraat(x):\n    return 0\n"
RIGHT = "def kwadraat(x):\n    return x * x\n"
TEST = "assert kwadraat(3) == 9, 'Vermenigvuldig met zichzelf.'"
PARTS = "punten = 2.0 if kwadraat(3) == 9 else 0.5\npunten"
FORGED, RESULT, HOOKS = "checks-forged", "result-forged", "hooks"
SENDS = (
    "line = get_ipython().kernel.line\n"
    "def ready(cell):\n    line.send(cell, 'done', {'status': 'ok', 'execution_count': cell})\n"
)
TAKES_OVER = (
    "kernel = get_ipython().kernel\n"
    "async def run(cell, code):\n"
    "    kernel.line.send(cell, 'done', {'status': 'ok', 'execution_count': cell})\n"
)


@dataclass(frozen=True)
class Forgery:
    """One mechanism.

    Args:
        answer: the student's cell.
        told: the flag that the teacher gets.
        without: the defence that is missing in the control: `canaries`; `moments`, at which messages come;
            `results-stay`, whatever clears them.
        test: the test cell.
    """

    answer: str
    told: str = FORGED
    without: str = "canaries"
    test: str = TEST


FORGERIES = {
    "a transformer of syntax trees that drops asserts": Forgery(
        WRONG + "import ast\nclass Drop(ast.NodeTransformer):\n    def visit_Assert(self, node):\n"
        "        return ast.copy_location(ast.Pass(), node)\nget_ipython().ast_transformers.append(Drop())\n"
    ),
    "a transformer of text that drops asserts": Forgery(
        WRONG + "get_ipython().input_transformers_post.append(\n"
        "    lambda lines: ['pass\\n' if line.startswith('assert') else line for line in lines])\n"
    ),
    "one that stops when its own cells are over": Forgery(
        WRONG + "shell = get_ipython()\ndef drop(lines):\n"
        "    ours = shell.execution_count <= 2\n"
        "    return ['pass\\n' if ours and line.startswith('assert') else line for line in lines]\n"
        "shell.input_transformers_post.append(drop)\n"
    ),
    "run_code that swallows exceptions": Forgery(
        WRONG + "shell = get_ipython()\nasync def run_code(code, result=None, *, async_=False):\n"
        "    try:\n        exec(code, shell.user_ns)\n    except Exception:\n        pass\n    return False\n"
        "shell.run_code = run_code\n"
    ),
    "run_cell that runs nothing": Forgery(
        WRONG + "from IPython.core.interactiveshell import ExecutionResult\nshell = get_ipython()\n"
        "async def run_cell_async(*args, **more):\n    return ExecutionResult(None)\n"
        "shell.run_cell_async = run_cell_async\n"
        "shell.run_cell = lambda *args, **more: ExecutionResult(None)\n"
    ),
    "results that know no errors": Forgery(
        WRONG + "from IPython.core.interactiveshell import ExecutionResult\n"
        "ExecutionResult.error_in_exec = property(lambda self: None, lambda self, value: None)\n"
        "get_ipython()._showtraceback = lambda *args: None\n"
    ),
    "a trace function that changes what a test has computed": Forgery(
        WRONG + "import sys\ndef trace(frame, event, arg):\n"
        "    if 'goed' in frame.f_globals:\n        frame.f_globals['goed'] = True\n"
        "    return trace\nsys.settrace(trace)\n",
        told=HOOKS,
        test="goed = kwadraat(3) == 9\nassert goed",
    ),
    "numpy's own checks replaced": Forgery(
        WRONG + "import numpy\nnumpy.testing.assert_equal = lambda *args, **more: None\n",
        test="import numpy\nnumpy.testing.assert_equal(kwadraat(3), 9)",
    ),
    "an object that is equal to everything": Forgery(
        "class All:\n    def __eq__(self, other):\n        return True\ndef kwadraat(x):\n    return All()\n"
    ),
    "the expected value read from the caller's frame": Forgery(
        "import sys\ndef kwadraat(x):\n    found = sys._getframe(1).f_code.co_consts\n"
        "    return [one for one in found if type(one) is int and one != x][-1]\n"
    ),
    "the kernel's own method replaced": Forgery(WRONG + TAKES_OVER + "kernel.run = run\n"),
    "a child process that goes on as the kernel": Forgery(
        WRONG + TAKES_OVER + "import os, signal\nif os.fork():\n    while True:\n        signal.pause()\n"
        "kernel.run, kernel.line.owner = run, os.getpid()\n"
    ),
    "a module that is imported is another": Forgery(
        WRONG + "import sys, types\nother = types.ModuleType('controle')\n"
        "other.assert_equal = lambda *args: None\nsys.modules['numpy.testing'] = other\n",
        test="from numpy.testing import assert_equal\nassert_equal(kwadraat(3), 9)",
    ),
    "a result display that shows other numbers": Forgery(
        WRONG + "hook = type(get_ipython().displayhook)\nbefore = hook.__call__\n"
        "hook.__call__ = lambda self, value=None: before(self, 2.0 if type(value) is float else value)\n",
        told=RESULT,
        test=PARTS,
    ),
    "a formatter that prints other numbers": Forgery(
        WRONG + "get_ipython().display_formatter.formatters['text/plain'].for_type(\n"
        "    float, lambda value, printer, cycle: printer.text('2.0'))\n",
        told=RESULT,
        test=PARTS,
    ),
    "a built-in function replaced": Forgery(
        WRONG + "import builtins\nbuiltins.abs = lambda x: 0\n",
        told=HOOKS,
        test="assert abs(kwadraat(3) - 9) < 0.001",
    ),
    "a hook that reads the test before it runs": Forgery(
        "import re\nknown = {}\ndef read(info):\n"
        "    known.update((int(a), int(b)) for a, b in re.findall(r'kwadraat\\((\\d+)\\) == (\\d+),', info.raw_cell))\n"
        "get_ipython().events.register('pre_run_cell', read)\ndef kwadraat(x):\n    return known.get(x)\n",
        told=HOOKS,
    ),
    "the end of the test said by the code under test": Forgery(
        SENDS + "def kwadraat(x):\n    ready(2)\n    return 0\n", told="messages-forged", without="moments"
    ),
    "the end said by a thread": Forgery(
        SENDS + "import threading, time\ndef forge():\n    ready(2)\n"
        "def kwadraat(x):\n    one = threading.Thread(target=forge); one.start(); one.join()\n    return 0\n",
        told="messages-forged",
        without="moments",
    ),
    "bytes written into the kernel's pipe": Forgery(
        "import json, os, struct\ndef kwadraat(x):\n"
        "    told = json.dumps({'cell': 2, 'type': 'done', 'content': {'status': 'ok'}}).encode()\n"
        "    for number in range(3, 40):\n"
        "        try:\n            if os.readlink(f'/proc/self/fd/{number}').startswith('pipe') and number == "
        "get_ipython().kernel.line.descriptor:\n                os.write(number, struct.pack('>I', len(told)) + told)\n"
        "        except OSError:\n            pass\n    return 0\n",
        told="messages-forged",
        without="moments",
    ),
    "the end said, and then Python ended": Forgery(
        SENDS + "import os\ndef kwadraat(x):\n    ready(2)\n    os._exit(0)\n", told="silent"
    ),
    "the end said, and then silence": Forgery(
        SENDS
        + "import time, signal\ndef kwadraat(x):\n    ready(2)\n    signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "    while True:\n        time.sleep(1)\n",
        told="silent",
    ),
    "outputs cleared behind the test": Forgery(
        WRONG + "from IPython.display import clear_output\n"
        "get_ipython().events.register('post_run_cell', lambda result: clear_output())\n",
        told="",
        without="results-stay",
        test=PARTS,
    ),
}
# Answered by what is made of outputs alone: nbgrader's own rule gives the points to the same outputs.
OUTPUTS = {
    "a result shown before the error": ("def kwadraat(x):\n    get_ipython().displayhook(2.0)\n    return 0\n", TEST),
    "a result sent before the error": (
        "def kwadraat(x):\n    get_ipython().kernel.line.send(2, 'execute_result', {\n"
        "        'data': {'text/plain': '2.0'}, 'metadata': {}, 'execution_count': 2})\n    return 0\n",
        TEST,
    ),
    "an error that is not shown": (WRONG + "get_ipython().showtraceback = lambda *args, **more: None\n", TEST),
    "an error handled by a handler of one's own": (
        WRONG + "get_ipython().set_custom_exc((AssertionError,), lambda *args, **more: None)\n",
        TEST,
    ),
    "a pipe that leads elsewhere": (
        "import os\nline = get_ipython().kernel.line\n"
        "def kwadraat(x):\n    os.dup2(os.open('/dev/null', os.O_WRONLY), line.descriptor)\n    return 0\n",
        TEST,
    ),
    "Python ended in the test": ("import os\ndef kwadraat(x):\n    os._exit(0)\n", TEST),
}
HONEST = {
    "right": ([RIGHT], [TEST, PARTS], [2, 2]),
    "wrong": ([WRONG], [TEST, PARTS], [0, 0.5]),
    "another each time": (
        ["import random\ndef kwadraat(x):\n    return random.choice([9, 10, 11])\n"],
        ["assert kwadraat(3) in (9, 10, 11)"], [2],
    ),
    "right once": (["left = iter([9])\ndef kwadraat(x):\n    return next(left)\n"], [TEST], [2]),
    "names used again": ([RIGHT, "x = 9"], [TEST, "assert x == 9\nx = 10\ndel kwadraat"], [2, 2]),
    "all results shown, few digits, and a drawing after each cell": (
        [RIGHT, "from IPython.core.interactiveshell import InteractiveShell\n"
         "InteractiveShell.ast_node_interactivity = 'all'\n%precision 1\n"
         "get_ipython().events.register('post_execute', print)"],
        [TEST, PARTS], [2, 2],
    ),
    "a loop and numpy": (
        [RIGHT],
        ["import numpy as np\nfor getal in [1, 2]:\n    np.testing.assert_allclose(kwadraat(getal), getal ** 2)"], [2],
    ),
    "no memory left": (
        [RIGHT, "vol = []\ntry:\n    while True: vol.append(bytearray(2**20))\nexcept MemoryError: pass"],
        ["assert True"], [2],
    ),
    "warnings": (["import warnings\ndef kwadraat(x):\n    warnings.warn('let op'); return x * x\n"], [TEST], [2]),
}  # fmt: skip
VALUE_CHECK = (
    "from leerlab_lab.checks import check\n### BEGIN HIDDEN TESTS\ncheck(kwadraat(12), gives=144)\n### END HIDDEN TESTS"
)
LOOKS_AHEAD = (
    "import gc, os\ndef seen():\n    word = ''.join(['geheim', 'getal'])\n"
    "    texts = [one for one in gc.get_objects() if isinstance(one, (list, dict, tuple))]\n"
    "    inside = [text for one in texts for text in (one.values() if isinstance(one, dict) else one)]\n"
    "    found = any(type(text) is str and word in text for text in inside)\n"
    "    for folder, _, names in os.walk('/home'):\n        for name in names:\n"
    "            found |= word.encode() in open(f'{folder}/{name}', 'rb').read()\n"
    "    return found\nprint(seen())\n"
)


def asked_of(answers: list[str], tests: list[str], without: str = "") -> dict[str, Any]:
    return {"answers": answers, "tests": tests, "without": without}


def all_runs() -> dict[str, dict[str, Any]]:
    runs = {}
    for name, one in FORGERIES.items():
        runs[name] = asked_of([one.answer], [one.test])
        runs[f"control: {name}"] = asked_of([one.answer], [one.test], one.without)
    runs |= {name: asked_of([answer], [test]) for name, (answer, test) in OUTPUTS.items()}
    runs |= {name: asked_of(answers, tests) for name, (answers, tests, _) in HONEST.items()}
    for name, without in (("value check", ""), ("control: value check", "value-checks-stay")):
        runs[name] = asked_of([RIGHT], [TEST, VALUE_CHECK], without)
    runs["ahead"] = asked_of([LOOKS_AHEAD], ["geheimgetal = 3", "print(seen())"])
    return runs


@pytest.fixture(scope="module")
def graded(lab: Lab) -> dict[str, Any]:
    """All runs, each with points and flags."""
    seccomp.write_filters(lab.state.generated)
    home = lab.state.homes / "forged"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    shutil.copy(DRIVER, home / "driver.py")
    runs = all_runs()
    named = {f"n{number}": run for number, run in enumerate(runs.values())}
    (home / "asked.json").write_text(json.dumps(named))
    more = nesting(lab.state)
    binds = (*notebook_binds(Installation.current(), lab.state), *more.pop("binds"))
    wall = Wall(
        command=(f"{NOTEBOOK_ENV}/bin/python", f"{HOME}/driver.py", HOME), home=home, binds=binds,
        environment={"PATH": COMMANDS, "PYTHONPATH": str(LAB), **OFFLINE}, **more, **ConfinementSettings().sizes(),
    )  # fmt: skip
    with start(wall) as walled:
        code = walled.wait(380)
        print(walled.output.decode(errors="replace"))  # noqa: T201
        assert code == 0
    said = json.loads((home / "said.json").read_text())
    return {name: said[f"n{number}"] for number, name in enumerate(runs)}


def told(run: dict[str, Any]) -> set[str]:
    return {flag["code"] for flag in run["flags"]}


@pytest.mark.attack
@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_test_gains_nothing_or_its_teacher_is_told(graded: dict[str, Any], name: str) -> None:
    forgery, run, control = FORGERIES[name], graded[name], graded[f"control: {name}"]
    assert control["points"] == [2], "the control gains the points"
    assert forgery.told not in told(control), "and nobody is told"
    assert forgery.told in told(run) if forgery.told else run["points"][0] < 2, run


@pytest.mark.attack
@pytest.mark.parametrize("name", OUTPUTS)
def test_a_forged_output_gives_no_points(graded: dict[str, Any], name: str) -> None:
    assert graded[name]["stock"] == [2], "the control: nbgrader's own rule for the same outputs"
    assert graded[name]["points"] == [0], graded[name]


@pytest.mark.parametrize("name", HONEST)
def test_honest_work_has_its_points_and_nobody_is_told_of_a_forgery(graded: dict[str, Any], name: str) -> None:
    run = graded[name]
    assert run["points"] == HONEST[name][2]
    assert told(run) <= {"wrote-errors", "hooks"}, run
    assert ("wrote-errors" in told(run)) == (name == "warnings")


@pytest.mark.attack
def test_a_test_is_nowhere_before_its_turn(graded: dict[str, Any]) -> None:
    before, _, after = graded["ahead"]["text"]
    assert (before, after) == ("False\n", "True\n"), "the control: once it has run, the same search finds it"


@pytest.mark.attack
def test_no_canary_takes_along_what_a_value_check_expects(graded: dict[str, Any]) -> None:
    went, control = graded["value check"]["went"], graded["control: value check"]["went"]
    assert "gives=144" in control, "the control: made of every test, canaries would"
    assert "gives=144" not in went and "kwadraat(12)" not in went and went.count("kwadraat(3)") > 1
