"""What a teacher should know of a piece of work: codes, kept in the metadata of the graded notebook.

They go where the notebook goes, and are replaced when it is graded again. Students never see them: feedback is a page
that shows no metadata. The sentences are in the course's pages (`formgrader/templates/flags.html`).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum, StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

KEY = "leerlab"
"""In a notebook's metadata."""
MOST = 50
_KEPT_FILES = 5000


class Weight(IntEnum):
    """How much a flag asks of a teacher."""

    NOTE = 0
    """Good to know, nothing to do."""
    LOOK = 1
    """Look at the work."""
    FORGED = 2
    """The marks of the tests cannot be relied upon."""


class Code(StrEnum):
    """What there is to know."""

    TEST_CHANGED = "test-changed"
    TEST_DELETED = "test-deleted"
    ANSWER_DELETED = "answer-deleted"
    CELL_COPIED = "cell-copied"
    CELL_UNKNOWN = "cell-unknown"
    CHECKS_FORGED = "checks-forged"
    """A check that fails wherever Python is honest did not, or the other way round."""
    RESULT_FORGED = "result-forged"
    """The value of a cell's last line is not what was shown as such."""
    RESULT_ELSEWHERE = "result-elsewhere"
    """A test shows a result that is not its last line's, or more than one."""
    MESSAGES_FORGED = "messages-forged"
    """The kernel spoke of a cell that had ended or had not begun."""
    SILENT = "silent"
    """Python said that the last cell had ended, and did not answer after that."""
    PYTHON_ENDED = "python-ended"
    TOO_LONG = "too-long"
    TOO_MUCH_MEMORY = "too-much-memory"
    NOT_RUN = "not-run"
    WROTE_ERRORS = "wrote-errors"
    HOOKS = "hooks"
    """The work's own process tells of hooks that its code registered: a hint, since it could as well not tell."""


WEIGHTS = {
    Code.TEST_CHANGED: Weight.LOOK, Code.TEST_DELETED: Weight.LOOK, Code.ANSWER_DELETED: Weight.LOOK,
    Code.CELL_COPIED: Weight.LOOK, Code.CELL_UNKNOWN: Weight.NOTE, Code.CHECKS_FORGED: Weight.FORGED,
    Code.RESULT_FORGED: Weight.FORGED, Code.RESULT_ELSEWHERE: Weight.LOOK, Code.MESSAGES_FORGED: Weight.FORGED,
    Code.SILENT: Weight.LOOK, Code.PYTHON_ENDED: Weight.LOOK, Code.TOO_LONG: Weight.LOOK,
    Code.TOO_MUCH_MEMORY: Weight.LOOK, Code.NOT_RUN: Weight.LOOK, Code.WROTE_ERRORS: Weight.NOTE,
    Code.HOOKS: Weight.LOOK,
}  # fmt: skip


@dataclass(frozen=True)
class Flag:
    """One thing to know.

    Args:
        code: what.
        cell: the graded cell's name; empty when it is another cell, or the notebook as a whole.
        number: which code cell it is, the first being 1; 0 for the notebook as a whole.
        what: names that belong to it, such as hooks.
    """

    code: Code
    cell: str = ""
    number: int = 0
    what: tuple[str, ...] = ()

    @property
    def weight(self) -> Weight:
        """How much it asks of a teacher."""
        return WEIGHTS[self.code]


@dataclass(frozen=True)
class Seen:
    """All flags of one code together, for a page.

    Args:
        code: what.
        weight: how much it asks.
        cells: names of graded cells.
        numbers: of other code cells.
        what: names that belong to it.
    """

    code: Code
    weight: Weight
    cells: tuple[str, ...]
    numbers: tuple[int, ...]
    what: tuple[str, ...]


def reset(notebook: NotebookNode) -> None:
    """Take away what a notebook says of itself, which a student could have written, and draw a seed for its canaries.

    They are made of the notebook more than once: when it is sent, and again by a server that goes on with a run.
    """
    notebook.metadata[KEY] = {"seed": secrets.token_hex(16)}


def seed(notebook: NotebookNode) -> str:
    """What the canaries of a notebook are drawn by; empty for one that was not reset."""
    return str(_own(notebook.metadata).get("seed", ""))


def forget_seed(notebook: NotebookNode) -> None:
    """Its canaries have been asked."""
    _own(notebook.metadata).pop("seed", None)
    if not _own(notebook.metadata):
        notebook.metadata.pop(KEY, None)


def add(notebook: NotebookNode, flags: Iterable[Flag]) -> None:
    """Put flags into a notebook, beside those that it has, each once."""
    kept = list(dict.fromkeys([*of(notebook), *flags]))[:MOST]
    if kept:
        notebook.metadata[KEY] = {**_own(notebook.metadata), "flags": [asdict(flag) for flag in kept]}


def of(notebook: NotebookNode) -> list[Flag]:
    """The flags of a notebook, the heaviest first."""
    return _read(notebook.metadata)


def in_files(files: Iterable[Path]) -> list[Seen]:
    """What there is to know of graded notebooks, the heaviest first; each file is read once until it changes."""
    found: list[Flag] = []
    for file in sorted(files):
        try:
            about = file.stat()
        except FileNotFoundError:
            continue
        found += _of_file(file, about.st_mtime_ns, about.st_size, about.st_ino)
    together: dict[Code, list[Flag]] = {}
    for flag in _sorted(found):
        together.setdefault(flag.code, []).append(flag)
    return [
        Seen(
            code,
            WEIGHTS[code],
            tuple(dict.fromkeys(flag.cell for flag in flags if flag.cell)),
            tuple(dict.fromkeys(flag.number for flag in flags if flag.number and not flag.cell)),
            tuple(dict.fromkeys(name for flag in flags for name in flag.what)),
        )
        for code, flags in together.items()
    ]


@lru_cache(maxsize=_KEPT_FILES)
def _of_file(file: Path, *_changes: int) -> tuple[Flag, ...]:
    try:
        read = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return ()
    return tuple(_read(read.get("metadata") if isinstance(read, dict) else None))


def _read(metadata: Any) -> list[Flag]:
    told = _own(metadata).get("flags")
    found = []
    for one in told if isinstance(told, list) else ():
        try:
            found.append(Flag(Code(one["code"]), str(one["cell"]), int(one["number"]), tuple(map(str, one["what"]))))
        except (KeyError, TypeError, ValueError):
            # Of a version that knows other flags.
            continue
    return _sorted(found)


def _own(metadata: Any) -> dict[str, Any]:
    own = metadata.get(KEY) if isinstance(metadata, dict) else None
    return own if isinstance(own, dict) else {}


def _sorted(flags: Sequence[Flag]) -> list[Flag]:
    return sorted(flags, key=lambda flag: (-flag.weight, flag.number))
