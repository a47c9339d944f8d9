"""`leerlab inventory`: what the playbooks in ansible/ ask before they change anything."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from base.errors import InputError
from cli import output
from cli.site import readable
from hub_config import check as checks
from hub_config.inventory import Machines, misfits, report, settings
from hub_config.site import load

app = typer.Typer()


@app.command()
def inventory(
    site: Annotated[Path, typer.Argument(metavar="SITE.yaml", readable=False)],
) -> None:
    """Compare a site.yaml with its machines (JSON on standard input): prints what does not fit, and all settings."""
    file = readable(site)
    problems = checks.check(file, elsewhere=True)
    if problems:
        found = [{"file": f"{site}:{one.line}", "what": one.message, "do": one.allowed} for one in problems]
        output.print_json({"problems": found, "settings": None})
        raise typer.Exit(2)
    try:
        machines = Machines.model_validate_json(sys.stdin.read())
    except ValidationError as error:
        raise InputError(
            "Standard input is not what the playbooks give.", do="Run ./leerlab playbook site.yml instead."
        ) from error
    described = load(file)
    misfitting = report(misfits(described, str(site), machines))
    output.print_json({"problems": misfitting, "settings": settings(described)})
    if misfitting:
        raise typer.Exit(2)
