"""`leerlab course`: begin a course, prove that it keeps its promises, and put it on a site while that runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from base.errors import InputError, LeerlabError
from base.i18n import LANGUAGES
from base.paths import Installation, State
from cli import output
from cli.site import JsonOption, SiteOption, read_site, readable
from confinement import seccomp
from courses.catalogue import Course
from courses.model import Track
from courses.packages import Packages, read_course
from courses.packages import pack as packed
from courses.toolkit import report as reports
from courses.toolkit.check import CourseReport, Wanted, check_course, course_folders
from courses.toolkit.new import new_course
from courses.toolkit.steps import Walls
from grading.plans import seccomp_of
from grading.release import Done
from hub_config.catalogue import entries_of, prepare_catalogue
from hub_config.class_start import start_class
from hub_config.courses import Courses
from hub_config.images import unpacked
from hub_config.publishing import NotProven, Press, Published, Wishes
from hub_config.run.folder import make_state
from hub_config.site import Site

app = typer.Typer(
    name="course",
    help="Courses: begin one, prove that it keeps its promises, publish it.",
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
    jobs: Annotated[
        int,
        typer.Option(min=0, help="Cases side by side; else as many as cores, or twice for more courses."),
    ] = 0,
    language: LanguageOption = "nl",
    site: SiteOption = None,
) -> None:
    """Prove all that a course promises: marks, messages, secrets, time, texts. Nothing of it runs outside a wall."""
    spoken = _language(language)
    settings, _, state = read_site(site)
    installation = Installation.current()
    folders = course_folders(_folder(folder, installation))
    page = _writable(html) if html else None
    walls = _walls(settings, state, installation)
    wanted = Wanted(assignments=tuple(assignment or ()))
    entries = entries_of(settings)
    # A kernel that starts waits as much as it works, and preparing or marking a course keeps one core busy: of several
    # courses twice as many cases as cores.
    jobs = jobs or len(os.sched_getaffinity(0)) * (2 if len(folders) > 1 else 1)
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


@app.command()
def publish(
    *,
    course: Annotated[
        Path, typer.Argument(metavar="COURSE", readable=False, help="The course's folder, or an archive: tar or zip.")
    ],
    release: Annotated[list[str] | None, typer.Option(help="Hand out only this one; may be given again.")] = None,
    teacher: Annotated[list[str] | None, typer.Option(help="Demo person who teaches it; may be given again.")] = None,
    student: Annotated[list[str] | None, typer.Option(help="Demo person who takes it; may be given again.")] = None,
    profile: Annotated[str | None, typer.Option(help="Profile of the servers that students start from it.")] = None,
    unproven: Annotated[
        bool, typer.Option("--unproven", help="Without the check; the version remembers that.")
    ] = False,
    json: JsonOption = False,
    language: LanguageOption = "nl",
    site: SiteOption = None,
) -> None:
    """Give a course on a site, also while it runs: proven, kept by version, without undoing anybody's work."""
    spoken = _language(language)
    settings, _, state = read_site(site)
    installation = Installation.current()
    walls = _walls(settings, state, installation)
    entries = entries_of(settings)
    wishes = Wishes(profile, tuple(release) if release else None, tuple(teacher or ()), tuple(student or ()))

    def prove(folder: Path) -> CourseReport:
        with _bars() as progress:
            return check_course(
                folder, walls=walls, entries=entries, wanted=Wanted(), progress=progress,
                jobs=len(os.sched_getaffinity(0)),
            )  # fmt: skip

    try:
        with output.steps("Publishing") as step:
            done = Press(settings, state, walls.installation).publish(
                readable(course).resolve(), wishes, None if unproven else prove, step
            )
    except NotProven as error:
        reports.tell(output.err, [error.report], spoken)
        raise
    _tell(done, json=json)


@app.command()
def withdraw(
    course: Annotated[str, typer.Argument(help="The course's id.")],
    to: Annotated[int | None, typer.Option("--to", metavar="VERSION", help="Put this earlier version back.")] = None,
    json: JsonOption = False,
    site: SiteOption = None,
) -> None:
    """Take a published course back, or put an earlier version of it in force; everybody's work stays."""
    settings, _, state = read_site(site)
    with output.steps("Withdrawing") as step:
        done = Press(settings, state, unpacked(settings, state, Installation.current())).withdraw(course, to, step)
    _tell(done, json=json)


@app.command("start-class")
def start_class_of(
    course: Annotated[str, typer.Argument(help="The course's id.")],
    json: JsonOption = False,
    site: SiteOption = None,
) -> None:
    """Start the servers of everybody who takes a course, ahead of a lesson; who does not come loses theirs again."""
    _, _, state = read_site(site)
    started = start_class(state, course)
    if json:
        output.print_json(vars(started))
        return
    output.out.print(f"{started.starting} servers are being started, {started.running} ran already.")
    if started.without:
        output.out.print(f"For {started.without} people there is no profile to start with.")


@app.command("list")
def list_courses(json: JsonOption = False, site: SiteOption = None) -> None:
    """The courses that the site gives now, and which version of each is in force."""
    settings, _, state = read_site(site)
    code = Installation.current().code
    rows: list[dict[str, Any]] = []
    for one in Courses(settings, state, code).now().values():
        about = Course.load(one.folder)
        rows.append(
            {
                "id": one.id, "title": about.title("en"), "version": one.version, "profile": one.profile,
                "versions": Packages(state.published).versions(one.id), "released": list(one.released),
            }
        )  # fmt: skip
    if json:
        output.print_json(rows)
        return
    table = Table("course", "title", "version in force", "kept", "handed out", box=None, pad_edge=False)
    for row in rows:
        version = str(row["version"] or "of site.yaml")
        kept = ", ".join(map(str, row["versions"])) or "-"
        table.add_row(row["id"], row["title"], version, kept, ", ".join(row["released"]) or "-")
    output.out.print(table)


@app.command()
def pack(
    folder: FolderArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", readable=False, help="The archive to make, a .tar.gz.")],
    site: SiteOption = None,
) -> None:
    """Write a course as one archive, for another school to publish; the same course gives the same bytes."""
    settings, _, state = read_site(site)
    _walls(settings, state, Installation.current())
    target = _writable(file)
    with Packages(state.published).staging() as staged:
        left_out = read_course(
            readable(folder).resolve(), staged, confinement=settings.confinement, seccomp=seccomp_of(state)
        )
        digest = packed(staged.course, target, Course.load(staged.course).description.id)
    output.out.print(f"Wrote {target} (sha256 of its files {digest[:16]}).", markup=False)
    _say_left_out(left_out)


_SAID = {
    Done.RELEASED: "handed out", Done.UNCHANGED: "as it was", Done.ADDED: "added, not handed out",
    Done.TEACHERS_OWN: "left alone: a teacher has changed it",
    Done.CORRECTED: "corrected; the marks that were given stay until its teacher has everything graded again",
    Done.HANDED_IN: "left as it was: students have handed it in, and other graded cells would lose their work",
    Done.IN_WORK: "left as it was: other graded cells would lose the work of those who have begun",
    Done.DROPPED: "no part of the course any more; who has it keeps it", Done.TAKEN_BACK: "taken back",
}  # fmt: skip


def _tell(done: Published, *, json: bool) -> None:
    if json:
        output.print_json(
            {
                "course": done.course, "version": done.version, "live": done.live, "left_out": list(done.left_out),
                "assignments": {one.assignment: one.done.name.lower() for one in done.results},
            }
        )  # fmt: skip
        return
    what = f"version {done.version} is in force" if done.version else "what site.yaml says is in force"
    output.out.print(f"{done.course}: {what}.", markup=False)
    for one in done.results:
        people = f" ({len(one.people)})" if one.people else ""
        output.out.print(f"  {one.assignment}: {_SAID[one.done]}{people}", markup=False)
    _say_left_out(done.left_out)
    if not done.live:
        output.out.print("  The site does not run; at the next ./leerlab up people see it.")


def _say_left_out(names: Sequence[str]) -> None:
    if names:
        output.out.print(f"  No part of a course, and left out: {', '.join(names)}", markup=False)


def _walls(settings: Site, state: State, installation: Installation) -> Walls:
    """What a check needs of a site, which need not run."""
    make_state(state, settings.people)
    with output.steps("Preparing") as step:
        prepare_catalogue(settings, state, installation, step)
    seccomp.write_filters(state.generated)
    return Walls(state, unpacked(settings, state, installation), settings.confinement)


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
