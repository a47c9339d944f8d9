"""`leerlab ledger`: read the audit trail, and see whether it is whole."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.table import Table

from cli import output
from cli.site import JsonOption, SiteOption, read_site
from hub_config.audit import existing_ledger

app = typer.Typer(
    name="ledger",
    help="The audit trail: read it, and see whether it is whole.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("list")
def list_entries(
    *,
    site: SiteOption = None,
    json: JsonOption = False,
    actor: Annotated[str | None, typer.Option(help="Only what this account did.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this action; `sandbox` finds `sandbox.ended` too.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only what was done to this account, sandbox or course.")] = None,
    after: Annotated[int, typer.Option(min=0, help="Only entries with a higher number.")] = 0,
    last: Annotated[int, typer.Option(min=1, help="How many of the newest.")] = 20,
) -> None:
    """List the newest entries of the audit trail, the newest last."""
    settings, _, state = read_site(site)
    with existing_ledger(settings, state) as ledger:
        found = ledger.entries(actor=actor, action=action, subject=subject, after=after, newest=last)
    if json:
        output.print_json([{**asdict(entry), "time": entry.time.isoformat()} for entry in found])
        return
    clock = ZoneInfo(settings.site.time_zone)
    table = Table("number", "time", "who", "did", "to", "details", box=None)
    for entry in found:
        details = ", ".join(f"{name}={value}" for name, value in entry.details.items())
        when = entry.time.astimezone(clock).strftime("%Y-%m-%d %H:%M:%S")
        words = (str(entry.sequence), when, entry.actor, entry.action, entry.subject, details)
        table.add_row(*map(output.as_is, words))
    output.out.print(table if found else "There are no such entries.")


@app.command()
def verify(site: SiteOption = None, json: JsonOption = False) -> None:
    """See whether every entry of the audit trail is as it was written."""
    settings, _, state = read_site(site)
    with existing_ledger(settings, state) as ledger:
        entries = ledger.verify()
        _, head = ledger.head()
    if json:
        output.print_json({"entries": entries, "head": head})
    else:
        output.out.print(f"The audit trail is whole: {entries} entries. Its last hash is {head}.", markup=False)
