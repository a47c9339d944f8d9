"""`leerlab accounts`: unix accounts as which people's own servers run, on a site with `unix_accounts:`."""

from __future__ import annotations

from typing import Annotated

import typer

from base.errors import InputError
from cli import output
from cli.site import JsonOption, SiteOption, read_site
from hub_config.unix_accounts_files import files, make

app = typer.Typer(
    name="accounts",
    help="Unix accounts as which people's own servers run.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _several() -> None:
    """Typer makes a program of one command when a group has only one."""


@app.command("make")
def make_accounts(
    site: SiteOption = None,
    json: JsonOption = False,
    show: Annotated[bool, typer.Option("--show", help="Print what would be written, and change nothing.")] = False,
) -> None:
    """Make the accounts and let the hub start jobs as them: by root, on the hub's machine. Safe to repeat."""
    settings, _, state = read_site(site)
    if settings.unix_accounts is None:
        raise InputError("This site has no unix_accounts, so there are none to make.", do="Add them to site.yaml.")
    wanted = files(settings, state)
    if show:
        if json:
            output.print_json({str(path): one.text for path, one in wanted.items()})
        else:
            for path, one in wanted.items():
                output.out.print(f"# {path}\n{one.text}", markup=False, highlight=False)
        return
    changed = make(settings, wanted)
    if json:
        output.print_json({"changed": [str(path) for path in changed]})
    else:
        told = f"Written: {', '.join(map(str, changed))}." if changed else "All was as it should be."
        output.out.print(told, markup=False)
