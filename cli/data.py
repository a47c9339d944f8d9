"""`leerlab data`: the datasets and models of the catalogue."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from base.paths import Installation
from base.quantities import Size
from catalogue.card import BothTexts, DatasetCard
from catalogue.croissant import FILE, croissant
from catalogue.entries import CATALOGUE, described, entries, entry_of
from catalogue.shelf import Shelf
from cli import output
from cli.site import JsonOption, SiteOption, read_site
from hub_config.catalogue import entries_of, prepare_catalogue
from hub_config.run.folder import make_state

app = typer.Typer(
    name="data",
    help="The catalogue: trusted datasets and models.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The id, as `leerlab data list` shows it.")]


@app.command("list")
def list_all(site: SiteOption = None, json: JsonOption = False) -> None:
    """List every dataset and model."""
    settings, _, _ = read_site(site)
    found = entries_of(settings)
    if json:
        output.print_json([described(entry.card) for entry in found])
        return
    table = Table("id", "kind", "version", "licence", "MiB", "title", box=None)
    for entry in found:
        card = entry.card
        size = f"{sum(file.size for file in card.files) / 2**20:.1f}"
        table.add_row(card.id, card.kind, card.version, card.licence, size, output.as_is(card.title.en))
    output.out.print(table)


@app.command()
def show(
    name: IdArgument,
    site: SiteOption = None,
    json: JsonOption = False,
    language: Annotated[str, typer.Option(help="nl or en.")] = "en",
) -> None:
    """Show a dataset's datasheet, or a model's card."""
    settings, _, _ = read_site(site)
    card = entry_of(entries_of(settings), name).card
    if json:
        output.print_json(described(card))
        return
    output.out.print(output.as_is(card.title.nl if language == "nl" else card.title.en), style="bold")
    for field, value in card:
        if isinstance(value, BothTexts):
            text = value.nl if language == "nl" else value.en
            output.out.print(f"\n{field.replace('_', ' ').capitalize()}", style="bold")
            output.out.print(output.as_is(text))
    output.out.print()
    output.out.print(output.as_is(f"licence {card.licence}; made by {', '.join(card.creators)}; {card.home}"))
    for file in card.files:
        output.out.print(f"{file.name}  {Size(file.size)}  sha256 {file.sha256}", markup=False)


@app.command()
def verify(
    site: SiteOption = None,
    json: JsonOption = False,
    repair: Annotated[bool, typer.Option("--repair", help="Put back what is missing or changed.")] = False,
) -> None:
    """Compare every file that the site's notebooks see with its card."""
    settings, _, state = read_site(site)
    if repair:
        make_state(state, settings.people)
        with output.steps("Repairing") as step:
            prepare_catalogue(settings, state, Installation.current(), step)
    shelf = Shelf(state.catalogue)
    found = entries_of(settings)
    problems = [problem for entry in found for problem in shelf.problems(entry)]
    if json:
        output.print_json({"entries": len(found), "problems": [asdict(problem) for problem in problems]})
    elif not problems:
        output.out.print(f"All {len(found)} datasets and models are as their cards say.")
    for problem in [] if json else problems:
        output.out.print(output.as_is(f"{problem.entry}: {problem.file} {problem.what}"))
    if problems:
        if not json:
            output.err.print("Notebooks refuse these files. ./leerlab data verify --repair puts them back.")
        raise typer.Exit(1)


@app.command("croissant")
def write_croissant() -> None:
    """Write the Croissant metadata beside each dataset's card of Leerlab itself."""
    for entry in entries():
        if isinstance(entry.card, DatasetCard) and entry.folder.is_relative_to(CATALOGUE):
            file = entry.folder / FILE
            file.write_text(output.as_json(croissant(entry.card)), encoding="utf-8")
            output.out.print(f"Wrote {file}", markup=False)
