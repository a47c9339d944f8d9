"""Reads a site.yaml and reports everything that is wrong with it, each problem with its line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from base import yaml_source
from base.errors import InputError
from base.yaml_source import Document, Fault
from hub_config.explain import explain
from hub_config.rules import Parts, broken
from hub_config.schema import json_schema
from hub_config.site import Site

MOST_PROBLEMS = 200
CATALOGUE = Path(__file__).resolve().parent.parent / "courses"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Args:
        file: the file, as the person named it.
        line: line in it, from 1.
        message: what is wrong.
        allowed: what would be right; empty where the message says so.
    """

    file: str
    line: int
    message: str
    allowed: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" + (f" (allowed: {self.allowed})" if self.allowed else "")


def check(path: Path, catalogue: Path = CATALOGUE) -> list[Problem]:
    """Everything that is wrong with a site.yaml, in order of lines; nothing when it can be started.

    Never raises because of what the file holds.

    Args:
        path: the file.
        catalogue: folder that relative course folders are below.
    """
    return _problems(path, yaml_source.read(path), catalogue)


def load(path: Path, catalogue: Path = CATALOGUE) -> Site:
    """The site that a site.yaml describes, read once and checked.

    Args:
        path: the file.
        catalogue: folder that relative course folders are below.

    Raises:
        InputError: the file has problems; all of them are in the message, one a line.
    """
    document = yaml_source.read(path)
    problems = _problems(path, document, catalogue)
    if problems or document.root is None:
        raise InputError(
            "\n".join(map(str, problems)), "Nothing was started or changed.", "Mend the file and try again."
        )
    return Site.of_plain(document.root.plain())


def _problems(path: Path, document: Document, catalogue: Path) -> list[Problem]:
    name = os.fsencode(path).decode(errors="replace")
    faults = sorted(dict.fromkeys(_faults(document, catalogue)), key=lambda fault: fault.line)
    left = len(faults) - MOST_PROBLEMS
    if left > 0:
        faults = [*faults[:MOST_PROBLEMS], Fault(faults[MOST_PROBLEMS].line, f"and {left} more problems from here on")]
    return [Problem(name, fault.line, fault.message, fault.allowed) for fault in faults]


def _faults(document: Document, catalogue: Path) -> Iterator[Fault]:
    yield from document.faults
    if document.root is None:
        return
    rules = list(broken(Parts.of(document, catalogue)))
    try:
        Site.of_plain(document.root.plain())
    except ValidationError as error:
        yield from explain(error, document, json_schema())
    yield from rules
