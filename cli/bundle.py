"""`leerlab bundle`: all that a site is installed from, in one archive."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from base.errors import LeerlabError
from base.paths import Installation
from cli import output
from cli.site import JsonOption
from images.bundle.make import make_bundle
from images.bundle.wheels import Torch

app = typer.Typer()


@app.command()
def bundle(
    file: Annotated[Path, typer.Argument(metavar="FILE", readable=False, help="The archive to make, a .tar.")],
    torch: Annotated[
        Torch, typer.Option(help="The build of torch in it; the one with CUDA is several GB.")
    ] = Torch.CPU,
    development: Annotated[bool, typer.Option("--development", help="Also what ./leerlab test and lint need.")] = False,
    json: JsonOption = False,
) -> None:
    """Pack code, Debian, Python and npm packages for machines that reach no registry, in one archive."""
    installation = Installation.current()
    target = Path(os.environ.get("LEERLAB_CWD", ".")).resolve() / file
    with output.steps("Packing") as step:
        try:
            made = make_bundle(
                installation.code, installation.hub_env, target, step, torch=torch, development=development
            )
        except KeyboardInterrupt:
            raise LeerlabError("Interrupted.", "No bundle was made, and nothing of it is left.") from None
    if json:
        output.print_json(asdict(made))
        return
    output.out.print(
        f"Wrote {made.file}: {made.bytes / 10**9:.2f} GB, commit {made.commit[:12]}, {made.debian} Debian packages, "
        f"{made.wheels} Python packages.\n\n  sha256  {made.sha256}\n\n"
        "Bring this digest to the other machine by another way than the bundle, and compare it there (sha256sum) "
        "before you unpack it.",
        markup=False,
    )
