"""How the command prints: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.text import Text

from base.errors import LeerlabError

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def complain(error: LeerlabError) -> None:
    """Print what happened, what it means and what to do, each on a line."""
    err.print(f"leerlab: {error.what}", style="bold", markup=False)
    for part in (error.means, error.do):
        if part:
            err.print(f"  {part}", markup=False)


def print_json(value: Any) -> None:
    """Print one JSON value on standard output."""
    out.print_json(json.dumps(value))


def as_json(value: Any) -> str:
    """A JSON file's text."""
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def as_is(text: str) -> Text:
    """Somebody's own words in a table: nothing in them is taken for markup or for the terminal's control codes."""
    return Text("".join(each if each.isprintable() else " " for each in text))


@contextmanager
def steps(title: str) -> Iterator[Callable[[str], None]]:
    """Show what is being done: a moving line on a terminal, nothing elsewhere.

    Args:
        title: what the steps belong to.
    """
    if not err.is_terminal:
        yield lambda phrase: None
        return
    with err.status(title) as status:
        yield lambda phrase: status.update(f"{title}: {phrase}")
