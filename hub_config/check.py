"""Reads a site.yaml and reports everything that is wrong with it, each problem with its line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
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
LONGEST = 400
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


def check(path: Path, catalogue: Path = CATALOGUE, *, elsewhere: bool = False) -> list[Problem]:
    """Everything that is wrong with a site.yaml, in order of lines; nothing when it can be started.

    Never raises because of what the file holds.

    Args:
        path: the file.
        catalogue: folder that relative course folders are below.
        elsewhere: whether the site is another machine's, on which the files are that it names.
    """
    return _problems(path, yaml_source.read(path), catalogue, elsewhere=elsewhere)


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
            "\n".join((f"{path} cannot be used:", *map(str, problems))),
            "Nothing was started or changed.",
            "Mend the file and try again.",
        )
    return Site.of_plain(document.root.plain())


def _problems(path: Path, document: Document, catalogue: Path, *, elsewhere: bool = False) -> list[Problem]:
    name = os.fsencode(path).decode(errors="replace")
    faults = sorted(dict.fromkeys(_faults(document, catalogue, elsewhere=elsewhere)), key=lambda fault: fault.line)
    if len(faults) > MOST_PROBLEMS:
        faults = [*faults[:MOST_PROBLEMS], Fault(faults[MOST_PROBLEMS].line, "there are more problems")]
    return [Problem(name, fault.line, _one_line(fault.message), _one_line(fault.allowed)) for fault in faults]


def _faults(document: Document, catalogue: Path, *, elsewhere: bool) -> Iterator[Fault]:
    """All faults, but of each kind only as many as are shown at most: a file of junk costs no minutes."""
    yield from document.faults
    if document.root is None:
        return
    try:
        Site.of_plain(document.root.plain())
    except ValidationError as error:
        yield from islice(explain(error, document, json_schema()), MOST_PROBLEMS + 1)
    yield from islice(broken(Parts.of(document, catalogue), elsewhere=elsewhere), MOST_PROBLEMS + 1)


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
