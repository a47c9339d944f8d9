"""From marks and outputs to what is not as promised: proofs 1 to 4, 6 and 8 of an assignment. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from nbformat import NotebookNode

from leerlab_lab import flags
from leerlab_lab.coursecheck.book import Mark, graded_as, is_graded, named
from leerlab_lab.coursecheck.plan import (
    AGAIN,
    DELETED,
    EDITED,
    REAL,
    REFERENCE,
    RENAMED,
    UNTOUCHED,
    Case,
    Finding,
    Kind,
    Plan,
)
from leerlab_lab.coursecheck.prepare import EN
from leerlab_lab.flags import Code

# How a check tells a learner something: an assertion's sentence, or the one that stands where the answer must come.
_TELLS = {"AssertionError", "CheckFailed", "NotImplementedError"}
_NO_NETWORK = re.compile(
    r"name resolution|Name or service not known|getaddrinfo|Network is unreachable|Max retries exceeded"
    r"|Connection refused|ConnectionError|URLError|No address associated|OfflineModeIsEnabled|LocalEntryNotFound",
    re.IGNORECASE,
)
_NO_MEMORY = re.compile(r"MemoryError|can't allocate memory|Unable to allocate|Cannot allocate memory|bad_alloc")
# What differs between two honest runs: where things lie in memory, how long they took and how much energy that was.
_PASSING = re.compile(
    r"0x[0-9a-fA-F]+|[\d.,]+\s*(?:ns|[uµ]s|ms|s|sec\w*|min\w*|uur|hours?|it/s|[kmµ]?Wh|[kmµ]?J|joule|watt|W|%\s*cpu|"
    r"g(?:ram)?|[kKMG]i?B)\b"
)
_IMG = re.compile(r"<img\b[^>]*>", re.IGNORECASE)
_ALT = re.compile(r"\balt\s*=\s*(?:\"[^\"]{4,}\"|'[^']{4,}')", re.IGNORECASE)
_SAID = 400


@dataclass(frozen=True)
class Run:
    """One imagined learner's graded work.

    Args:
        marks: by grade_id; empty where it was not graded.
        notebook: as the teacher sees it after grading; None where it was not graded.
        seconds, memory: what it took; `memory` in bytes, 0 where it was not measured.
        ended: `done`, `time`, `memory` or `lost`.
        changed: the test cells of which nbgrader tells the learner, on validating, that they were changed.
        shown: kinds of output by cell, as run.
    """

    marks: Mapping[str, Mark]
    notebook: NotebookNode | None
    seconds: float
    memory: int
    ended: str
    changed: Sequence[str] = ()
    shown: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def cell(self, name: str) -> NotebookNode | None:
        cells = self.notebook.cells if self.notebook is not None else []
        return next((cell for cell in cells if named(cell) == name), None)

    def errors(self, name: str) -> list[tuple[str, str]]:
        """Name and sentence of each error that a cell ended with."""
        cell = self.cell(name)
        outputs = cell.get("outputs", []) if cell is not None else []
        return [(output.ename, output.evalue) for output in outputs if output.output_type == "error"]

    def said(self, name: str) -> str:
        """All that a cell said, its errors first: what a learner reads."""
        cell = self.cell(name)
        outputs = cell.get("outputs", []) if cell is not None else []
        texts = [f"{ename}: {evalue}" for ename, evalue in self.errors(name)]
        texts += [output.text for output in outputs if output.output_type == "stream"]
        for output in outputs:
            data = output.get("data", {})
            texts += [data[kind] for kind in ("text/plain", "text/html", "text/markdown") if kind in data]
        return "\n".join(texts)

    def lost(self, order: Sequence[str]) -> list[str]:
        """The cells that the checks grade and that have not all their marks, in order."""
        return [name for name in order if (mark := self.marks.get(name)) is None or mark.got != mark.most]


@dataclass(frozen=True)
class Graded:
    """All runs of one notebook.

    Args:
        cells: of the source, in order.
        runs: by learner.
        file: the source's path, for findings.
    """

    cells: Sequence[NotebookNode]
    runs: Mapping[str, Run]
    file: str
    english: bool = False

    @property
    def automatic(self) -> list[str]:
        """The cells that the checks grade."""
        return [graded_as(cell) for cell in self.cells if is_graded(cell) and cell.cell_type == "code"]


def judge(plan: Plan, graded: Graded) -> list[Finding]:
    """Everything that is not as promised."""
    found: list[Finding] = []
    if graded.runs and all(run.ended == "lost" for run in graded.runs.values()):
        return [Finding("case.lost", file=graded.file)]
    for student, run in graded.runs.items():
        if run.ended in {"time", "memory"}:
            found.append(Finding(f"case.{run.ended}", case=student, file=graded.file, params=_bounds(plan)))
        elif run.ended != "done" or not run.marks:
            found.append(Finding("case.lost", case=student, file=graded.file))
    whole = Graded(
        graded.cells,
        {student: run for student, run in graded.runs.items() if run.ended == "done" and run.marks},
        graded.file,
        graded.english,
    )
    return [*found, *_proofs(plan, whole)]


def _proofs(plan: Plan, graded: Graded) -> list[Finding]:
    """What the runs that came to their end say."""
    prefix = EN if graded.english else ""
    found: list[Finding] = []
    for student in (REFERENCE, AGAIN, REAL):
        if (run := graded.runs.get(prefix + student)) is not None:
            found += _reference(plan, graded, prefix + student, run)
    found += _steady(graded, prefix)
    if (untouched := graded.runs.get(prefix + UNTOUCHED)) is not None:
        found += _untouched(graded, prefix + UNTOUCHED, untouched)
    if not graded.english:
        for case in plan.cases:
            if (run := graded.runs.get(case.student)) is not None:
                found += _wrong(graded, case, run) if case.kind is Kind.WRONG else _other(graded, case, run)
        for student in (EDITED, DELETED, RENAMED):
            if (run := graded.runs.get(student)) is not None:
                found += _tampered(graded, student, run)
        found += _explorables(plan, graded)
    return found


def _bounds(plan: Plan) -> dict[str, int | float]:
    return {"most_seconds": plan.bounds.case_seconds, "memory": plan.bounds.memory // 2**20}


def _reference(plan: Plan, graded: Graded, student: str, run: Run) -> Iterator[Finding]:
    """Proof 1, and the bounds of proof 6."""
    tests = set(graded.automatic)
    for cell in graded.cells:
        if cell.cell_type != "code":
            continue
        name = named(cell)
        errors = run.errors(name)
        for ename, evalue in errors[:1]:
            text = f"{ename}: {evalue}"
            # A cell that takes too long is interrupted, and may say no more than that.
            if any(each in {"CellTimeoutError", "KeyboardInterrupt"} for each, _ in errors):
                params: dict[str, str | int | float] = {"most_seconds": plan.bounds.cell_seconds}
                yield Finding("slow.cell", name, student, graded.file, params)
            elif _NO_NETWORK.search(text):
                yield Finding("network.needed", name, student, graded.file, {"said": text[:_SAID]})
            elif _NO_MEMORY.search(text) or ename == "DeadKernelError":
                params = {"said": text[:_SAID], "most": plan.bounds.memory // 2**20}
                yield Finding("memory.gone", name, student, graded.file, params)
            elif name not in tests:
                yield Finding("reference.error", name, student, graded.file, {"said": text[:_SAID]})
        mark = run.marks.get(name)
        if name in tests and mark is not None and mark.got != mark.most:
            got = 0 if mark.got is None else mark.got
            params = {"got": got, "most": mark.most, "said": run.said(name)[:_SAID]}
            yield Finding("reference.lost", name, student, graded.file, params)
        yield from _pictures(name, run, graded, student)
    if run.seconds > plan.bounds.notebook_seconds:
        params = {"took": round(run.seconds), "most": round(plan.bounds.notebook_seconds)}
        yield Finding("slow.notebook", "", student, graded.file, params)
    if run.memory > plan.bounds.memory:
        params = {"took": run.memory // 2**20, "most": plan.bounds.memory // 2**20}
        yield Finding("memory.much", "", student, graded.file, params)


def _pictures(name: str, run: Run, graded: Graded, student: str) -> Iterator[Finding]:
    """A picture that the reference shows has words beside it, for who does not see it."""
    cell = run.cell(name)
    if student not in {REFERENCE, EN + REFERENCE} or cell is None:
        return
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        html = data.get("text/html", "")
        if "image/png" in data or "image/jpeg" in data or any(not _ALT.search(tag) for tag in _IMG.findall(html)):
            yield Finding("image.output_no_alt", name, file=graded.file)
            return


def _steady(graded: Graded, prefix: str) -> Iterator[Finding]:
    """The same work gives the same marks and shows the same, whenever it runs."""
    runs = [run for student in (REFERENCE, AGAIN, REAL) if (run := graded.runs.get(prefix + student))]
    for cell in graded.cells:
        if cell.cell_type != "code" or len(runs) < 2:
            continue
        name = named(cell)
        marks = {run.marks[name].got for run in runs if name in run.marks}
        shown = {_PASSING.sub("", _lasting(run, name)) for run in runs}
        if len(marks) > 1:
            yield Finding("reference.unsteady", name, file=graded.file)
        elif len(shown) > 1:
            yield Finding("reference.differs", name, file=graded.file)


def _lasting(run: Run, name: str) -> str:
    cell = run.cell(name)
    outputs = cell.get("outputs", []) if cell is not None else []
    # One text may arrive in pieces of any size.
    printed = "".join(out.text for out in outputs if out.output_type == "stream" and out.name == "stdout")
    return "\n".join([printed, *(output.get("data", {}).get("text/plain", "") for output in outputs)])


def _untouched(graded: Graded, student: str, run: Run) -> Iterator[Finding]:
    """Proof 2."""
    for name, mark in run.marks.items():
        if mark.got:
            yield Finding("untouched.marks", name, student, graded.file, {"got": mark.got, "most": mark.most})
        elif name in graded.automatic:
            yield from _crash(graded, student, run, name, "untouched.crash")


def _crash(graded: Graded, student: str, run: Run, name: str, code: str) -> Iterator[Finding]:
    errors = run.errors(name)
    ename, evalue = errors[0] if errors else ("", "")
    if ename not in _TELLS or not evalue.strip():
        said = f"{ename}: {evalue}" if ename else ""
        yield Finding(code, name, student, graded.file, {"said": said[:_SAID]})


def _wrong(graded: Graded, case: Case, run: Run) -> Iterator[Finding]:
    """Proof 3: the first loss is where the learner went wrong; a wrong function may cost marks in later cells too."""
    lost = run.lost(graded.automatic)
    if case.loses not in graded.automatic:
        return
    if case.loses not in lost:
        code = "wrong.elsewhere" if lost else "wrong.keeps"
        yield Finding(code, case.loses, case.student, graded.file, {"lost": lost[0] if lost else ""})
    elif lost[0] != case.loses:
        said = run.said(lost[0])[:_SAID]
        yield Finding("wrong.elsewhere", case.loses, case.student, graded.file, {"lost": lost[0], "said": said})
    elif case.message not in run.said(case.loses):
        crashed = list(_crash(graded, case.student, run, case.loses, "wrong.crash"))
        params = {"message": case.message, "said": run.said(case.loses)[:_SAID]}
        yield from crashed or [Finding("wrong.message", case.loses, case.student, graded.file, params)]


def _other(graded: Graded, case: Case, run: Run) -> Iterator[Finding]:
    """Proof 4."""
    for name in run.lost(graded.automatic):
        mark = run.marks.get(name)
        params = {
            "got": (mark.got or 0) if mark else 0,
            "most": mark.most if mark else 0,
            "said": run.said(name)[:_SAID],
        }
        yield Finding("other.loses", name, case.student, graded.file, params)


def _tampered(graded: Graded, student: str, run: Run) -> Iterator[Finding]:
    """Proof 8."""
    name = graded.automatic[0]
    mark = run.marks.get(name)
    if mark is None or mark.got:
        yield Finding("tampered.marks", name, student, graded.file)
    # The learner, who validates before handing in, or else the teacher.
    told = {flag.code for flag in flags.of(run.notebook)} if run.notebook is not None else set()
    if not run.changed and not told & {Code.TEST_CHANGED, Code.TEST_DELETED}:
        yield Finding("tampered.untold", name, student, graded.file)


def _explorables(plan: Plan, graded: Graded) -> Iterator[Finding]:
    """Something to explore was promised: the cell is there and shows a widget."""
    run = graded.runs.get(REFERENCE)
    if plan.explorables is None or run is None:
        return
    if not plan.explorables:
        yield Finding("explorable.unnamed", file=graded.file)
    names = {named(cell) for cell in graded.cells} | {str(cell.get("id")) for cell in graded.cells}
    for one in plan.explorables:
        if one not in names:
            yield Finding("explorable.unknown", one, file=graded.file)
        elif "application/vnd.jupyter.widget-view+json" not in run.shown.get(one, ()):
            yield Finding("explorable.no_widget", one, file=graded.file)
