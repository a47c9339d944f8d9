"""Everything that is handed in for the comparison, made from the texts in `behaviours/` and from `equal_shapes`.

A text holds behaviours, each begun by `=== name`. Its cells are begun by `--- before` (a cell before the answer's),
`--- answer` (the answer's own; where nothing is said, it begins so), `--- between` (just after it), `--- after` (at the
end); `--- file NAME` is a file that is handed in along, and `--- untouched` leaves the answer as it was released.
`{answer}` stands for an answer that is right or, for half of them, only partly right.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from equal_shapes import SHAPES, at
from equal_sources import SOURCES
from nbformat import NotebookNode

BEHAVIOURS = Path(__file__).with_name("behaviours")
ANSWERS = {
    "basis": ("def kwadraat(x):\n    return x * x", "def kwadraat(x):\n    return x * x if abs(x) < 10 else 0"),
    "bestanden": (
        "def rijen(naam):\n    with open(naam) as bestand:\n"
        "        return [(regel['naam'], int(regel['waarde'])) for regel in csv.DictReader(bestand)]",
        "def rijen(naam):\n    with open(naam) as bestand:\n"
        "        return [(regel['naam'], 1) for regel in csv.DictReader(bestand)]",
    ),
    "wetenschap": (
        "def schaal(x):\n    return (x - x.min()) / (x.max() - x.min())", "def schaal(x):\n    return x / x.max()",
    ),
    "leren": (
        "def verlies(y, t):\n    return ((y - t) ** 2).mean()", "def verlies(y, t):\n    return (y - t).abs().sum()",
    ),
}  # fmt: skip
ANSWERS["einden"] = ANSWERS["basis"]
ANSWERS["toetsen"] = (
    *ANSWERS["basis"],
    "def kwadraat(x):\n    return x + x",
    "def kwadraat(x):\n    raise NotImplementedError",
    "def kwadraat(x):\n    print('ik reken', x)\n    return x ** 2",
    "import sys\ndef kwadraat(x):\n    print('ik reken', x, file=sys.stderr)\n    return x ** 2",
    "kwadraat = lambda x: str(x * x)",
)
# What stands above the answer in a cell of that assignment, as it was released.
IMPORTS = {
    "bestanden": "import csv\nimport key_value\nimport sched\n",
    "wetenschap": "import numpy as np\nimport pandas as pd\nimport matplotlib.pyplot as plt\n",
    "leren": "import torch\n",
}
SUM = (
    "import csv\ndef rijen2(naam):\n    with open(naam) as bestand:\n"
    "        return [int(rij['waarde']) for rij in csv.DictReader(bestand)]\n"
    "def som(getallen):\n    return sum(getallen)"
)
TEXTS = {
    "code": "basis", "shown": "basis", "system": "basis", "files": "bestanden", "science": "wetenschap",
    "learning": "leren", "grades": "cijfers", "ends": "einden",
}  # fmt: skip

LONGEST_NAME = 31
"""Of a person (`grading.names`)."""


@dataclass(frozen=True)
class Work:
    """What one student hands in.

    Args:
        behaviour: the class of behaviour that it is an example of.
        assignment: for which.
        notebooks: by name.
        files: what is handed in beside them.
    """

    behaviour: str
    assignment: str
    notebooks: dict[str, NotebookNode]
    files: dict[str, str] = field(default_factory=dict)

    @property
    def student(self) -> str:
        """Who hands it in: a name made of the behaviour's, no longer than a person's may be."""
        name = re.sub(r"[^a-z0-9]+", "-", self.behaviour.lower()).strip("-")
        if len(name) <= LONGEST_NAME:
            return name
        return f"{name[: LONGEST_NAME - 5].rstrip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:4]}"

    @property
    def name(self) -> str:
        return f"{self.assignment}/{self.student}"

    @property
    def digest(self) -> str:
        """Of everything that marks depend on: the work, and the source that it is graded by."""
        told = [self.notebooks, self.files, SOURCES[self.assignment]]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]

    def write(self, course: Path) -> None:
        """Put it where a course has collected it."""
        folder = course / "submitted" / self.student / self.assignment
        for name, text in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "timestamp.txt").write_text("2026-11-20 12:00:00.000000 UTC\n")
        for name, notebook in self.notebooks.items():
            (folder / f"{name}.ipynb").write_text(json.dumps(notebook))


def all_work() -> list[Work]:
    """Everything, in the same order each time."""
    found = [work for text, assignment in TEXTS.items() for work in _of_text(text, assignment)]
    found += [_kind(turn, answer) for turn, answer in enumerate(ANSWERS["toetsen"])]
    found += [_shaped(name) for name in SHAPES]
    found += _of_several_notebooks()
    return found


def _released(assignment: str, name: str = "werk") -> NotebookNode:
    """A notebook as a student gets it: without solutions, hidden tests; nbgrader puts its own back."""
    notebook = deepcopy(SOURCES[assignment][name])
    for cell in notebook.cells:
        cell.source = re.sub(
            r"( *)### BEGIN SOLUTION.*?### END SOLUTION", r"\1raise NotImplementedError()", cell.source, flags=re.S
        )
        cell.source = re.sub(r"\n### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS", "", cell.source, flags=re.S)
    return notebook


def _with(text: str, answer: str) -> str:
    """A cell's text with the answer in it."""
    return text.replace("{answer}", answer).strip("\n")


def _of_text(text: str, assignment: str) -> Iterator[Work]:
    told = (BEHAVIOURS / f"{text}.txt").read_text("utf-8")
    for block in re.split(r"^=== ", told, flags=re.M)[1:]:
        name, _, rest = block.partition("\n")
        yield _behaving(name, assignment, rest, _answer(name, assignment) if assignment in ANSWERS else "")


def _answer(name: str, assignment: str) -> str:
    """The right answer, or the one that is partly right; which one, no other behaviour changes."""
    return ANSWERS[assignment][zlib.crc32(name.encode()) % 2]


def _behaving(name: str, assignment: str, text: str, answer: str) -> Work:
    notebook = _released(assignment, next(iter(SOURCES[assignment])))
    place = at(notebook, "antwoord")
    files: dict[str, str] = {}
    before, between, after = [], [], []
    for part in re.split(r"^--- ", "--- answer\n" + text if not text.startswith("---") else text, flags=re.M)[1:]:
        kind, _, body = part.partition("\n")
        if kind.startswith("file "):
            files[kind.removeprefix("file ")] = body.strip("\n") + "\n" if body.strip() else ""
        elif kind == "answer":
            notebook.cells[place].source = IMPORTS.get(assignment, "") + _with(body, answer)
        elif kind != "untouched":
            {"before": before, "between": between, "after": after}[kind].append(
                nbformat.v4.new_code_cell(_with(body, answer), id=f"{kind}-{len(before) + len(after) + len(between)}")
            )
    notebook.cells[place + 1 : place + 1] = between
    notebook.cells[place:place] = before
    notebook.cells += after
    notebooks = {next(iter(SOURCES[assignment])): notebook}
    if assignment == "bestanden":
        notebooks["model"] = _released("bestanden", "model")
        notebooks["model"].cells[1].source = SUM
    return Work(name, assignment, notebooks, files)


def _kind(turn: int, answer: str) -> Work:
    notebook = _released("toetsen")
    notebook.cells[at(notebook, "antwoord")].source = answer
    return Work(f"tests of every kind {turn + 1}", "toetsen", {"werk": notebook})


def _shaped(name: str) -> Work:
    notebook = _released("basis")
    notebook.cells[at(notebook, "antwoord")].source = _answer(name, "basis")
    SHAPES[name](notebook)
    _number(notebook)
    return Work(name, "basis", {"werk": notebook})


def _number(notebook: NotebookNode) -> None:
    """nbformat names new cells by chance; the same work has the same names each time."""
    for number, cell in enumerate(notebook.cells):
        if re.fullmatch(r"[0-9a-f]{8}", cell.get("id", "")):
            cell.id = f"nieuw-{number}"


def _of_several_notebooks() -> list[Work]:
    both = _behaving("", "bestanden", "{answer}\n", ANSWERS["bestanden"][0]).notebooks
    extra = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0", id="kladblok")])
    old = deepcopy(both)
    old["model"].nbformat_minor = 2
    for cell in old["model"].cells:
        cell.pop("id", None)
    return [
        Work("first notebook alone", "bestanden", {"lezen": both["lezen"]}),
        Work("second notebook alone", "bestanden", {"model": both["model"]}),
        Work("a notebook too many", "bestanden", {**both, "kladblok": extra}),
        Work("notebooks of two formats", "bestanden", old),
    ]
