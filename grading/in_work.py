"""Who has an assignment in hand, and whether another version of it can still grade what they make."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

_LARGEST_NOTEBOOK = 64 * 2**20


def has_fetched(homes: Path, person: str, course: str, assignment: str) -> bool:
    """Whether the assignment's folder is in the person's home; links are the person's own and are not followed.

    Args:
        homes: `State.homes`.
    """
    opened: list[int] = []
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        opened.append(os.open(homes / person, flags))
        for name in (course, assignment):
            opened.append(os.open(name, flags, dir_fd=opened[-1]))
    except OSError:
        return False
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return True


def _names(homes: Path) -> list[str]:
    return sorted(home.name for home in homes.iterdir())


def who_has(homes: Path, course: str, assignment: str) -> tuple[str, ...]:
    """Everybody in whose home the assignment is, teachers who tried it too."""
    return tuple(name for name in _names(homes) if has_fetched(homes, name, course, assignment))


def same_marks(one: Path, other: Path, *, handed_in: bool = False) -> bool:
    """Whether two versions of an assignment have the same graded cells: what was begun in one, the other can grade.

    Texts, tests and solutions may differ. A notebook that cannot be read is like no other.

    Args:
        handed_in: whether there is work already. Then nbgrader wants all cells that it keeps to be the same ones, those
            that can only be read too (`nbgrader/preprocessors/savecells.py`).
    """
    first, second = _marks(one, handed_in), _marks(other, handed_in)
    return first is not None and first == second


def _marks(folder: Path, handed_in: bool) -> dict[str, list[tuple[Any, ...]]] | None:
    """Of each notebook, its graded cells and cells to fill in, in order."""
    kept = ("grade", "solution", *(("locked", "task") if handed_in else ()))
    found = {}
    for file in folder.glob("*.ipynb"):
        try:
            if file.stat().st_size > _LARGEST_NOTEBOOK:
                return None
            cells = json.loads(file.read_bytes())["cells"]
            found[file.name] = [
                (cell["cell_type"], *(mark.get(key) for key in ("grade_id", "points", "grade", "solution", "task")))
                for cell in cells
                if any((mark := cell["metadata"].get("nbgrader", {})).get(key) for key in kept)
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
    return found
