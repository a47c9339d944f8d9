"""The language of a lesson: messages of checks and explorables in Dutch or English, as the notebook is.

The first code cell of an English notebook says `lesson.language("en")`; without it the language is Dutch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

_ENGLISH = re.compile(r"""^\s*lesson\.language\(\s*["']en["']\s*\)""", re.MULTILINE)
_chosen: list[str] = ["nl"]


def language(code: Literal["nl", "en"]) -> None:
    """Set the language of this notebook's messages.

    Args:
        code: `nl` or `en`.

    Raises:
        ValueError: another language.
    """
    if code not in ("nl", "en"):
        raise ValueError(f"nl of en, niet {code!r} / nl or en, not {code!r}")
    _chosen[0] = code


def current() -> str:
    """The language of this notebook: `nl` or `en`."""
    return _chosen[0]


def say(nl: str, en: str) -> str:
    """The text in the notebook's language.

    Args:
        nl: in Dutch.
        en: in English.
    """
    return en if _chosen[0] == "en" else nl


def language_of(cells: Iterable[Mapping[str, Any]]) -> str:
    """The language that a notebook's first code cell chooses, read and not run: `en`, else `nl`.

    Args:
        cells: of the notebook.
    """
    first = next((str(cell["source"]) for cell in cells if cell["cell_type"] == "code"), "")
    return "en" if _ENGLISH.search(first) else "nl"
