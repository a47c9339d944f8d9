"""Each kind of defect, planted into a course that keeps every promise, is found at its cell and said in words."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from small_course import TEXT, Checker, SmallCourse, write_notebook

from courses.toolkit.check import CourseReport
from courses.toolkit.findings import Finding

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]

PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
HARD = (
    "De betrouwbaarheid van geautomatiseerde postcodeherkenning is afhankelijk van representatieve "
    "trainingsgegevens, waarbij onzorgvuldigheden in de gegevensverzameling doorwerken in de voorspellingen. "
)


@dataclass(frozen=True)
class Defect:
    """How one promise is broken, and what must be found.

    Args:
        plant: breaks it.
        code: of the finding.
        cell: where it must be found.
        says: part of the Dutch sentence.
        learners: the imagined learners that it takes to see it; none for what can be seen without running.
        wanted: other bounds.
        alone: whether it needs a course of its own; the others do not get into each other's way.
    """

    plant: Callable[[SmallCourse], None]
    code: str
    cell: str = ""
    says: str = ""
    learners: tuple[str, ...] = ()
    wanted: dict[str, Any] = field(default_factory=dict)
    alone: bool = False


def outputs(one: dict[str, Any]) -> None:
    one["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "9\n"}]


def secret_metadata(one: dict[str, Any]) -> None:
    one["metadata"]["oplossing"] = "uitkomst = x * x\n    return uitkomst"


def secret_attachment(one: dict[str, Any]) -> None:
    text = "uitkomst = x * x ; return uitkomst"
    one["attachments"] = {"hulp.txt": {"text/plain": text}}


def duplicate(one: dict[str, Any]) -> None:
    one["metadata"]["nbgrader"]["grade_id"] = "controle-kwadraat"


def a_link(course: SmallCourse) -> None:
    (course.notebook.parent / "gegevens.csv").symlink_to("/etc/passwd")


def an_archive(course: SmallCourse) -> None:
    (course.notebook.parent / "gegevens.zip").write_bytes(b"PK\5\6" + bytes(18))


def a_history(course: SmallCourse) -> None:
    (course.notebook.parent / ".git").mkdir()
    (course.notebook.parent / ".git" / "HEAD").write_text("ref: refs/heads/main\n")


def an_english_test(course: SmallCourse) -> None:
    course.replace("controle-kwadraat", "Drie maal drie is negen.", "Three times three is nine.", both=False)


def no_english_for_hbo(course: SmallCourse) -> None:
    course.english.unlink()
    course.described("track: mbo", "track: hbo")


def no_notebook(course: SmallCourse) -> None:
    course.notebook.write_text("{")


RUN = ("reference",)
DEFECTS = {
    "missing solution markers": Defect(
        lambda c: c.edit("kwadraat", lambda one: one.update(source="def kwadraat(x):\n    return x * x\n")),
        "source.no_markers", "kwadraat", "waar de uitwerking begint", alone=True),
    "no end of the solution": Defect(
        lambda c: c.replace("kwadraat", "### END SOLUTION", "# klaar"), "release.failed",
        says="end solution", alone=True),
    "answer left in the release": Defect(
        lambda c: c.append("verken", "# uitkomst = x * x\n# return uitkomst"), "leak.answer", "kwadraat", "cell verken",
    ),
    "hidden test visible": Defect(
        lambda c: c.append("verken", "# assert kwadraat(-4) == 16"), "leak.hidden", "controle-kwadraat", "kwadraat(-4)",
    ),
    "a value check beside an assert": Defect(
        lambda c: c.append("controle-som", "from leerlab_lab.checks import check\ncheck(som, gives=29)"),
        "checks.statement", "controle-som", "regel 1 andere code", alone=True,
    ),
    "a value check that compares in its question": Defect(
        lambda c: c.edit("controle-som", lambda one: one.update(
            source="from leerlab_lab.checks import check\ncheck(som == 29, gives=True)")),
        "checks.question", "controle-som", "De vraag op regel 2", alone=True,
    ),
    "a hidden value check, spread over lines, in a learner's cell": Defect(
        lambda c: (c.edit("controle-kwadraat", lambda one: one.update(source=(
            "from leerlab_lab.checks import check\ncheck(kwadraat(3), gives=9)\n### BEGIN HIDDEN TESTS\n"
            "check(\n    kwadraat(-4),\n    gives=16,\n    otherwise='Nee.',\n)\n### END HIDDEN TESTS\n"))),
            c.append("verken", "# check(kwadraat(-4), gives=16)"))[0],
        "leak.hidden", "controle-kwadraat", "kwadraat(-4)", alone=True,
    ),
    "hidden tests behind a misspelt mark": Defect(
        lambda c: (c.replace("controle-kwadraat", "BEGIN HIDDEN TESTS", "BEGIN VERBORGEN TESTS"),
                   c.replace("controle-kwadraat", "END HIDDEN TESTS", "END VERBORGEN TESTS"))[0],
        "leak.marker", "controle-kwadraat", "VERBORGEN", alone=True),
    "answer in metadata": Defect(
        lambda c: c.edit("verken", secret_metadata), "leak.answer", "kwadraat", "metadata",
    ),
    "answer in an attachment": Defect(
        lambda c: c.edit("titel", secret_attachment), "leak.answer", "kwadraat", "attachments",
    ),
    "answer in a file beside the notebook": Defect(
        lambda c: (c.notebook.parent / "hulp.py").write_text("uitkomst = x * x\nreturn uitkomst\n") and None,
        "leak.answer", "kwadraat", "hulp.py",
    ),
    "history in the release": Defect(a_history, "leak.history", says=".git"),
    "archive in the release": Defect(an_archive, "leak.archive", says="gegevens.zip"),
    "link in the course": Defect(a_link, "course.file", says="gegevens.csv", alone=True),
    "duplicate grade_id": Defect(
        lambda c: c.edit("controle-som", duplicate), "source.duplicate", "controle-kwadraat",
        "dezelfde naam", alone=True),
    "outputs committed": Defect(lambda c: c.edit("start", outputs), "source.outputs", "start", "uitvoer"),
    "not a notebook": Defect(no_notebook, "source.invalid", says="geen geldig notebook", alone=True),
    "image without alt": Defect(
        lambda c: c.append("titel", "![](plaatje.png)"), "image.no_alt", "titel", "plaatje.png",
    ),
    "image that is missing": Defect(
        lambda c: c.append("titel", "![Een kwadraat in hokjes](plaatje.png)"), "image.missing", "titel", "plaatje.png",
    ),
    "dead link": Defect(lambda c: c.append("titel", "[lees](uitleg.md)"), "link.dead", "titel", "uitleg.md"),
    "dead anchor": Defect(lambda c: c.append("titel", "[lees](#nergens)"), "link.dead", "titel", "#nergens"),
    "insecure link": Defect(
        lambda c: c.append("titel", "[lees](http://example.org/)"), "link.insecure", "titel", "http://example.org/",
    ),
    "unknown package": Defect(
        lambda c: c.append("start", "import bestaatniet.deel"), "package.unknown", "start", "bestaatniet",
    ),
    "text too hard": Defect(
        lambda c: c.edit("titel", lambda one: one.update(source=TEXT + "\n\n" + 5 * HARD), both=False),
        "text.hard", says="leest te moeilijk", alone=True),
    "English test differs": Defect(an_english_test, "english.test", "controle-kwadraat", "Engelse versie"),
    "English cells differ": Defect(
        lambda c: write_notebook(c.english, []), "english.cells", says="0 cellen", alone=True),
    "no English where it must be": Defect(
        no_english_for_hbo, "english.missing", says="geen Engelse versie", alone=True),
    "outcome that nothing measures": Defect(
        lambda c: c.described("    measured_by: {rekenen: [controle-kwadraat, controle-som]}\n", ""),
        "outcome.unmeasured", says="leerdoel rekenen",
    ),
    "outcome measured by a cell without marks": Defect(
        lambda c: c.described("[controle-kwadraat, controle-som]", "[verken]"), "outcome.unknown_cell",
        "verken", alone=True),
    "unknown dataset": Defect(
        lambda c: c.described("[elecdemand]", "[titanic]"), "dataset.unknown", says="titanic",
    ),
    "too few wrong solutions": Defect(
        lambda c: (c.folder / "teacher/rekenen/wrong/leeg.yaml").unlink(), "cases.few_wrong", says="4 foute",
    ),
    "case for a cell that does not exist": Defect(
        lambda c: c.case("other/nergens", style={"nl": "x", "en": "x"}, cells={"nergens": "x = 1"}),
        "case.unknown_cell", "nergens",
    ),
    "no guide": Defect(
        lambda c: (c.folder / "teacher/rekenen/docent.md").unlink(), "guide.missing", says="handleiding",
    ),
    "wrong solution that passes": Defect(
        lambda c: c.case("wrong/leeg", misconception={"nl": "x", "en": "x"}, loses="controle-som", message="Neem",
                         cells={"som": "som = 29\n"}),
        "wrong.keeps", "controle-som", "verliest nergens punten", ("wrong.leeg",),
    ),
    "wrong solution with the wrong message": Defect(
        lambda c: c.replace("controle-kwadraat", "Je telt op in plaats van te vermenigvuldigen.", "Fout."),
        "wrong.message", "controle-kwadraat", "De controle moet zeggen: “Je telt op”", ("wrong.optellen",),
    ),
    "wrong solution that loses elsewhere": Defect(
        lambda c: c.case("wrong/leeg", misconception={"nl": "x", "en": "x"}, loses="controle-som", message="Neem",
                         cells={"kwadraat": "def kwadraat(x):\n    return 0\n"}),
        "wrong.elsewhere", "controle-som", "eerst bij controle-kwadraat", ("wrong.leeg",),
    ),
    "other solution that loses": Defect(
        lambda c: c.case("other/met-macht", style={"nl": "x", "en": "x"},
                         cells={"kwadraat": "def kwadraat(x):\n    return str(x * x)\n"}),
        "other.loses", "controle-kwadraat", "0 van de 2 punten", ("other.met-macht",),
    ),
    "test cell that crashes instead of telling": Defect(
        lambda c: c.edit("controle-som", lambda one: one.update(source="assert som > 28, 'Te weinig.'\n")),
        "untouched.crash", "controle-som", "loopt deze controle vast", ("untouched",),
    ),
    "untouched gets marks": Defect(
        lambda c: c.edit("controle-som", lambda one: one.update(source="assert som != 49, 'Nee.'\n")),
        "untouched.marks", "controle-som", "1 van de 1 punten", ("untouched",),
    ),
    "reference that is not full": Defect(
        lambda c: c.replace("som", "kwadraat(2) + kwadraat(5)", "kwadraat(2) + kwadraat(6)"),
        "reference.lost", "controle-som", "0 van de 1 punten", RUN,
    ),
    "reference that breaks": Defect(
        lambda c: c.append("verken", "1 / 0"), "reference.error", "verken", "ZeroDivisionError", RUN,
    ),
    "unseeded reference": Defect(
        lambda c: c.append("controle-som", "import random\nrandom.random()"),
        "reference.unsteady", "controle-som", "andere punten", ("reference", "reference-real"),
    ),
    "too slow a cell": Defect(
        lambda c: c.append("verken", "import time\ntime.sleep(30)"),
        "slow.cell", "verken", "langer dan 2 seconden", RUN, {"bounds": {"cell_seconds": 2}},
    ),
    "too slow a notebook": Defect(
        lambda c: c.append("verken", "import time\ntime.sleep(2)"),
        "slow.notebook", says="mag 1 seconden", learners=RUN, wanted={"bounds": {"notebook_seconds": 1}},
    ),
    "too much memory": Defect(
        lambda c: c.append("verken", "vol = bytearray(600 * 2**20)"),
        "memory.gone", "verken", "MemoryError", RUN, {"bounds": {"memory": 256 * 2**20}},
    ),
    "network needed": Defect(
        lambda c: c.append("verken", "import urllib.request as u\nu.urlopen('https://example.org/', timeout=9)"),
        "network.needed", "verken", "heeft internet nodig", RUN,
    ),
    "picture without words": Defect(
        lambda c: c.append("verken", f"from IPython.display import Image, display\nimport base64\n"
                                     f"display(Image(base64.b64decode({PICTURE!r})))"),
        "image.output_no_alt", "verken", "zonder tekst", RUN,
    ),
    "explorable without a widget": Defect(
        lambda c: c.described("[verken]", "[start]"), "explorable.no_widget", "start", "geen widget", RUN,
    ),
}  # fmt: skip


# Kinds of which a sister is among those that always run.
LATER = {
    "not a notebook", "English cells differ", "outcome measured by a cell without marks", "reference that breaks",
    "wrong solution that loses elsewhere", "picture without words", "explorable without a widget",
    "too slow a notebook", "no English where it must be", "untouched gets marks",
    "hidden tests behind a misspelt mark",
}  # fmt: skip


@pytest.fixture(scope="module")
def reports(check: Checker, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[CourseReport]]]:
    """Every broken course, checked once, two side by side; what can be seen without running shares one course."""
    assert base64.b64decode(PICTURE)
    with tempfile.TemporaryDirectory(prefix="ll-", dir="/tmp") as place, ThreadPoolExecutor(2) as pool:

        def broken(number: int, defects: list[Defect]) -> CourseReport:
            course = SmallCourse(Path(place, str(number))).write()
            if defects[0].learners:
                # The English variant has no part in it.
                course.english.unlink()
            for defect in defects:
                defect.plant(course)
            return check(course.folder, *defects[0].learners, jobs=1, **defects[0].wanted)

        here = [item for item in request.session.items if item.path == request.path and hasattr(item, "callspec")]
        asked = {item.callspec.params.get("name") for item in here}
        alone = {name: one for name, one in DEFECTS.items() if name in asked and (one.alone or one.learners)}
        together = [one for one in DEFECTS.values() if not one.alone and not one.learners]
        runs = {name: pool.submit(broken, number, [one]) for number, (name, one) in enumerate(alone.items())}
        many = pool.submit(broken, len(alone), together)
        yield {name: runs.get(name, many) for name in DEFECTS}


def failures(report: CourseReport) -> list[Finding]:
    found = [*report.findings, *(one for each in report.assignments for one in each.outcome.findings)]
    return [finding for finding in found if not finding.is_note]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LATER else []) for name in DEFECTS]
)
def test_a_planted_defect_is_found_at_its_cell_and_said_in_words(
    reports: dict[str, Future[CourseReport]], name: str
) -> None:
    report = reports[name].result(240)
    defect, found = DEFECTS[name], failures(report)
    assert not report.ok
    assert (defect.code, defect.cell) in [(finding.code, finding.cell) for finding in found], found
    same = [one for one in found if (one.code, one.cell) == (defect.code, defect.cell)]
    said = next((one for one in same if defect.says in one.what("nl")), None)
    assert said is not None, [one.what("nl") for one in same]
    for language in ("nl", "en"):
        assert all(sentence(language) for sentence in (said.what, said.why, said.do))


def test_the_course_without_a_defect_keeps_every_promise(check: Checker, course: SmallCourse) -> None:
    report = check(course.folder, everybody=True)
    assert failures(report) == []
    (one,) = report.assignments
    assert {case.name for case in one.outcome.cases} >= {
        "reference", "reference-real", "untouched", "edited", "deleted", "renamed", "en.reference", "en.untouched",
        "wrong.optellen", "other.met-macht",
    }  # fmt: skip
    assert all(case.ok for case in one.outcome.cases)
