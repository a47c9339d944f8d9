"""The assignment that grading is measured with, and what a class hands in for it.

One notebook: eight checks of one point around a small PyTorch model that is trained in it. Every answer is one of a few
ways to write one of five functions, so that a class of any size is made from numbers alone and is the same each time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

COURSE, ASSIGNMENT = "meting", "verbruik"
POINTS = 8

_IMPORTS = "import numpy as np\nimport pandas as pd\nimport torch"
_DATA = """torch.manual_seed(7)
rng = np.random.default_rng(7)
weather = pd.DataFrame({"temperature": rng.normal(10, 6, 400), "wind": rng.gamma(2.0, 2.5, 400)})
use = 40 - 1.5 * weather["temperature"] + 0.8 * weather["wind"] + rng.normal(0, 1, 400)
inputs = torch.tensor(weather.to_numpy(), dtype=torch.float32)
target = torch.tensor(use.to_numpy(), dtype=torch.float32).reshape(-1, 1)"""
_PREPARE = "scaled = scale(inputs)\ntorch.manual_seed(7)\nmodel = make_model(2)\nlosses = train(model, scaled, target, 150)"

# What a solution cell asks, in its order: the right answer, and others.
_ANSWERS: Mapping[str, Mapping[str, str]] = {
    "scale": {
        "right": "def scale(x):\n    return (x - x.mean(0)) / x.std(0)",
        "right-2": "def scale(x):\n    centre = torch.mean(x, dim=0)\n    return (x - centre) / torch.std(x, dim=0)",
        "wrong": "def scale(x):\n    return x / x.max()",
        "raising": "def scale(x):\n    raise NotImplementedError('scale')",
    },
    "make_model": {
        "right": "def make_model(n):\n    return torch.nn.Sequential(torch.nn.Linear(n, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))",
        "right-2": (
            "class Net(torch.nn.Module):\n    def __init__(self, n):\n        super().__init__()\n"
            "        self.hidden, self.out = torch.nn.Linear(n, 8), torch.nn.Linear(8, 1)\n"
            "    def forward(self, x):\n        return self.out(torch.relu(self.hidden(x)))\n\n"
            "def make_model(n):\n    return Net(n)"
        ),
        "wrong": "def make_model(n):\n    return torch.nn.Linear(n, 1)",
        "raising": "def make_model(n):\n    return torch.nn.Linear(n, 8, 1, 2, 3, 4)",
    },
    "train": {
        "right": (
            "def train(model, x, y, steps):\n    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)\n    losses = []\n"
            "    for _ in range(steps):\n        optimizer.zero_grad()\n        loss = ((model(x) - y) ** 2).mean()\n"
            "        loss.backward()\n        optimizer.step()\n        losses.append(loss.item())\n    return losses"
        ),
        "right-2": (
            "def train(model, x, y, steps):\n    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)\n"
            "    criterion = torch.nn.MSELoss()\n    losses = []\n    for step in range(steps):\n"
            "        loss = criterion(model(x), y)\n        optimizer.zero_grad()\n        loss.backward()\n"
            "        optimizer.step()\n        losses.append(float(loss))\n        if step % 50 == 0:\n"
            "            print(step, round(float(loss), 2))\n    return losses"
        ),
        "wrong": "def train(model, x, y, steps):\n    return [((model(x) - y) ** 2).mean().item() for _ in range(steps)]",
        "raising": "def train(model, x, y, steps):\n    return model.fit(x, y, epochs=steps)",
    },
    "predict": {
        "right": "def predict(model, x):\n    with torch.no_grad():\n        return model(x).numpy().ravel()",
        "right-2": "def predict(model, x):\n    return model(x).detach().numpy().reshape(-1)",
        "wrong": "def predict(model, x):\n    return np.zeros(len(x))",
        "raising": "def predict(model, x):\n    return model(x).numpy()",
    },
    "error": {
        "right": "def error(predicted, real):\n    return float(np.abs(predicted - real).mean())",
        "right-2": "def error(predicted, real):\n    return sum(abs(p - r) for p, r in zip(predicted, real)) / len(real)",
        "wrong": "def error(predicted, real):\n    return float((predicted - real).mean())",
        "raising": "def error(predicted, real):\n    return abs(predicted - reel).mean()",
    },
}  # fmt: skip
_LOOPS = ("while True:\n    pass", "import time\nwhile True:\n    time.sleep(0.01)")
_KILLS = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"

# Each cell in its order: kind, name and text.
_CELLS: Sequence[tuple[str, str, str]] = (
    ("given", "imports", _IMPORTS),
    ("given", "data", _DATA),
    ("answer", "scale", ""),
    ("check", "check-scale", "assert torch.allclose(scale(inputs).mean(0), torch.zeros(2), atol=1e-4)"),
    ("check", "check-spread", "assert torch.allclose(scale(inputs).std(0), torch.ones(2), atol=1e-3)"),
    ("answer", "make_model", ""),
    ("check", "check-model", "assert sum(p.numel() for p in make_model(2).parameters()) == 33"),
    ("answer", "train", ""),
    ("given", "prepare", _PREPARE),
    ("check", "check-learns", "assert losses[-1] < losses[0] / 10"),
    (
        "check", "check-hidden",
        "assert len(losses) == 150\n### BEGIN HIDDEN TESTS\nassert train(make_model(2), scaled, target, 3)[0] > 0\n### END HIDDEN TESTS",
    ),
    ("answer", "predict", ""),
    ("check", "check-predict", "assert predict(model, scaled).shape == (400,)\nassert predict(model, scaled).std() > 1"),
    ("answer", "error", ""),
    ("check", "check-error", "assert abs(error(np.array([1.0, 2.0]), np.array([2.0, 4.0])) - 1.5) < 1e-9"),
    (
        "check", "check-good",
        "### BEGIN HIDDEN TESTS\nassert error(predict(model, scaled), target.numpy().ravel()) < 1.5\n### END HIDDEN TESTS",
    ),
)  # fmt: skip
CHECKS = tuple(name for kind, name, _ in _CELLS if kind == "check")


class Kind(StrEnum):
    """What somebody's work does to whoever grades it."""

    BENIGN = "benign"
    LOOPS = "loops"
    KILLS = "kills"


@dataclass(frozen=True)
class Work:
    """One piece of work.

    Args:
        student: whose.
        kind: what it does to whoever grades it.
        answers: the code of each answer.
    """

    student: str
    kind: Kind
    answers: Mapping[str, str]

    def written_into(self, released: NotebookNode) -> NotebookNode:
        """The student's version of the assignment, with the answers in it."""
        notebook = nbformat.from_dict(json.loads(nbformat.writes(released)))
        for cell in notebook.cells:
            code = self.answers.get(cell.metadata.get("nbgrader", {}).get("grade_id", ""))
            if code is not None:
                cell.source = code
        return notebook


def benign(count: int) -> list[Work]:
    """Work that does no harm: of three pieces one is right, one wrong and one raises somewhere."""
    return [_benign(number) for number in range(count)]


def class_of_30() -> list[Work]:
    """The class of `grade-class`: 27 benign pieces, two that loop without end, one that kills its Python.

    The three stand where chance would put them: not first, and not last, where a run of several at once would hide them.
    """
    work = benign(27)
    right = {name: answers["right"] for name, answers in _ANSWERS.items()}
    work.insert(7, Work("lus-1", Kind.LOOPS, {**right, "train": _LOOPS[0]}))
    work.insert(14, Work("dood-1", Kind.KILLS, {**right, "predict": _KILLS}))
    work.insert(21, Work("lus-2", Kind.LOOPS, {**right, "error": _LOOPS[1]}))
    return work


def _benign(number: int) -> Work:
    names, way = list(_ANSWERS), number // 3
    answers = {
        name: _ANSWERS[name]["right-2" if (way >> place) % 2 else "right"] for place, name in enumerate(names)
    }
    if number % 3:
        name = names[way % len(names)]
        answers[name] = _ANSWERS[name]["wrong" if number % 3 == 1 else "raising"]
    return Work(f"s{number:04d}", Kind.BENIGN, answers)


def write_course(folder: Path) -> None:
    """Write the course as the catalogue has courses: its description and the assignment's source.

    Args:
        folder: an empty folder.
    """
    both = {"nl": "Meting", "en": "Measurement"}
    description = {
        "id": COURSE, "title": both, "summary": both, "track": "hbo", "level": "hbo 1", "hours": 1,
        "outcomes": [{"id": "meten", "text": both}],
        "assignments": [{"id": ASSIGNMENT, "title": both, "minutes": 30, "outcomes": ["meten"]}],
    }  # fmt: skip
    # JSON is YAML too.
    (folder / "course.yaml").write_text(json.dumps(description, indent=1), "utf-8")
    source = folder / "source" / ASSIGNMENT
    source.mkdir(parents=True)
    nbformat.write(_source(), source / f"{ASSIGNMENT}.ipynb")


def hand_in(course: Path, work: Sequence[Work]) -> None:
    """Put work where nbgrader collects it.

    Args:
        course: nbgrader's folder of the course, with `release/<assignment>`.
        work: of everybody.
    """
    name = f"{ASSIGNMENT}.ipynb"
    released = nbformat.read(course / "release" / ASSIGNMENT / name, 4)
    for one in work:
        folder = course / "submitted" / one.student / ASSIGNMENT
        folder.mkdir(parents=True)
        nbformat.write(one.written_into(released), folder / name)
        (folder / "timestamp.txt").write_text("2026-11-01 10:00:00.000000 UTC", "utf-8")


def _source() -> NotebookNode:
    cells = [nbformat.v4.new_markdown_cell("# Verbruik", id="intro")]
    for kind, name, text in _CELLS:
        if kind == "answer":
            text = f"### BEGIN SOLUTION\n{_ANSWERS[name]['right']}\n### END SOLUTION"  # noqa: PLW2901
        cells.append(nbformat.v4.new_code_cell(text, id=name, metadata=_metadata(kind, name)))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def _metadata(kind: str, name: str) -> dict[str, Any]:
    if kind == "given":
        return {}
    meta: dict[str, Any] = {
        "schema_version": 3, "grade_id": name, "grade": kind == "check", "solution": kind == "answer",
        "locked": kind == "check", "task": False,
    }  # fmt: skip
    return {"nbgrader": meta | ({"points": 1} if kind == "check" else {})}
