"""A small course that keeps every promise, and ways to break one of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from courses.toolkit.check import CourseReport

Checker = Callable[..., CourseReport]
START = """import ipywidgets as widgets
print("Welkom.")
"""
SOLUTION = """def kwadraat(x):
    ### BEGIN SOLUTION
    uitkomst = x * x
    return uitkomst
    ### END SOLUTION
"""
TEST = """_antwoord = kwadraat(3)
assert _antwoord != 6, "Je telt op in plaats van te vermenigvuldigen."
assert _antwoord != 27, "Je vermenigvuldigt een keer te veel."
assert _antwoord == 9, "Drie maal drie is negen."
### BEGIN HIDDEN TESTS
assert kwadraat(-4) == 16, "Met een ander getal klopt het niet."
### END HIDDEN TESTS
"""
SECOND = """som = None
### BEGIN SOLUTION
som = kwadraat(2) + kwadraat(5)
### END SOLUTION
"""
SECOND_TEST = """assert som is not None, "Vul eerst de cel hierboven in."
assert som != 49, "Neem van elk getal het kwadraat, en tel daarna op."
assert som == 29, "Vier en vijfentwintig is samen negenentwintig."
"""
TEXT = "# Kwadraten\n\nEen kwadraat is een getal maal zichzelf. Je maakt er een functie voor. Daarna tel je er twee op."
WRONG = {
    "optellen": ("controle-kwadraat", "Je telt op", {"kwadraat": "def kwadraat(x):\n    return x + x\n"}),
    "te-veel": ("controle-kwadraat", "een keer te veel", {"kwadraat": "def kwadraat(x):\n    return x ** 3\n"}),
    "overgetypt": ("controle-kwadraat", "Met een ander getal", {"kwadraat": "def kwadraat(x):\n    return 9\n"}),
    "eerst-optellen": ("controle-som", "Neem van elk getal", {"som": "som = kwadraat(2 + 5)\n"}),
    "leeg": ("controle-som", "Vul eerst", {"som": "som = None\n"}),
}
OTHER = {"met-macht": {"kwadraat": "def kwadraat(getal):\n    return getal ** 2\n", "som": "som = 4 + 25\n"}}


def cell(kind: str, name: str, source: str, **marks: Any) -> dict[str, Any]:
    """A cell; `marks` are what nbgrader has to know of it."""
    made: dict[str, Any] = {"cell_type": kind, "id": name, "metadata": {}, "source": source}
    if kind == "code":
        made |= {"execution_count": None, "outputs": []}
    if marks:
        of = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3}
        made["metadata"]["nbgrader"] = {**of, "grade_id": name, **marks}
    return made


def good_cells() -> list[dict[str, Any]]:
    return [
        cell("markdown", "titel", TEXT),
        cell("code", "start", START),
        cell("code", "verken", "widgets.IntSlider(description='getal')"),
        cell("code", "kwadraat", SOLUTION, solution=True),
        cell("code", "controle-kwadraat", TEST, grade=True, locked=True, points=2),
        cell("code", "som", SECOND, solution=True),
        cell("code", "controle-som", SECOND_TEST, grade=True, locked=True, points=1),
    ]


@dataclass(frozen=True)
class SmallCourse:
    """The course in a folder."""

    folder: Path

    @property
    def notebook(self) -> Path:
        return self.folder / "source" / "rekenen" / "rekenen.ipynb"

    @property
    def english(self) -> Path:
        return self.folder / "english" / "rekenen.ipynb"

    def write(self) -> SmallCourse:
        for file in (self.notebook, self.english):
            file.parent.mkdir(parents=True)
            write_notebook(file, good_cells())
        teacher = self.folder / "teacher" / "rekenen"
        for kind in ("wrong", "other"):
            (teacher / kind).mkdir(parents=True)
        (teacher / "docent.md").write_text("# Handleiding\n")
        for name, (loses, message, cells) in WRONG.items():
            idea = {"nl": name, "en": name}
            self.case(f"wrong/{name}", misconception=idea, loses=loses, message=message, cells=cells)
        for name, cells in OTHER.items():
            self.case(f"other/{name}", style={"nl": name, "en": name}, cells=cells)
        (self.folder / "course.yaml").write_text(
            "id: klein\ntitle: {nl: Kwadraten, en: Squares}\nsummary: {nl: Rekenen., en: Arithmetic.}\n"
            "track: mbo\nlevel: mbo 2\nhours: 1\noutcomes:\n"
            "  - {id: rekenen, text: {nl: Je rekent een kwadraat uit., en: You work out a square.}}\n"
            "assignments:\n  - id: rekenen\n    title: {nl: Rekenen, en: Arithmetic}\n    minutes: 10\n"
            "    outcomes: [rekenen]\n    measured_by: {rekenen: [controle-kwadraat, controle-som]}\n"
            "    explorables: [verken]\ndatasets: [elecdemand]\n"
        )
        return self

    def case(self, name: str, **said: Any) -> None:
        """A case; YAML takes JSON's texts."""
        file = self.folder / "teacher" / "rekenen" / f"{name}.yaml"
        file.write_text("".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in said.items()))

    def edit(self, name: str, change: Callable[[dict[str, Any]], None], *, both: bool = True) -> None:
        """Change one cell, in both languages or in Dutch alone."""
        for file in (self.notebook, self.english) if both and self.english.exists() else (self.notebook,):
            said = json.loads(file.read_text())
            change(next(one for one in said["cells"] if one["id"] == name))
            file.write_text(json.dumps(said))

    def replace(self, name: str, old: str, new: str, *, both: bool = True) -> None:
        """Change a text in one cell's source."""

        def change(one: dict[str, Any]) -> None:
            assert old in one["source"]
            one["source"] = one["source"].replace(old, new)

        self.edit(name, change, both=both)

    def append(self, name: str, text: str) -> None:
        self.edit(name, lambda one: one.update(source=f"{one['source']}\n{text}"))

    def described(self, old: str, new: str) -> None:
        """Change course.yaml."""
        file = self.folder / "course.yaml"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))


def write_notebook(file: Path, cells: list[dict[str, Any]]) -> None:
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    file.write_text(json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
