"""The assignments of the comparison, as a teacher writes them for nbgrader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

STUB = "def {name}:\n    ### BEGIN SOLUTION\n    return {right}\n    ### END SOLUTION\n"
HIDDEN = "\n### BEGIN HIDDEN TESTS\n{tests}\n### END HIDDEN TESTS\n"

SQUARE = STUB.format(name="kwadraat(x)", right="x * x")

# Of each test, its name and what it is worth.
BASIS_TESTS = {
    "zichtbaar": (2, "assert kwadraat(3) == 9\nassert kwadraat(-2) == 4, 'min keer min is plus'"),
    "verborgen": (3, "assert kwadraat(1) == 1" + HIDDEN.format(tests="assert kwadraat(12) == 144")),
    "deelscore": (
        4,
        "punten = 0\nfor n in (0, 1, 2, 12):\n    try:\n        punten += int(kwadraat(n) == n * n)\n"
        "    except Exception:\n        pass\npunten",
    ),
}

# Tests of every kind that teachers write.
KINDS = {
    "niets": (1, ""),
    "alleen-woorden": (1, "# Deze test kijkt nergens naar."),
    "print": (1, "print('ik test', kwadraat(2))\nassert kwadraat(2) == 4"),
    "stderr": (1, "import sys\nprint('ik test', file=sys.stderr)\nassert kwadraat(2) == 4"),
    "stderr-en-fout": (1, "import sys\nprint('ik test', file=sys.stderr)\nassert kwadraat(2) == 5"),
    "waarschuwt": (1, "import warnings\nwarnings.warn('let op')\nassert kwadraat(2) == 4"),
    "waarheid": (1, "kwadraat(12) == 144"),
    "deel": (2, "(kwadraat(2) == 4) * 0.5 + (kwadraat(12) == 144) * 1.25"),
    "heel-deel": (2, "2 if kwadraat(12) == 144 else 1"),
    "niets-als-uitkomst": (1, "None if kwadraat(12) == 144 else 0"),
    "woorden-als-uitkomst": (1, "'goed' if kwadraat(12) == 144 else 'fout'"),
    "min-een": (1, "1 if kwadraat(12) == 144 else -1"),
    "toont": (2, "display('bezig')\nprint('bezig')\n1.5 if kwadraat(12) == 144 else 0.5"),
    "toont-en-faalt": (1, "display('bezig')\nassert kwadraat(12) == 144"),
    "wacht": (1, "import asyncio\nassert await asyncio.sleep(0, kwadraat(12)) == 144"),
    "async-def": (1, "async def test():\n    return kwadraat(12)\nassert await test() == 144"),
    "tijd": (1, "%%time\nassert kwadraat(12) == 144"),
    "vangt": (1, "%%capture gezegd\nprint(kwadraat(12))\nassert kwadraat(12) == 144"),
    "leest-wat-gezegd-is": (
        1, "import contextlib, io\nuit = io.StringIO()\nwith contextlib.redirect_stdout(uit):\n"
        "    print(kwadraat(12))\nassert uit.getvalue() == '144\\n'",
    ),
    "bron": (1, "import inspect\nassert 'return' in inspect.getsource(kwadraat)"),
    "boom": (
        1, "import ast, inspect, textwrap\nboom = ast.parse(textwrap.dedent(inspect.getsource(kwadraat)))\n"
        "assert not any(isinstance(knoop, ast.For) for knoop in ast.walk(boom))",
    ),
    "unittest": (
        1, "import unittest\nclass Test(unittest.TestCase):\n    def test_twaalf(self):\n"
        "        self.assertEqual(kwadraat(12), 144)\n"
        "soort = unittest.defaultTestLoader.loadTestsFromTestCase(Test)\n"
        "assert unittest.TextTestRunner(stream=__import__('sys').stdout).run(soort).wasSuccessful()",
    ),
    "unittest-op-stderr": (
        1, "import unittest\nclass Test(unittest.TestCase):\n    def test_twee(self):\n"
        "        self.assertEqual(kwadraat(2), 4)\n"
        "soort = unittest.defaultTestLoader.loadTestsFromTestCase(Test)\n"
        "assert unittest.TextTestRunner().run(soort).wasSuccessful()",
    ),
    "nagedaan": (
        1, "from unittest import mock\nwith mock.patch('builtins.print') as gezegd:\n"
        "    assert kwadraat(12) == 144\nassert not gezegd.called",
    ),
    "verwacht-een-fout": (
        1, "try:\n    kwadraat(None)\nexcept TypeError:\n    pass\nelse:\n    raise AssertionError('geen TypeError')",
    ),
    "programma": (
        1, "import subprocess, sys\nuit = subprocess.run([sys.executable, '-c', f'print({kwadraat(12)})'],"
        " capture_output=True, text=True, check=True).stdout\nassert uit == '144\\n'",
    ),
    "shell": (1, "uit = !expr {kwadraat(2)} + 1\nassert uit == ['5']"),
    "wekker": (
        1, "import signal\ndef wek(*_):\n    raise TimeoutError\noud = signal.signal(signal.SIGALRM, wek)\n"
        "signal.alarm(5)\ntry:\n    assert kwadraat(12) == 144\nfinally:\n"
        "    signal.alarm(0)\n    signal.signal(signal.SIGALRM, oud)",
    ),
    "draden": (
        1, "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(2) as draden:\n"
        "    assert list(draden.map(kwadraat, [2, 12])) == [4, 144]",
    ),
    "processen": (
        1, "import multiprocessing\nwith multiprocessing.Pool(1) as werkers:\n"
        "    assert werkers.apply(kwadraat, (12,)) == 144",
    ),
    "schrijft": (1, "from pathlib import Path\nPath('stand.txt').write_text(str(kwadraat(12)))\n1"),
    "leest-terug": (1, "assert Path('stand.txt').read_text() == '144'"),
    "toeval": (
        1, "import random\nrandom.seed(1)\nassert all(kwadraat(n) == n * n for n in random.sample(range(9), 5))",
    ),
    "eindigt": (1, "import sys\nif kwadraat(12) != 144:\n    sys.exit('fout')"),
    "breekt-af": (1, "if kwadraat(12) != 144:\n    raise KeyboardInterrupt"),
    "kent-de-naam": (1, "assert 'kwadraat' in globals() and callable(kwadraat) and 'x' not in globals()"),
    "heel-veel": (1, "for n in range(300):\n    assert kwadraat(n % 9) == (n % 9) ** 2\n    print(n, 'x' * 500)"),
    "logt": (1, "import logging\nlogging.getLogger('test').warning('ik test')\nassert kwadraat(2) == 4"),
    "fout-van-de-docent": (1, "assert kwadraat(2) == 4)"),
}  # fmt: skip

GRADE = {"cijfer": (2, "cijfer()")}

READING = {
    "rijen": (2, "assert rijen('gegevens.csv') == [('a', 1), ('b', 2)]"),
    "hulp": (1, "from hulp import tel\nassert tel(rijen('gegevens.csv')) == 2"),
    "onder": (1, "import json\nassert json.load(open('onder/meer.json')) == {'x': 1}"),
    "eigen-naam": (1, "import key_value\nassert key_value.van_de_docent == rijen('gegevens.csv')[0][1]"),
    "naam-van-python": (1, "import sched\nassert hasattr(sched, 'scheduler')"),
}
MODEL = {
    "som": (2, "assert som(rijen2('gegevens.csv')) == 3"),
    "bewaard": (3, "from pathlib import Path\n3 if Path('klaar.txt').exists() else 1"),
}
READ = (
    "import csv\nimport key_value\nimport sched\n"
    "def rijen(naam):\n    ### BEGIN SOLUTION\n    with open(naam) as bestand:\n"
    "        return [(regel['naam'], int(regel['waarde'])) for regel in csv.DictReader(bestand)]\n"
    "    ### END SOLUTION\n"
)
SUM = (
    "import csv\n"
    "def rijen2(naam):\n    with open(naam) as bestand:\n"
    "        return [int(rij['waarde']) for rij in csv.DictReader(bestand)]\n"
    "def som(getallen):\n    ### BEGIN SOLUTION\n    return sum(getallen)\n    ### END SOLUTION\n"
)
GIVEN = {
    "gegevens.csv": "naam,waarde\na,1\nb,2\n",
    "hulp.py": "def tel(dingen):\n    return len(dingen)\n",
    # A package of the environment has this name too, which counts for less; and one of Python itself, for more.
    "key_value.py": "van_de_docent = 1\n",
    "sched.py": "van_de_docent = 1\n",
    "onder/meer.json": '{"x": 1}\n',
}

SCIENCE = {
    "numpy": (2, "assert np.allclose(schaal(np.array([1.0, 2.0, 3.0])), [0, 0.5, 1])"),
    "numpy-deel": (3, "float((np.abs(schaal(np.arange(4)) - np.arange(4) / 3) < 1e-9).sum() * 0.75)"),
    "numpy-getal": (2, "np.float64(1.5) if schaal(np.arange(2))[1] == 1 else np.float64(0.5)"),
    "pandas": (2, "tabel = pd.DataFrame({'x': [2, 4, 6]})\nassert list(schaal(tabel['x'])) == [0, 0.5, 1]"),
    "plot": (1, "fig, ax = plt.subplots()\nax.plot(schaal(np.arange(3)))\nassert len(ax.lines) == 1"),
    "toeval": (
        1, "np.random.seed(3)\na = schaal(np.random.rand(5))\nnp.random.seed(3)\n"
        "assert (a == schaal(np.random.rand(5))).all()"
        " and abs(np.random.default_rng(0).random() - 0.6369616873) < 1e-9",
    ),
}  # fmt: skip
SCALE = "import numpy as np\nimport pandas as pd\nimport matplotlib.pyplot as plt\n" + STUB.format(
    name="schaal(x)", right="(x - x.min()) / (x.max() - x.min())"
)
TRAINS = {
    "net": (2, "assert torch.allclose(verlies(torch.ones(2), torch.zeros(2)), torch.tensor(1.0))"),
    "leert": (
        3, "torch.manual_seed(0)\nw = torch.zeros(1, requires_grad=True)\nstap = torch.optim.SGD([w], 0.1)\n"
        "for _ in range(20):\n    stap.zero_grad()\n    verlies(w * torch.ones(4), 2 * torch.ones(4)).backward()\n"
        "    stap.step()\nfloat(3 if abs(w.item() - 2) < 0.1 else 1)",
    ),
    "zelfde-toeval": (
        1, "torch.manual_seed(1)\na = torch.rand(3)\ntorch.manual_seed(1)\nassert (a == torch.rand(3)).all()",
    ),
}  # fmt: skip
LOSS = "import torch\n" + STUB.format(name="verlies(y, t)", right="((y - t) ** 2).mean()")


def meta(name: str, *, points: float | None = None, solution: bool = False, task: bool = False) -> dict[str, Any]:
    """nbgrader's metadata of one cell."""
    about: dict[str, Any] = {
        "schema_version": 3, "grade_id": name, "grade": points is not None and not task, "solution": solution,
        "locked": (points is not None and not solution) or task, "task": task,
    }  # fmt: skip
    return {"nbgrader": about | ({"points": points} if points is not None else {})}


def _notebook(answer: str, tests: dict[str, tuple[int, str]], *more: NotebookNode) -> NotebookNode:
    new = nbformat.v4
    cells = [
        new.new_markdown_cell("# Opdracht\n\nMaak de cel hieronder af.", id="intro"),
        new.new_code_cell(answer, id="antwoord", metadata=meta("antwoord", solution=True)),
        *(
            new.new_code_cell(text, id=f"t-{name}"[:60], metadata=meta(name, points=points))
            for name, (points, text) in tests.items()
        ),
        *more,
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def _by_hand() -> tuple[NotebookNode, ...]:
    """What a person grades."""
    new = nbformat.v4
    own = meta("eigen-test", points=5, solution=True)
    return (
        new.new_code_cell("# Schrijf hier een test van jezelf.", id="eigen", metadata=own),
        new.new_markdown_cell("Leg uit wat je deed.", id="uitleg", metadata=meta("uitleg", points=3, solution=True)),
        new.new_markdown_cell("Maak hieronder een verslag.", id="taak", metadata=meta("verslag", points=2, task=True)),
    )  # fmt: skip


SOURCES: dict[str, dict[str, NotebookNode]] = {
    "basis": {"werk": _notebook(SQUARE, BASIS_TESTS, *_by_hand())},
    "toetsen": {"werk": _notebook(SQUARE, KINDS)},
    "cijfers": {"werk": _notebook(STUB.format(name="cijfer()", right="2"), GRADE)},
    "bestanden": {"lezen": _notebook(READ, READING), "model": _notebook(SUM, MODEL)},
    "wetenschap": {"werk": _notebook(SCALE, SCIENCE)},
    "leren": {"werk": _notebook(LOSS, TRAINS)},
    "einden": {"werk": _notebook(SQUARE, BASIS_TESTS)},
}
"""The notebooks of each assignment, by name."""

FILES: dict[str, dict[str, str]] = {"bestanden": GIVEN}
"""What a teacher gives along with an assignment."""


def write_source(course: Path, assignment: str) -> None:
    """Write one assignment's source into a course folder."""
    folder = course / "source" / assignment
    folder.mkdir(parents=True)
    for name, notebook in SOURCES[assignment].items():
        nbformat.write(notebook, folder / f"{name}.ipynb")
    for name, text in FILES.get(assignment, {}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
