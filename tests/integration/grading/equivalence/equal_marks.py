"""Marks and outputs as they stand in a gradebook and in graded notebooks; runs in the notebook environment."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any


def marks_of(api: Any, assignment: str, student: str) -> dict[str, list[Any]]:
    """By notebook and cell: the automatic mark, the most there is, and whether a person has to look."""
    with api.gradebook as book:
        submission = book.find_submission(assignment, student)
        return {
            f"{notebook.name}/{grade.name}": [grade.auto_score, grade.max_score, grade.needs_manual_grade]
            for notebook in submission.notebooks
            for grade in sorted(notebook.grades, key=lambda grade: grade.name)
        }


def outputs_of(folder: Path) -> dict[str, list[Any]]:
    """By notebook, of each code cell that has a source: what it showed, in a form that two runs can share."""
    return {
        file.stem: [
            _shown(cell["outputs"])
            for cell in json.loads(file.read_text())["cells"]
            if cell["cell_type"] == "code" and "".join(cell["source"]).strip()
        ]
        for file in sorted(folder.glob("*.ipynb"))
    }


def _shown(outputs: list[dict[str, Any]]) -> list[Any]:
    """Streams as one text each; of errors their names and values; of data what is text, and the kinds of the rest."""
    shown: dict[str, str] = {}
    others: list[Any] = []
    for output in outputs:
        if output["output_type"] == "stream":
            shown[output["name"]] = shown.get(output["name"], "") + "".join(output["text"])
        elif output["output_type"] == "error":
            others.append(["error", output["ename"], output["evalue"][:2000]])
        else:
            kinds = sorted(kind for kind in output["data"] if kind != "text/plain")
            text = "".join(output["data"].get("text/plain", ""))
            others.append([output["output_type"], re.sub(r"0x[0-9a-f]+", "0x", text)[:2000], kinds])
    return [
        *([name, text if len(text) < 2000 else f"{text[:200]}... {len(text)}"] for name, text in sorted(shown.items())),
        *others,
    ]
