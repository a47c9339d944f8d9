"""Shows a course's report: on a terminal, as JSON, and as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.console import Console
from rich.text import Text

from courses.toolkit.check import AssignmentReport, CourseReport
from courses.toolkit.findings import CaseFigures, Finding, proof, who, word

_TEMPLATE = "report.html"
_MEBIBYTE = 2**20
# Proofs of which nothing is known when the assignment could not be released: most need a run, secrets a release.
_NEED_RUNS = {1, 2, 3, 4, 5, 6, 8}


def plain(text: str) -> Text:
    """Somebody's own words for a terminal: nothing in them is markup or a control code."""
    return Text("".join(each if each.isprintable() else " " for each in text))


def tell(console: Console, reports: Sequence[CourseReport], language: str) -> None:
    """Print the reports: a line for what is well, and for what is not, where, what, why and what to do."""
    for report in reports:
        for finding in report.findings:
            _tell_finding(console, report.title[language], finding, language)
        for one in report.assignments:
            verdict = word("ok" if one.ok else "not_ok", language)
            took = word("took", language) % {"seconds": f"{one.seconds:.0f}"}
            line = f"{report.title[language]} / {one.title[language]}: {verdict} ({len(one.outcome.cases)}; {took})"
            console.print(plain(line), style="bold green" if one.ok else "bold red")
            for finding in sorted(one.outcome.findings, key=lambda each: (each.is_note, each.proof)):
                _tell_finding(console, one.id, finding, language)


def _tell_finding(console: Console, where: str, finding: Finding, language: str) -> None:
    place = [f"{word('cell', language)} {finding.cell}" if finding.cell else ""]
    place.append(f"{word('case', language)} {who(finding.case, language)}" if finding.case else "")
    named = " · ".join(part for part in (finding.file or where, *place) if part)
    console.print(plain(f"  {named}"), style="yellow" if finding.is_note else "red")
    console.print(plain(f"    {finding.what(language)}"))
    if not finding.is_note:
        console.print(plain(f"    {finding.why(language)}"), style="dim")
    console.print(plain(f"    → {finding.do(language)}"))


def as_json(reports: Sequence[CourseReport], language: str) -> dict[str, Any]:
    """The reports as plain values."""
    return {
        "ok": all(report.ok for report in reports),
        "courses": [
            {
                "folder": str(report.folder),
                "ok": report.ok,
                "seconds": round(report.seconds, 1),
                "findings": [_plain_finding(finding, language) for finding in report.findings],
                "assignments": [_plain_assignment(one, language) for one in report.assignments],
            }
            for report in reports
        ],
    }


def _plain_assignment(one: AssignmentReport, language: str) -> dict[str, Any]:
    return {
        "id": one.id,
        "ok": one.ok,
        "seconds": round(one.seconds, 1),
        "findings": [_plain_finding(finding, language) for finding in one.outcome.findings],
        "cases": [case.model_dump() for case in one.outcome.cases],
        "links": one.outcome.links,
    }


def _plain_finding(finding: Finding, language: str) -> dict[str, Any]:
    said = {"what": finding.what(language), "why": finding.why(language), "do": finding.do(language)}
    return {**finding.model_dump(), "proof": finding.proof, "note": finding.is_note, **said}


def as_html(reports: Sequence[CourseReport], language: str) -> str:
    """One page with everything; whatever a course says is escaped, and there is no script."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(_TEMPLATE).render(
        reports=reports, language=language, word=lambda name: word(name, language),
        proof=lambda number: proof(number, language), who=lambda case: who(case, language),
        proofs=range(1, 9), state=_state, total=_total, mebibytes=lambda size: size // _MEBIBYTE if size else "",
        count=_count,
    )  # fmt: skip


def _state(one: AssignmentReport, number: int) -> str:
    """`bad`, `note`, `good`, or `untried` where nothing could be run: how one proof of an assignment came out."""
    own = [finding for finding in one.outcome.findings if finding.proof == number]
    if any(not finding.is_note for finding in own):
        return "bad"
    if number in _NEED_RUNS and not one.outcome.cases:
        return "untried"
    return "note" if own else "good"


def _total(case: CaseFigures) -> str:
    got = sum(mark or 0 for mark, _ in case.marks.values())
    return f"{got:g} / {sum(most for mark, most in case.marks.values() if mark is not None):g}"


def _count(findings: Sequence[Finding]) -> int:
    return sum(not finding.is_note for finding in findings)
