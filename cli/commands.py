"""The commands of `leerlab` and their options."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from base.errors import LeerlabError
from base.paths import Installation, State
from cli import accounts, bundle, course, data, development, grade, image, inventory, ledger, output, sandbox
from cli.site import JsonOption, SiteOption, read_site, readable
from hub_config import check as checks
from hub_config.login import keys as login_keys
from hub_config.run import doctor as doctors
from hub_config.run import foreground as services
from hub_config.run import start, stop
from hub_config.run import status as statuses
from hub_config.run.supervisor_client import Supervisor
from hub_config.schema import json_schema
from hub_config.site import Site

app = typer.Typer(
    name="leerlab",
    help="Learn and try AI on shared GPUs: a JupyterHub on Slurm with graded courses.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(development.app)
app.add_typer(sandbox.app)
app.add_typer(ledger.app)
app.add_typer(course.app)
app.add_typer(grade.app)
app.add_typer(data.app)
app.add_typer(bundle.app)
app.add_typer(image.app)
app.add_typer(inventory.app)
app.add_typer(accounts.app)


@app.command()
def up(
    site: SiteOption = None,
    json: JsonOption = False,
    foreground: Annotated[
        bool,
        typer.Option(
            "--foreground",
            help="Stay until SIGTERM, which ends the daemons and no job: for systemd, told when everything answers.",
        ),
    ] = False,
) -> None:
    """Start the site and return when everything answers; find it when it runs already."""
    settings, file, state = read_site(site)
    if foreground:
        _stay(settings, file, state)
        return
    with output.steps("Starting") as step:
        try:
            started = start.up(settings, file, state, Installation.current(), step)
        except KeyboardInterrupt:
            raise LeerlabError(
                "Interrupted.", "Part of the site may run.", "./leerlab up goes on with it; ./leerlab down stops it."
            ) from None
    if json:
        output.print_json(asdict(started))
        return
    word = "already runs" if started.already_running else "runs"
    output.out.print(f"Leerlab {word} ({started.seconds:.0f} s).\n")
    output.out.print(f"  Open       {started.login_link}", markup=False)
    if settings.login.kind == "demo":
        output.out.print(
            "             The key in this address works once; ./leerlab key prints another for a second browser."
        )
        output.out.print("  Log in as  " + ", ".join(person.title for person in settings.login.people), markup=False)
    output.out.print("  Stop       ./leerlab down")
    for problem in started.problems:
        output.err.print(f"\n{problem}", markup=False)


def _stay(settings: Site, file: Path, state: State) -> None:
    """The site in the foreground. No key is printed: what a service prints is kept in a journal."""

    def ready(started: start.Started) -> None:
        output.out.print(f"Leerlab runs at {started.address} ({started.seconds:.0f} s).", markup=False)
        for problem in started.problems:
            output.err.print(problem, markup=False)

    ended = services.run(settings, file, state, Installation.current(), lambda phrase: None, ready=ready)
    why = "as it was asked to" if ended.by_signal else "by leerlab down"
    output.out.print(f"Leerlab ended, {why}.")


@app.command()
def down(site: SiteOption = None, json: JsonOption = False) -> None:
    """Cancel the site's jobs, stop everything and leave nothing running."""
    settings, _, state = read_site(site)
    with output.steps("Stopping") as step:
        stopped = stop.down(settings, state, step)
    if json:
        output.print_json(asdict(stopped))
    elif stopped.was_running:
        output.out.print(f"Stopped: {stopped.jobs} jobs cancelled, nothing runs any more ({stopped.seconds:.0f} s).")
    else:
        output.out.print("Nothing was running.")


@app.command()
def key(site: SiteOption = None, json: JsonOption = False) -> None:
    """Print the address to log in at; with a new one-time key for the demo login."""
    settings, _, state = read_site(site)
    if not Supervisor(state).running():
        raise LeerlabError("The site is not running, so no key would let anybody in.", do="Run ./leerlab up.")
    link = login_keys.login_link(settings, state)
    if json:
        output.print_json({"login_link": link})
    else:
        output.out.print(link, markup=False)


@app.command()
def status(site: SiteOption = None, json: JsonOption = False) -> None:
    """Show what runs: daemons, jobs and addresses."""
    settings, _, state = read_site(site)
    report = statuses.status(settings, state)
    if json:
        output.print_json(asdict(report))
    else:
        output.out.print(statuses.table(report))
    if not report.healthy:
        raise typer.Exit(1)


@app.command()
def doctor(site: SiteOption = None, json: JsonOption = False) -> None:
    """Do a real login, a real job and a real write, and say what is broken and what to do."""
    settings, _, state = read_site(site)
    with output.steps("Examining") as step:
        results = doctors.examine(settings, state, Installation.current(), step)
    if json:
        output.print_json([asdict(result) for result in results])
    else:
        for result in results:
            output.out.print(str(result), markup=False)
    if not all(result.ok for result in results):
        raise typer.Exit(1)


@app.command()
def check(site: Annotated[Path, typer.Argument(metavar="SITE.yaml", readable=False)], json: JsonOption = False) -> None:
    """Check a site.yaml and report every problem at once."""
    problems = checks.check(readable(site))
    if json:
        output.print_json([asdict(problem) for problem in problems])
    for problem in problems if not json else ():
        output.err.print(str(problem), markup=False)
    if problems:
        raise typer.Exit(2)
    if not json:
        output.out.print(f"{site}: no problems.", markup=False)


@app.command()
def schema() -> None:
    """Print the JSON Schema of site.yaml."""
    output.print_json(json_schema())
