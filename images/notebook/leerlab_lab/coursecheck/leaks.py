"""Whether anything of the answers or the hidden tests is in what students get: texts, outputs, metadata, files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from nbformat import NotebookNode

from leerlab_lab.coursecheck.book import named
from leerlab_lab.coursecheck.plan import Finding
from leerlab_lab.valuechecks.reading import hidden_statements, is_meant

_REGION = re.compile(r"#{3} BEGIN (SOLUTION|HIDDEN TESTS)[^\n]*\n(.*?)[ \t]*#{3} END \1", re.DOTALL)
# Also what was meant as one: nbgrader leaves alone whatever it does not know.
_MARKER = re.compile(r"#{2,}\s*(?:BEGIN|END|EINDE?|START)\b[^\n]{0,40}(?:SOL|HID|VERB|TEST|OPLOS|ANTW)", re.IGNORECASE)
_MESSAGE = re.compile(r"""(?<=.),\s*f?(?:"[^"]*"|'[^']*'|say\(.*\))\s*$""")
_SPACE = re.compile(r"\s+")
# Shorter lines, such as `return x`, say nothing by themselves.
_TELLING = 9
_SHOWN = 120


def regions(notebook: NotebookNode) -> list[tuple[str, str, list[str]]]:
    """Every part that students must not get: its cell, `SOLUTION` or `HIDDEN TESTS`, and its telling lines."""
    found = []
    for cell in notebook.cells:
        for kind, text in _REGION.findall(cell.source):
            if kind != "SOLUTION" and is_meant(cell.source):
                # Parts of a check look like parts of any other; see `asked_in_secret`.
                continue
            # Of a test, what it asks counts; its message may be left out where it is copied to.
            lines = [_MESSAGE.sub("", line.strip()) for line in text.splitlines()]
            found.append((named(cell), kind, [line for line in lines if len(line) >= _TELLING and line[0] != "#"]))
    return found


def asked_in_secret(notebook: NotebookNode) -> list[tuple[str, str, str]]:
    """Every hidden statement of the value check cells: its cell, its question or expectation, and how it begins.

    A check may be written on one line or on many. It is compared without spaces, from its beginning to what it expects;
    what it says may be left out where it is copied to.
    """
    found = []
    for cell in notebook.cells:
        if cell.cell_type != "code" or not is_meant(cell.source):
            continue
        for text in hidden_statements(cell.source):
            if len(squeezed := _SPACE.sub("", text)) >= _TELLING:
                found.append((named(cell), text, squeezed))
    return found


def problems(notebook: NotebookNode, released: Path, assignment: str, file: str) -> Iterator[Finding]:
    """What students get that they should not."""
    secret, asked = regions(notebook), asked_in_secret(notebook)
    for place, cell, text in _places(released, assignment, notebook):
        if marker := _MARKER.search(text):
            line = next(line for line in text[marker.start() :].splitlines())
            yield Finding("leak.marker", cell, file=file, params={"place": place, "line": line.strip()[:_SHOWN]})
        for owner, kind, lines in secret:
            seen = [line for line in lines if line in text]
            # A line of an answer may also be an example; an answer is given away when most of it is there. Of a hidden
            # test nothing may be seen.
            if seen and (kind != "SOLUTION" or 2 * len(seen) > len(lines)):
                code = "leak.answer" if kind == "SOLUTION" else "leak.hidden"
                params = {"place": place, "line": seen[0][:_SHOWN]}
                yield Finding(code, owner, file=file, params=params)
        squeezed = _SPACE.sub("", text)
        for owner, statement, passage in asked:
            if passage in squeezed:
                params = {"place": place, "line": " ".join(statement.split())[:_SHOWN]}
                yield Finding("leak.hidden", owner, file=file, params=params)
    yield from _files(released)


def _places(released: Path, assignment: str, notebook: NotebookNode) -> Iterator[tuple[str, str, str]]:
    """Every text that students get: where, in which cell, and what; as a person reads it, so without JSON's escapes."""
    given = json.loads((released / f"{assignment}.ipynb").read_text(encoding="utf-8"))
    yield "notebook metadata", "", _texts({key: value for key, value in given.items() if key != "cells"})
    for cell in given["cells"]:
        name = cell["metadata"].get("nbgrader", {}).get("grade_id") or cell.get("id", "")
        yield f"cell {name}", name, _texts(cell["source"])
        beside = {key: value for key, value in cell.items() if key not in {"source", "cell_type", "id"}}
        yield f"metadata, attachments or outputs of cell {name}", name, _texts(beside)
    for path in sorted(released.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.suffix != ".ipynb":
            yield str(path.relative_to(released)), "", path.read_bytes().decode("utf-8", errors="replace")


def _texts(value: object) -> str:
    """All texts below a JSON value, base64 attachments too."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        joined = "" if all(isinstance(part, str) for part in value) else "\n"
        return joined.join(_texts(part) for part in value)
    if isinstance(value, dict):
        return "\n".join(f"{key}\n{_texts(part)}" for key, part in value.items())
    return ""


def _files(released: Path) -> Iterator[Finding]:
    for folder, folders, names in os.walk(released):
        for name in (*folders, *names):
            path = Path(folder, name)
            place = str(path.relative_to(released))
            if name in {".git", ".hg", ".ipynb_checkpoints", "gradebook.db"} or name.endswith((".orig", "~", ".bak")):
                yield Finding("leak.history", file=place, params={"place": place})
            elif path.is_symlink():
                yield Finding("leak.link", file=place, params={"place": place})
            elif name.endswith((".zip", ".tar", ".gz", ".tgz", ".7z")):
                yield Finding("leak.archive", file=place, params={"place": place})
