"""The reference page of the `leerlab` command, made from the command itself."""

from __future__ import annotations

import typer
from typer.cli import get_docs_for_click
from typer.main import get_command

_NOTE = "<!-- Written by `leerlab docs` from the command itself; changes here are lost. -->"


def command_markdown(app: typer.Typer) -> str:
    """The page with every command, its arguments and its options.

    Args:
        app: the whole command.
    """
    command = get_command(app)
    context = typer.Context(command, **command.context_settings)
    body = get_docs_for_click(obj=command, ctx=context, name="leerlab", title="Reference: the command `leerlab`")
    heading, _, rest = body.strip().partition("\n")
    return f"{heading}\n\n{_NOTE}\n{rest}\n"
