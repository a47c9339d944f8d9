"""The options that name a site, and reading it: shared by all commands."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Annotated

import typer

from base.errors import InputError
from base.paths import Installation, State
from hub_config import check as checks
from hub_config.site import Site

SiteOption = Annotated[
    Path | None,
    typer.Option(
        "--site", metavar="SITE.yaml", readable=False, help="The site's description; the demo site without it."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def readable(path: Path) -> Path:
    """A file named on the command line; relative to where `./leerlab` was started.

    Raises:
        InputError: there is none, or this account may not read it.
    """
    file = Path(os.environ.get("LEERLAB_CWD", ".")) / path
    if os.access(file, os.R_OK):
        return file
    account = pwd.getpwuid(os.geteuid()).pw_name
    raise InputError(
        f"{file} cannot be read.",
        f"Either it does not exist, or the account {account} may not read it; Leerlab never runs as root.",
        f"Put it where {account} can read it, such as /etc/leerlab, with mode 644.",
    )


def read_site(path: Path | None) -> tuple[Site, Path, State]:
    """The checked site and its state folder.

    Raises:
        InputError: the file has problems, all of them named, one a line.
    """
    file = readable(path) if path else Path(Installation.current().code / "hub_config/demo.yaml")
    site = checks.load(file)
    return site, file.resolve(), State.of_site(site.site.name)
