"""What one check works on: the assignment, its cases and its bounds; a JSON file in the check's own folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

PLAN = "check.json"
COURSE, ENGLISH = "course", "english"
RUNS, RAN = "runs", "ran"
NOTEBOOK, EXECUTED, FIGURES = "notebook.ipynb", "executed.ipynb", "figures.json"
ASKED, ANSWERED = "asked.ipynb", "answered.ipynb"
"""The second run of a notebook with value checks, of which only the answers are kept, and what came of it."""
PREPARED, RESULT = "prepared.json", "result.json"

# Learners that every check imagines, by their name in the gradebook.
REFERENCE, AGAIN, REAL, UNTOUCHED = "reference", "reference-again", "reference-real", "untouched"
EDITED, DELETED, RENAMED = "edited", "deleted", "renamed"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")


class Kind(StrEnum):
    """What a case is about."""

    WRONG = "wrong"
    OTHER = "other"


@dataclass(frozen=True)
class Case:
    """What one imagined learner hands in.

    Args:
        name: names it in the gradebook and in what is found.
        kind: wrong, or right in another style.
        cells: source of each cell that this learner writes otherwise than the reference, by grade_id.
        loses: grade_id of the cell that must lose its marks; empty for a right one.
        message: part of what that cell must say.
        misconception: what the learner thinks, or the style, by language.
    """

    name: str
    kind: Kind
    cells: Mapping[str, str]
    loses: str = ""
    message: str = ""
    misconception: Mapping[str, str] = field(default_factory=dict)

    @property
    def student(self) -> str:
        """The learner's name in the gradebook."""
        return f"{self.kind}.{self.name}"

    @classmethod
    def of(cls, said: Any, kind: Kind, number: int) -> Case:
        """The case that a mapping describes, as in a course's `wrong/*.yaml`.

        Args:
            said: the mapping.
            kind: what it is about.
            number: names it where it has no name.

        Raises:
            ValueError: it has not that form.
        """
        if not isinstance(said, Mapping):
            raise ValueError(f"a case must be a mapping, not {type(said).__name__}")
        known = {"name", "misconception", "style", "loses", "message", "cells"}
        if unknown := sorted(str(key) for key in set(said) - known):
            raise ValueError(f"a case has no {unknown[0]} (allowed: {', '.join(sorted(known))})")
        name = said.get("name", f"{kind}-{number}")
        cells = said.get("cells")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"a case's name is letters, digits and hyphens, not {name!r}")
        if not isinstance(cells, Mapping) or not cells or not all(_texts(pair) for pair in cells.items()):
            raise ValueError(f"case {name}: cells must give the source of one or more cells by grade_id")
        idea = said.get("misconception", said.get("style", {}))
        idea = {"nl": idea, "en": idea} if isinstance(idea, str) else idea
        if not isinstance(idea, Mapping) or not all(_texts(pair) for pair in idea.items()):
            raise ValueError(f"case {name}: misconception and style are a text, or one by language")
        loses, message = said.get("loses", ""), said.get("message", "")
        if kind is Kind.WRONG and not (_texts((loses, message)) and loses and message):
            raise ValueError(f"case {name}: a wrong solution names the cell that loses its marks, and its message")
        return cls(name, kind, dict(cells), loses, message, dict(idea))


def _texts(values: tuple[Any, ...]) -> bool:
    return all(isinstance(value, str) for value in values)


@dataclass(frozen=True)
class Bounds:
    """What an assignment may take.

    Args:
        notebook_seconds: most for the whole reference, started anew.
        cell_seconds: most for one cell.
        case_seconds: most for one case, after which it is ended.
        memory: most bytes of one kernel.
    """

    notebook_seconds: float = 60
    cell_seconds: int = 60
    case_seconds: float = 120
    memory: int = 2 * 2**30


@dataclass(frozen=True)
class Plan:
    """One check.

    Args:
        assignment: its id, which is also its notebook's name.
        cases: the teacher's own.
        track: `mbo`, `hbo` or `llo`, which decides how hard its text may be; empty for any text.
        bounds: what it may take.
        least_wrong, least_other: how many cases of each kind there must be.
        explorables: ids of the cells that show one; None where nobody was asked to name any.
        english: whether there is an English variant.
        real: whether one reference runs in a kernel that was not forked.
        only: the imagined learners to run; None for all of them.
    """

    assignment: str
    cases: tuple[Case, ...] = ()
    track: str = ""
    bounds: Bounds = Bounds()
    least_wrong: int = 0
    least_other: int = 0
    explorables: tuple[str, ...] | None = None
    english: bool = False
    real: bool = True
    only: tuple[str, ...] | None = None

    def wanted(self, student: str) -> bool:
        """Whether this imagined learner takes part."""
        return self.only is None or student in self.only

    def write(self, folder: Path) -> None:
        (folder / PLAN).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Plan:
        said = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        said["cases"] = tuple(Case(**{**case, "kind": Kind(case["kind"])}) for case in said["cases"])
        said["bounds"] = Bounds(**said["bounds"])
        for name in ("explorables", "only"):
            said[name] = None if said[name] is None else tuple(said[name])
        return cls(**said)


@dataclass(frozen=True)
class Finding:
    """Something that is not as an assignment promises; its sentences are in sentences.json, by code.

    Args:
        code: names it.
        cell: grade_id or id of the cell, or nothing.
        case: the imagined learner, or nothing.
        file: path below the course's folder, or nothing.
        params: what its sentences name.
    """

    code: str
    cell: str = ""
    case: str = ""
    file: str = ""
    params: Mapping[str, str | int | float] = field(default_factory=dict)
