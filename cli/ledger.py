"""`leerlab ledger`: read the audit trail, see whether it is whole, and what was used."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.table import Table

from cli import output
from cli.site import JsonOption, SiteOption, read_site
from hub_config.audit import existing_ledger
from ledger.use import GPU, By, Place, Total, UseLedger

app = typer.Typer(
    name="ledger",
    help="The audit trail, and what was used: read them, and see whether the trail is whole.",
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


@app.command("use")
def show_use(
    *,
    site: SiteOption = None,
    json: JsonOption = False,
    days: Annotated[float, typer.Option(min=0.01, help="Of servers and runs that began in so many days.")] = 30,
    by: Annotated[By, typer.Option(help="What sums are made of: courses and sandboxes, or people.")] = By.PLACE,
    person: Annotated[str | None, typer.Option(help="Each server and run of this person, instead of sums.")] = None,
    course: Annotated[str | None, typer.Option(help="Each server and run for this course, instead of sums.")] = None,
    sandbox: Annotated[str | None, typer.Option(help="Each server and run in this sandbox, instead of sums.")] = None,
) -> None:
    """Show what was used: hours of servers, cores and GPUs as Slurm counts them, and energy with its bounds."""
    if course is not None and sandbox is not None:
        raise typer.BadParameter("name a course or a sandbox, not both")
    settings, _, state = read_site(site)
    place = Place.COURSE if course is not None else Place.SANDBOX if sandbox is not None else None
    with existing_ledger(settings, state) as ledger:
        use = UseLedger(ledger)
        if person is not None or place is not None:
            rows = use.rows(person=person, place=place, place_id=course or sandbox, days=days)
            named = [({"id": row.id, "for": f"{row.place} {row.place_id}".strip()}, asdict(row)) for row in rows]
        else:
            kinds = ("place", "id") if by is By.PLACE else ("person",)
            sums = use.totals(by, days=days)
            named = [(dict(zip(kinds, names, strict=True)), asdict(total)) for names, total in sums.items()]
            named.append((dict.fromkeys(kinds, "") | {kinds[0]: "all"}, asdict(sum(sums.values(), Total()))))
    if json:
        output.print_json([{**names, **values} for names, values in named])
        return
    columns = ("hours", "core hours", "GPU hours", "kWh", "between")
    table = Table(*(named[0][0] if named else ()), *columns, box=None)
    for names, values in named:
        numbers = (
            f"{values['seconds'] / 3600:.2f}",
            f"{values['core_seconds'] / 3600:.2f}",
            f"{values['gpu_thousandths'] / GPU / 3600:.2f}",
            f"{values['joules'] / 3.6e6:.4f}",
            f"{values['least'] / 3.6e6:.4f} - {values['most'] / 3.6e6:.4f}",
        )
        table.add_row(*map(output.as_is, (*names.values(), *numbers)))
    output.out.print(table if named else "Nothing was used.")
