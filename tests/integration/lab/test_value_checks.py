"""Value checks against code that would rather not be checked: forging one is computing the right answer, and what is
hidden comes back in nothing that a student sees.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
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

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
DRIVERS = [Path(__file__).with_name(name) for name in ("value_checks_driver.py", "forked_driver.py")]

SECRET_INPUT, SECRET_ANSWER = "9371", "4703.5"
CHECKS = """from leerlab_lab.checks import check
check(gemiddelde([1, 2, 3]), gives=2.0)
### BEGIN HIDDEN TESTS
check(gemiddelde([36, 9371]), gives=4703.5, wrong={9407: "Deel nog door het aantal."})
### END HIDDEN TESTS
"""
ASSERTS = """assert abs(gemiddelde([1, 2, 3]) - 2.0) < 1e-9 and gemiddelde([1, 2, 3]) == 2.0
### BEGIN HIDDEN TESTS
assert abs(gemiddelde([36, 9371]) - 4703.5) < 1e-9 and gemiddelde([36, 9371]) == 4703.5
### END HIDDEN TESTS
"""
NEARLY = ASSERTS.replace(" and gemiddelde([1, 2, 3]) == 2.0", "").replace(" and gemiddelde([36, 9371]) == 4703.5", "")
OTHER = """from leerlab_lab.checks import check
check(woord, gives="ja")
"""
RIGHT = "def gemiddelde(rij):\n    return sum(rij) / len(rij)\n"
TEST = {"grade": True, "locked": True, "points": 2, "grade_id": "controle"}


def cell(source: str, **nbgrader: Any) -> dict[str, Any]:
    return {"source": source, "nbgrader": nbgrader}


def work(payload: str, *later: str, test: str = CHECKS, ordinary: bool = False) -> dict[str, Any]:
    """A student's notebook: the answer, its test, another answer with its test, and more of the student's cells."""
    cells = [
        cell(payload, solution=True, grade_id="gemiddelde"),
        cell(test, **TEST),
        cell("woord = 'ja'", solution=True, grade_id="woord"),
        cell(OTHER, **{**TEST, "grade_id": "controle-woord", "points": 1}),
        *(cell(each) for each in later),
    ]
    return {"cells": cells, "ordinary": ordinary}


@dataclass(frozen=True)
class Judged:
    """What came of one notebook: marks and sentences of its tests, all that a student sees, and what was sent out."""

    marks: list[float]
    said: list[list[str]]
    seen: str
    sent: list[str]
    noted: list[str]


Judge = Callable[..., list[Judged]]


@pytest.fixture
def judge(lab: Lab) -> Judge:
    def judge(
        *notebooks: dict[str, Any],
        without: str = "",
        files: dict[str, str] | None = None,
        modules: tuple[str, ...] = (),
    ) -> list[Judged]:
        seccomp.write_filters(lab.state.generated)
        home = lab.state.homes / "checks"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        for driver in DRIVERS:
            shutil.copy(driver, home)
        asked = {"notebooks": notebooks, "without": without, "files": files or {}, "modules": modules}
        (home / "asked.json").write_text(json.dumps(asked))
        more = nesting(lab.state)
        binds = (*notebook_binds(Installation.current(), lab.state), *more.pop("binds"))
        wall = Wall(
            command=(f"{NOTEBOOK_ENV}/bin/python", f"{HOME}/value_checks_driver.py", HOME), home=home, binds=binds,
            environment={"PATH": COMMANDS, "PYTHONPATH": str(LAB), **OFFLINE},
            **more, **ConfinementSettings().sizes(),
        )  # fmt: skip
        with start(wall) as walled:
            code = walled.wait(250)
            # For the report of a test that fails.
            print(walled.output.decode(errors="replace"))  # noqa: T201
            assert code == 0
        return [Judged(**one) for one in json.loads((home / "said.json").read_text())]

    return judge


def test_a_right_answer_passes_and_a_wrong_one_is_told_its_misconception(judge: Judge) -> None:
    summed = "def gemiddelde(rij):\n    return sum(rij) if len(rij) < 3 else 2\n"
    right, wrong, empty, english = judge(
        work(RIGHT),
        work(summed),
        work("def gemiddelde(rij):\n    raise NotImplementedError('Vul deze cel nog in.')\n"),
        work("from leerlab_lab import lesson\nlesson.language('en')\ndef gemiddelde(rij):\n    return None"),
    )
    assert (right.marks, right.said[0]) == ([2, 1], ["Alle 2 controles kloppen.\n"])
    assert (wrong.marks, wrong.said[0]) == ([0, 1], ["Deel nog door het aantal."])
    assert (empty.marks, empty.said[0]) == ([0, 1], ["Deze opdracht is nog niet ingevuld."])
    assert english.marks == [0, 1] and english.said[0][0].startswith("Nothing comes out.")
    for one in (right, wrong, empty, english):
        assert len(one.sent) == 2
        assert all(SECRET_ANSWER not in sent and "Deel nog" not in sent for sent in one.sent)
        assert SECRET_INPUT not in one.sent[0] and SECRET_INPUT in one.sent[1]
        assert SECRET_INPUT not in one.seen and SECRET_ANSWER not in one.seen


LIBRARIES = """from leerlab_lab.checks import check
import numpy as np
import pandas as pd
import torch
_rows = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
check(dubbel(np.array([1.5, 2.0])), gives=[3.0, 4.0])
check(tabel.shape, gives=(2, 2))
check(tabel.columns, gives=["b", "a"], any_order=True)
check(tabel.dtypes["a"], gives="int64")
check(tabel, gives={"a": [1, 2], "b": ["x", "y"]})
check(tabel.a.rolling(2).mean(), gives=[float("nan"), 1.5])
check(dubbel(torch.tensor([[1.0]])), gives=[[2.0]])
check(np.mean(dubbel(_rows.a)), at_least=2.9, at_most=3.1, kind="number")
check(naam, gives="jan jansen", any_case=True)
check(voorspel([1, 2, 3, 4]), gives=["a", "b", "a", "a"], right=0.75)
check(len(tabel), kind="whole", one_of=[2, 3])
check(pd.Timestamp("2020-01-02").date(), gives="2020-01-02")
"""


def test_arrays_tables_and_tensors_are_compared_as_plain_data(judge: Judge) -> None:
    answer = """import pandas as pd
dubbel = lambda x: x * 2
tabel = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
naam = "  Jan  JANSEN"
voorspel = lambda rijen: ["a", "b", "a", "b"]
"""
    wrong = answer.replace("'b'", "'a'").replace('["a", "b", "a", "b"]', '["b", "a", "a", "b"]')
    modules = ("numpy", "pandas", "torch")
    good, bad = judge(work(answer, test=LIBRARIES), work(wrong, test=LIBRARIES), modules=modules)
    assert (good.marks, good.said[0]) == ([2, 1], ["Alle 12 controles kloppen.\n"])
    assert (bad.marks, bad.said[0]) == ([0, 1], ["Minstens 75% moet kloppen."])


def test_a_cell_that_mixes_checks_with_other_code_is_an_ordinary_test_and_the_teacher_hears_of_it(judge: Judge) -> None:
    mixed = CHECKS + "assert gemiddelde([4]) == 4\n"
    right, wrong = judge(work(RIGHT, test=mixed), work("def gemiddelde(rij):\n    return 0", test=mixed))
    assert (right.marks, wrong.marks) == ([2, 1], [0, 1])
    assert "controle imports check and has other code as well (line 6: Assert)" in right.noted[0]
    # In feedback even then: nothing of what a hidden check expects.
    assert "Een verborgen controle klopt nog niet" in wrong.said[0][0]


# Each wins full marks where the cell is run as an ordinary test; the second part names that cell.
FORGERIES = {
    "patches check": (
        "import leerlab_lab.checks\nleerlab_lab.checks.check = lambda *_, **__: None\n"
        "gemiddelde = lambda rij: 0\n", CHECKS,
    ),
    "lies about equality": (
        "class Ja(float):\n"
        "    __eq__ = lambda self, other: True\n    __hash__ = None\n"
        "    __sub__ = __rsub__ = __abs__ = lambda self, *_: self\n"
        "    __lt__ = __gt__ = __le__ = __ge__ = lambda self, other: True\n"
        "    __float__ = lambda self: 0.0\n"
        "gemiddelde = lambda rij: Ja(0)\n", ASSERTS,
    ),
    "replaces builtins": (
        "import builtins\nbuiltins.abs = lambda _: 0\nbuiltins.sum = lambda *_: 0\n"
        "gemiddelde = lambda rij: sum(rij) / len(rij)\n", NEARLY,
    ),
    "reads the history": (
        "import re\nnummer = iter(range(9))\n"
        "gemiddelde = lambda rij: float(re.findall(r'gives=([0-9.]+)', In[-1])[next(nummer)])\n", CHECKS,
    ),
    "reads the frames": (
        "import sys\n"
        "def gemiddelde(rij):\n"
        "    return [one for one in sys._getframe(1).f_code.co_consts if isinstance(one, float)][0]\n", CHECKS,
    ),
    "reads its memory": (
        "import re\nnummer = iter(range(9))\n"
        "def gemiddelde(rij):\n"
        "    found = []\n"
        "    for line in open('/proc/self/maps'):\n"
        "        span, rights, _, device, inode, *name = line.split()\n"
        "        if rights[:2] != 'rw' or inode != '0' or (name and name[0] != '[heap]'):\n            continue\n"
        "        low, high = (int(each, 16) for each in span.split('-'))\n"
        "        with open('/proc/self/mem', 'rb') as memory:\n"
        "            memory.seek(low)\n"
        "            found += re.findall(b'gi' + rb'ves=(4[0-9]+[.]5)', memory.read(high - low))\n"
        "    return 2.0 if next(nummer) == 0 else float(found[0])\n", CHECKS,
    ),
    "drops the test by a hook": (
        "get_ipython().input_transformers_cleanup.append("
        "lambda lines: [line for line in lines if 'check' not in line and 'answer' not in line])\n"
        "gemiddelde = lambda rij: 0\n", CHECKS,
    ),
}  # fmt: skip


@pytest.mark.attack
def test_no_forgery_wins_marks_that_it_wins_from_an_ordinary_test(judge: Judge) -> None:
    payloads = list(FORGERIES.values())
    held = judge(*(work(payload) for payload, _ in payloads))
    got = judge(*(work(payload, test=test, ordinary=True) for payload, test in payloads))
    for name, one, control in zip(FORGERIES, held, got, strict=True):
        assert control.marks[0] == 2, f"{name}: the control, {control.said}"
        assert one.marks[0] == 0, name
        assert SECRET_INPUT not in one.seen and SECRET_ANSWER not in one.seen, name


# What a student's code may do with the inputs that it sees; the later cell then shows them.
LEAKS = {
    "a later cell prints them": (
        "gezien = []\ndef gemiddelde(rij):\n    gezien.append(rij)\n    return 0\n", "print(gezien)",
    ),
    "a file": (
        "def gemiddelde(rij):\n    print(rij, file=open('/tmp/gezien', 'a'))\n    return 0\n",
        "import os\nprint(open('/tmp/gezien').read() if os.path.exists('/tmp/gezien') else '')",
    ),
    "a file beside the notebook": (
        "def gemiddelde(rij):\n    print(rij, file=open('gezien.txt', 'a'))\n    return 0\n",
        "import os\nprint(open('gezien.txt').read() if os.path.exists('gezien.txt') else '')",
    ),
    "a thread": (
        "import threading, time\ngezien, klaar = [], threading.Event()\n"
        "def later():\n    klaar.wait(6)\n    print(gezien)\n"
        "threading.Thread(target=later, daemon=True).start()\n"
        "def gemiddelde(rij):\n    gezien.append(rij)\n    return 0\n", "klaar.set(); time.sleep(1)",
    ),
    "the end of the process": (
        "import atexit, os\ngezien = []\natexit.register(lambda: os.write(1, repr(gezien).encode()))\n"
        "def gemiddelde(rij):\n    gezien.append(rij)\n    return 0\n", "import sys\natexit._run_exitfuncs()",
    ),
    "an earlier display": (
        "hier = display('nog niets', display_id=True)\ngezien = []\n"
        "def gemiddelde(rij):\n    gezien.append(rij)\n    hier.update(repr(gezien))\n    return 0\n",
        "hier.update(repr(gezien))",
    ),
    "printing at once": ("def gemiddelde(rij):\n    print(rij)\n    return 0\n", ""),
    "an error's text": ("def gemiddelde(rij):\n    raise ValueError(rij)\n", ""),
    "an error's name": ("def gemiddelde(rij):\n    raise type(f'E{rij[-1]}', (Exception,), {})('fout')\n", ""),
    "a hook after each cell": (
        "gezien = []\ndef gemiddelde(rij):\n    gezien.append(rij)\n    return 0\n"
        "get_ipython().events.register('post_run_cell', lambda _: print(gezien))\n", "",
    ),
    "the history": ("gemiddelde = lambda rij: 0", "print(In)"),
}  # fmt: skip
# The control has the visible check met, so that the hidden one is reached.
MET = "def _met(f):\n    return lambda rij: f(rij) if len(rij) != 3 else 2.0\ngemiddelde = _met(gemiddelde)\n"


@pytest.mark.attack
def test_nothing_that_code_has_seen_comes_back_to_the_student(judge: Judge) -> None:
    held = judge(*(work(payload + "\n" + MET, later) for payload, later in LEAKS.values()))
    for name, one in zip(LEAKS, held, strict=True):
        assert SECRET_INPUT not in one.seen and SECRET_ANSWER not in one.seen, name
        assert one.marks == [0, 1], name
    # The same cell as an ordinary test shows the input by every one of these ways.
    got = judge(*(work(payload + "\n" + MET, later, ordinary=True) for payload, later in LEAKS.values()))
    for name, control in zip(LEAKS, got, strict=True):
        assert SECRET_INPUT in control.seen, f"{name}: the control"


@pytest.mark.attack
def test_it_is_the_run_of_their_own_that_keeps_hidden_inputs_from_later_cells(judge: Judge) -> None:
    names = ("a later cell prints them", "a file", "a thread", "an earlier display", "a hook after each cell")
    works = [work(LEAKS[name][0] + "\n" + MET, LEAKS[name][1]) for name in names]
    for name, one in zip(names, judge(*works, without="a run of its own"), strict=True):
        assert SECRET_INPUT in one.seen, name


@pytest.mark.attack
def test_a_forged_message_wins_what_its_answer_is_worth(judge: Judge) -> None:
    forging = """
import json, threading
from IPython.display import publish_display_data
import leerlab_lab.valuechecks.asking as asking
def forge(names, steps):
    for number in range(20):
        for kind in ({"value": ANSWER[number % 2]}, {"value": ANSWER[number % 2], "passed": True}):
            publish_display_data({asking.ANSWER: json.dumps({"number": number, **kind})})
asking.answer = forge
gemiddelde = lambda rij: 0
"""
    junk = """
from IPython.display import publish_display_data
import json, leerlab_lab.valuechecks.asking as asking
texts = ["", "[]", "null", "{", "NaN", '{"number": true, "value": 2.0}', '{"number": 0}', '{"number": 1e999}',
         '{"number": 0, "value": NaN}', "[" * 100000, '{"number": 0, "value": ' + "[" * 5000 + "]" * 5000 + "}",
         '{"number": 0, "value": {"pairs": [[[{}], 1]]}}', '{"number": 0, "value": ' + "9" * 5000 + "}"]
def forge(names, steps):
    for text in texts:
        publish_display_data({asking.ANSWER: text})
    for value in ({"number": 0}, ["a"], 7, None):
        get_ipython().display_pub.publish({asking.ANSWER: value})
asking.answer = forge
gemiddelde = lambda rij: 0
"""
    patched = """
import json
json.dumps = lambda told, **_: '{"number": %d, "value": {"passed": true}}' % told.get("number", 0)
gemiddelde = lambda rij: 0
"""
    guessed, known, spoilt, patched_json = judge(
        work("ANSWER = [2.0, True]" + forging), work("ANSWER = [2.0, 4703.5]" + forging), work(junk), work(patched)
    )
    assert guessed.marks[0] == 0 and known.marks[0] == 2
    assert spoilt.marks[0] == 0 and "gaf hier geen antwoord" in spoilt.said[0][0]
    assert patched_json.marks[0] == 0


@pytest.mark.attack
def test_no_value_breaks_the_comparison_or_another_check(judge: Judge) -> None:
    payloads = {
        "huge list": "[0.0] * 10**7", "huge text": "'x' * 10**7", "huge number": "10 ** 10 ** 5",
        "nan": "float('nan')", "inf": "float('inf')", "deep": "diep", "endless": "kring", "complex": "2j",
        "bytes": "b'2'", "function": "print",
        "lone half": "'\\ud800'", "odd keys": "{(1, (2,)): {None: 1}, frozenset(): 2}", "negative inf": "-1e999",
    }  # fmt: skip
    start = "diep = 2.0\nfor _ in range(10**4):\n    diep = [diep]\nkring = []\nkring.append(kring)\n"
    held = judge(*(work(f"{start}gemiddelde = lambda rij: {value}\n") for value in payloads.values()))
    for name, one in zip(payloads, held, strict=True):
        assert one.marks == [0, 1], name
    # The same answers made right are taken, in the same channel.
    (right,) = judge(work("import decimal\ngemiddelde = lambda rij: decimal.Decimal(sum(rij)) / len(rij)\n"))
    assert right.marks == [2, 1]


@pytest.mark.attack
def test_a_table_of_the_visible_examples_fails_where_it_passes_without_a_hidden_check(judge: Judge) -> None:
    table = "gemiddelde = lambda rij: {(1, 2, 3): 2.0}.get(tuple(rij), 0.0)\n"
    visible = CHECKS.partition("### BEGIN")[0]
    held, control = judge(work(table), work(table, test=visible))
    assert (held.marks[0], control.marks[0]) == (0, 2)


@pytest.mark.attack
def test_a_test_that_a_student_took_the_marks_from_is_not_run_with_its_answers(judge: Judge) -> None:
    # A test that its student marked as none, with the hidden tests put back into it, and the test itself once more.
    spy = """
import leerlab_lab.checks
gezien = []
def spy(answer, **expected):
    gezien.append(expected)
leerlab_lab.checks.check = spy
nummer = iter(range(9))
gemiddelde = lambda rij: gezien[len(rij) == 2]["gives"] if len(gezien) > 1 else 0
"""
    cells = [
        cell(spy, solution=True, grade_id="gemiddelde"),
        cell(CHECKS, grade_id="controle-oud", locked=True),
        cell("print(gezien)"),
        cell(CHECKS, **TEST),
    ]
    asked = {"cells": cells, "ordinary": False}
    (held,) = judge(asked)
    (control,) = judge(asked, without="decided by its source")
    assert held.marks == [0] and "'gives': " + SECRET_ANSWER not in held.seen
    assert control.marks == [2] and "'gives': " + SECRET_ANSWER in control.seen


@pytest.mark.attack
def test_nothing_of_a_check_lies_in_a_file_that_code_can_read(judge: Judge) -> None:
    search = """
import os
gevonden = []
for place in ('/home', '/tmp', '.', '/dev/shm', '/run'):
    for folder, _, names in os.walk(place):
        for name in names:
            try:
                if 'gives=' + '4703.5' in open(os.path.join(folder, name), errors='replace').read(10**7):
                    gevonden.append(name)
            except OSError:
                pass
gemiddelde = lambda rij: 2.0 if len(rij) == 3 else (4703.5 if gevonden else 0)
"""
    (held,) = judge(work(search))
    (control,) = judge(work(search), files={"bron.txt": CHECKS})
    assert (held.marks[0], control.marks[0]) == (0, 2)


def test_code_that_ends_or_never_answers_costs_its_own_check_alone(judge: Judge) -> None:
    ends, loops, leaves = judge(
        work("import os\ngemiddelde = lambda rij: os._exit(0)\n"),
        work("def gemiddelde(rij):\n    while True:\n        pass\n"),
        work("def gemiddelde(rij):\n    raise SystemExit\n"),
    )
    for one in (ends, loops, leaves):
        assert one.marks == [0, 1]
    assert all("gaf hier geen antwoord" in one.said[0][0] for one in (ends, loops))


def test_in_a_lab_a_check_says_at_once_what_is_expected_and_what_came_out(lab: Lab) -> None:
    source = """
from leerlab_lab.checks import CheckFailed, check
import numpy as np
check(np.array([1.0, 2.0]), gives=[1, 2])
try:
    check(6, gives=2.0)
except CheckFailed as error:
    print(error, error._render_traceback_()[-1])
"""
    sentence = "Hier moet 2.0 uitkomen. Nu komt er 6 uit."
    assert lab.python(source, offer=OFF).strip() == f"{sentence} CheckFailed: {sentence}"
