"""What a check finds, and how it is said: codes of leerlab_lab.coursecheck, which says the same inside a lab."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

# Beside the code that finds most of it: a lab has nothing else of Leerlab. Only this file is read, nothing is imported.
SENTENCES = Path(__file__).parents[2] / "images" / "notebook" / "leerlab_lab" / "coursecheck" / "sentences.json"
_LONGEST = 4000


@cache
def _sentences() -> dict[str, Any]:
    said: dict[str, Any] = json.loads(SENTENCES.read_text(encoding="utf-8"))
    return said


class Finding(BaseModel):
    """Something that is not as a course promises.

    Args:
        code: names its sentences.
        cell: grade_id or id of the cell, or nothing.
        case: the imagined learner, or nothing.
        file: path below the course's folder, or nothing.
        params: what the sentences name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: str
    cell: str = Field("", max_length=_LONGEST)
    case: str = Field("", max_length=_LONGEST)
    file: str = Field("", max_length=_LONGEST)
    params: dict[str, str | int | float] = Field(default_factory=dict, max_length=10)

    @field_validator("code")
    @classmethod
    def _known(cls, code: str) -> str:
        if code not in _sentences()["findings"]:
            raise ValueError("no such finding")
        return code

    @property
    def proof(self) -> int:
        """Which of the eight proofs it belongs to; 0 for the course's form."""
        return int(_sentences()["findings"][self.code]["proof"])

    @property
    def is_note(self) -> bool:
        """Whether it is something to look at, and no failure."""
        return bool(_sentences()["findings"][self.code].get("note", False))

    def what(self, language: str) -> str:
        """What is wrong."""
        return self._say("what", language)

    def why(self, language: str) -> str:
        """Why it matters."""
        return self._say("why", language)

    def do(self, language: str) -> str:
        """What to do."""
        return self._say("do", language)

    def _say(self, part: str, language: str) -> str:
        one = _sentences()["findings"][self.code]
        text = one.get(part) or _sentences()["proofs"][one["proof"]][part]
        return str(text[language]) % self.params


class CaseFigures(BaseModel):
    """What became of one imagined learner's work; see leerlab_lab.coursecheck.result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(max_length=200)
    kind: str = Field(max_length=20)
    idea: dict[str, str] = Field(max_length=10)
    loses: str = Field(max_length=_LONGEST)
    said: str = Field(max_length=_LONGEST)
    ok: bool
    seconds: float
    memory: int
    marks: dict[str, tuple[float | None, float]]


class Outcome(BaseModel):
    """All that came of one assignment's check."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    findings: list[Finding] = Field(max_length=2000)
    cases: list[CaseFigures] = Field(default_factory=list, max_length=500)
    links: list[str] = Field(default_factory=list, max_length=2000)


def word(name: str, language: str) -> str:
    """A word of the report itself."""
    return str(_sentences()["words"][name][language])


def proof(number: int, language: str) -> str:
    """What one of the eight proofs is about."""
    return str(_sentences()["proofs"][number]["name"][language])


def who(case: str, language: str) -> str:
    """An imagined learner's name, for people."""
    kind, _, name = case.partition(".")
    words = _sentences()["words"]
    if kind in {"wrong", "other"} and name:
        return f"{word(kind, language)}: {name}"
    if kind == "en" and name in words:
        return f"{word('english', language)}: {word(name, language)}"
    return word(case, language) if case in words else case
