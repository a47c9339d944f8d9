"""An assignment's tasks in the order of its notebook, each with the name that students read above it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat

from leerlab_lab.classbook.records import Part, Task
from leerlab_lab.labels import labels_of


def named(coursedir: Any, part: Part, language: str) -> list[tuple[Task, str]]:
    """The tasks with their names; a task whose notebook cannot be read comes last, under its grade_id.

    Args:
        coursedir: nbgrader's.
        part: the assignment.
        language: of the names, where the course has the assignment in it; else they are in the notebook's own.
    """
    names: dict[tuple[str, str], str] = {}
    for notebook in sorted({task.notebook for task in part.tasks}):
        source = Path(coursedir.format_path(coursedir.source_directory, ".", part.name), f"{notebook}.ipynb")
        own = _labels(source)
        other = _labels(Path(coursedir.root, "english", f"{notebook}.ipynb")) if language == "en" else {}
        names |= {(notebook, name): other.get(name) or label or name for name, label in own.items()}
    order = {key: place for place, key in enumerate(names)}
    tasks = sorted(part.tasks, key=lambda task: order.get((task.notebook, task.name), len(order)))
    return [(task, names.get((task.notebook, task.name), task.name)) for task in tasks]


def _labels(file: Path) -> dict[str, str]:
    try:
        return labels_of(nbformat.read(file, as_version=4).cells)
    except (OSError, ValueError):
        return {}
