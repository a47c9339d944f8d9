"""`leerlab sandbox`: what an operator sees of sandboxes and does with them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from base.quantities import Size
from cli import output
from cli.site import JsonOption, SiteOption, read_site
from hub_config.oversight import Verified, days_left, oversight
from ledger.sandboxes import Sandbox

app = typer.Typer(
    name="sandbox",
    help="Companies' sandboxes: look, approve, refuse, end, release, erase, verify.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The sandbox's id, as `leerlab sandbox list` shows it.")]


def plain(sandbox: Sandbox) -> dict[str, Any]:
    """A sandbox as JSON."""
    return {
        name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in asdict(sandbox).items()
    }


def tell(sandbox: Sandbox, *, json: bool) -> None:
    """Print what has become of a sandbox."""
    if json:
        output.print_json(plain(sandbox))
    else:
        output.out.print(f"Sandbox {sandbox.id} is {sandbox.state}.", markup=False)


@app.command("list")
def list_all(site: SiteOption = None, json: JsonOption = False) -> None:
    """List every sandbox that was ever asked for, newest first."""
    settings, _, state = read_site(site)
    with oversight(settings, state) as sight:
        found = sight.all()
    if json:
        output.print_json([plain(one) for one in found])
        return
    table = Table("id", "state", "risk", "data", "days left", "owner", "title", box=None)
    for one in found:
        days = str(days_left(one)) if days_left(one) else ""
        table.add_row(one.id, one.state, one.risk_class, one.data_class, days, one.owner, output.as_is(one.title))
    output.out.print(table if found else "There are no sandboxes.")


@app.command()
def show(sandbox: IdArgument, site: SiteOption = None, json: JsonOption = False) -> None:
    """Show one sandbox: what was asked, who is in it, what it takes, and its part of the audit trail."""
    settings, _, state = read_site(site)
    with oversight(settings, state) as sight:
        shown = sight.show(sandbox)
    if json:
        output.print_json({**asdict(shown), "sandbox": plain(shown.sandbox)})
        return
    for name, value in plain(shown.sandbox).items():
        output.out.print(output.as_is(f"{name:<12}{value if value is not None else ''}"))
    output.out.print(f"{'members':<12}{', '.join(shown.members)}", markup=False)
    output.out.print(f"{'disk':<12}{Size(shown.disk).mebibytes} MiB", markup=False)
    output.out.print(f"{'transfers':<12}{shown.transfers}\n", markup=False)
    for line in shown.trail:
        output.out.print(line, markup=False)


@app.command()
def approve(sandbox: IdArgument, site: SiteOption = None, json: JsonOption = False) -> None:
    """Say yes to a sandbox that waits; its members can use it at once."""
    settings, _, state = read_site(site)
    with oversight(settings, state) as sight:
        tell(sight.approve(sandbox), json=json)


@app.command()
def refuse(sandbox: IdArgument, site: SiteOption = None, json: JsonOption = False) -> None:
    """Say no to a sandbox that waits."""
    settings, _, state = read_site(site)
    with oversight(settings, state) as sight:
        tell(sight.refuse(sandbox), json=json)


@app.command()
def end(sandbox: IdArgument, site: SiteOption = None, json: JsonOption = False) -> None:
    """End a sandbox: its servers stop, everything is packed for its members, and erased some days later."""
    settings, _, state = read_site(site)
    with oversight(settings, state) as sight:
        tell(sight.end(sandbox), json=json)


@app.command()
def release(sandbox: IdArgument, site: SiteOption = None, json: JsonOption = False) -> None:
    """Let the members of an ended sandbox download its export, where no other member has agreed."""
    settings, _, state = read_site(site)
    with oversight(settings, state) as sight:
        tell(sight.release(sandbox), json=json)


@app.command()
def erase(
    sandbox: IdArgument,
    site: SiteOption = None,
    json: JsonOption = False,
    without_export: Annotated[
        bool, typer.Option("--without-export", help="Also when no export was made, because the disk is full.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether this is really meant.")] = False,
) -> None:
    """Erase a sandbox that has ended now, with its export; this cannot be taken back."""
    settings, _, state = read_site(site)
    with oversight(settings, state) as sight:
        if not yes:
            typer.confirm(f"Erase everything of sandbox {sandbox}, its export too?", abort=True, err=True)
        erased = sight.erase(sandbox, without_export=without_export)
    if json:
        output.print_json(asdict(erased))
    else:
        output.out.print(f"Erased: {erased.files} files and folders, {erased.jobs} jobs, {erased.lines} lines of logs.")


@app.command()
def verify(
    sandbox: IdArgument,
    site: SiteOption = None,
    json: JsonOption = False,
    marker: Annotated[
        str, typer.Option(help="A text that stood in the sandbox and nowhere else, to look for in every file.")
    ] = "",
) -> None:
    """Look whether anything of an erased sandbox is left, and whether the audit trail is whole."""
    settings, _, state = read_site(site)
    with oversight(settings, state) as sight, output.steps("Looking"):
        verified = sight.verify(sandbox, marker)
    if json:
        output.print_json({**asdict(verified), "clean": verified.clean})
    else:
        for line in words(verified, searched=bool(marker)):
            output.out.print(line, markup=False)
    if not verified.clean:
        raise typer.Exit(1)


def words(verified: Verified, *, searched: bool) -> list[str]:
    """What a look found, one line each."""
    if verified.clean:
        nothing = "Nothing of it is left" + (", and the marker stands in no file." if searched else ".")
        return [nothing, f"The audit trail is whole: {verified.entries} entries."]
    return [*verified.remains, *(f"the marker stands in {place}" for place in verified.places)]
