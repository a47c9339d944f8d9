"""`leerlab grade`: have the tests grade what a class handed in, without a teacher's click."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from base.errors import InputError, LeerlabError
from cli import output
from cli.site import JsonOption, SiteOption, read_site
from hub_config.class_grading import ClassGrading

app = typer.Typer()
_STAGES = {
    "waiting": "waits for the course's other runs", "starting": "the course's server is being started",
    "collecting": "what was handed in is being collected", "grading": "the tests grade", "idle": "ended",
}  # fmt: skip


@app.command()
def grade(
    course: Annotated[str, typer.Argument(help="The course's id.")],
    assignment: Annotated[
        str | None, typer.Argument(help="The assignment's id; without it, all for which anything was handed in.")
    ] = None,
    *,
    status: Annotated[bool, typer.Option("--status", help="Begin nothing; say how it stands.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return once it is asked for; the site goes on.")] = False,
    json: JsonOption = False,
    site: SiteOption = None,
) -> None:
    """Collect what was handed in and have the tests grade what has no marks yet. Ctrl-C stops; marks so far stay."""
    if status and no_wait:
        raise typer.BadParameter("--status begins nothing, so there is nothing to wait for")
    _, _, state = read_site(site)
    with closing(ClassGrading(state, course)) as service:
        standings = service.standings(assignment)
        if not standings and not status:
            raise InputError(f"Nothing was handed in for {course}, so there is nothing to grade.")
        names = [one["assignment"] for one in standings]
        if no_wait:
            standings = [service.begin(name) for name in names]
        elif not status:
            standings = _waited(service, names)
    _tell(standings, json=json)
    if not status and not no_wait and any(_unfinished(one) for one in standings):
        raise typer.Exit(1)


def _waited(service: ClassGrading, names: list[str]) -> list[dict[str, Any]]:
    """Begin runs and wait for the end of each; an interruption stops those that go on."""
    ended: dict[str, dict[str, Any]] = {}
    try:
        begun = {name: service.begin(name)["number"] for name in names}
        with _bar() as progress:
            for name, number in begun.items():
                line = progress.add_task(f"{name}: {_STAGES['waiting']}", total=None)
                for told in service.followed(name, number):
                    ended[name] = told
                    result = told["result"] if told["stage"] in {"grading", "idle"} else None
                    done, total = (result["done"], result["total"]) if result else (0, None)
                    progress.update(
                        line, description=f"{name}: {_STAGES[told['stage']]}", completed=done, total=total or None
                    )
    except KeyboardInterrupt:
        for name in reversed(names):
            service.stop(name)
        raise LeerlabError(
            "Stopped.", "Marks that were given so far stay.", "leerlab grade goes on with what is left."
        ) from None
    return list(ended.values())


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=output.err, transient=True, disable=not output.err.is_terminal,
    )  # fmt: skip


def _unfinished(told: dict[str, Any]) -> bool:
    result = told["result"]
    return bool(told["trouble"] or result is None or result["cancelled"] or result["failed"])


def _tell(standings: list[dict[str, Any]], *, json: bool) -> None:
    if json:
        output.print_json(standings)
        return
    table = Table("assignment", "graded when", "now", "last run", "by", "graded", box=None, pad_edge=False)
    for one in standings:
        result = one["result"]
        graded = f"{result['done']} of {result['total']}" if result else "-"
        ended = (one["ended"] or "-")[:19].replace("T", " ")
        table.add_row(one["assignment"], one["rule"], one["stage"], ended, one["by"] or "-", graded)
    output.out.print(table if standings else "Nothing was handed in.")
    for one in standings:
        if one["trouble"]:
            again = f" It is tried again at {one['again'][:19].replace('T', ' ')}." if one["again"] else ""
            output.err.print(output.as_is(f"{one['assignment']}: {one['trouble']}{again}"))
        for student, why in (one["result"] or {}).get("failed", {}).items():
            output.err.print(output.as_is(f"  {student}: {why}"))
