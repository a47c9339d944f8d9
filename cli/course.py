"""`leerlab course`: prove that a course keeps its promises, and begin a new one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from base.errors import InputError, LeerlabError
from base.i18n import LANGUAGES
from base.paths import Installation
from cli import output
from cli.site import JsonOption, SiteOption, read_site, readable
from confinement import seccomp
from courses.model import Track
from courses.toolkit import report as reports
from courses.toolkit.check import CourseReport, Wanted, check_course, course_folders
from courses.toolkit.new import new_course
from courses.toolkit.steps import Walls
from grading.plans import seccomp_of
from hub_config.catalogue import entries_of, prepare_catalogue

app = typer.Typer(
    name="course",
    help="Courses: prove that one keeps its promises, begin a new one.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
FolderArgument = Annotated[Path, typer.Argument(metavar="FOLDER", readable=False, help="The course's folder.")]
LanguageOption = Annotated[str, typer.Option("--language", help="Language of what is said: nl or en.")]


@app.command()
def check(
    *,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER|courses", readable=False, help="A course, or a folder of tracks.")
    ],
    assignment: Annotated[list[str] | None, typer.Option(help="Only this assignment; may be given again.")] = None,
    json: JsonOption = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as one HTML page.")] = None,
    jobs: Annotated[int, typer.Option(min=0, help="Cases side by side; as many as cores without it.")] = 0,
    language: LanguageOption = "nl",
    site: SiteOption = None,
) -> None:
    """Prove all that a course promises: marks, messages, secrets, time, texts. Nothing of it runs outside a wall."""
    spoken = _language(language)
    settings, _, state = read_site(site)
    installation = Installation.current()
    folders = course_folders(_folder(folder, installation))
    page = _writable(html) if html else None
    state.make()
    with output.steps("Preparing") as step:
        prepare_catalogue(settings, state, installation, step)
    seccomp.write_filter(seccomp_of(state))
    walls = Walls(state, installation, settings.confinement)
    wanted = Wanted(assignments=tuple(assignment or ()))
    entries = entries_of(settings)
    jobs = jobs or len(os.sched_getaffinity(0))
    # Preparing and marking a course keep one core busy: several courses at a time use the others.
    side_by_side = min(jobs, len(folders))
    with _bars() as progress, ThreadPoolExecutor(side_by_side) as pool:

        def prove(one: Path) -> CourseReport:
            return check_course(
                one, walls=walls, entries=entries, wanted=wanted, progress=progress, jobs=max(1, jobs // side_by_side)
            )

        found = list(pool.map(prove, folders))
    if page:
        _write(page, reports.as_html(found, spoken))
    if json:
        output.print_json(reports.as_json(found, spoken))
    else:
        reports.tell(output.out, found, spoken)
    if not all(one.ok for one in found):
        raise typer.Exit(1)


@app.command()
def new(
    folder: FolderArgument,
    track: Annotated[Track, typer.Option(help="For whom it is made.")] = Track.MBO,
) -> None:
    """Begin a course from a small one that works and passes every check; its comments say what to change."""
    target = Path(os.environ.get("LEERLAB_CWD", ".")) / folder
    made = new_course(target, track)
    output.out.print(f"Made {made}. Next: ./leerlab course check {made}", markup=False)


def _language(language: str) -> str:
    if language not in LANGUAGES:
        raise InputError(f"There is no language {language}.", do=f"Choose one of {', '.join(LANGUAGES)}.")
    return language


def _folder(given: Path, installation: Installation) -> Path:
    """The folder that is meant; `courses` alone is Leerlab's own catalogue."""
    own = installation.code / "courses"
    if given == Path("courses") and not (Path(os.environ.get("LEERLAB_CWD", ".")) / given).is_dir():
        return own
    return readable(given).resolve()


def _writable(html: Path) -> Path:
    return Path(os.environ.get("LEERLAB_CWD", ".")) / html


def _write(page: Path, text: str) -> None:
    try:
        page.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LeerlabError(
            f"The report {page} cannot be written: {error.strerror}.", do="Name a file in a folder that you may write."
        ) from error


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    """A line for each assignment on a terminal, nothing elsewhere."""
    if not output.err.is_terminal:
        yield lambda name, done, all_: None
        return
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=output.err, transient=True
    ) as progress:
        lines: dict[str, TaskID] = {}

        def show(name: str, done: int, all_: int) -> None:
            if name not in lines:
                lines[name] = progress.add_task(name, total=all_)
            progress.update(lines[name], completed=done, total=all_)

        yield show
