"""What a finding says to a teacher, in Dutch and English: what is wrong, why it matters, what to do."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("sentences.json")
LANGUAGES = ("nl", "en")


@cache
def _all() -> dict[str, Any]:
    said: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return said


def proof_of(code: str) -> int:
    """Which of the eight proofs a finding belongs to; 0 for the form of the course."""
    return int(_all()["findings"][code]["proof"])


def is_note(code: str) -> bool:
    """Whether the finding is something to look at, and no failure."""
    return bool(_all()["findings"][code].get("note", False))


def sentence(code: str, part: str, language: str, params: dict[str, Any]) -> str:
    """One sentence of a finding.

    Args:
        code: the finding's.
        part: `what`, `why` or `do`.
        language: `nl` or `en`.
        params: what the sentence names.
    """
    one = _all()["findings"][code]
    text = one.get(part) or _all()["proofs"][one["proof"]][part]
    return str(text[language]) % params


def word(name: str, language: str) -> str:
    """A word of the report itself."""
    return str(_all()["words"][name][language])


def proof(number: int, language: str) -> str:
    """What one of the eight proofs is about."""
    return str(_all()["proofs"][number]["name"][language])
