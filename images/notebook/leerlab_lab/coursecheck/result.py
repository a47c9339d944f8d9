"""What a check found, to look at in a notebook or to read on from."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from leerlab_lab.coursecheck import plan, sentences
from leerlab_lab.coursecheck.sentences import word


@dataclass(frozen=True)
class Finding(plan.Finding):
    """Something that is not as promised, and how to say it."""

    @property
    def proof(self) -> int:
        """Which of the eight proofs it belongs to; 0 for the form."""
        return sentences.proof_of(self.code)

    @property
    def is_note(self) -> bool:
        """Whether it is something to look at, and no failure."""
        return sentences.is_note(self.code)

    def says(self, language: str = "nl") -> str:
        """What is wrong."""
        return sentences.sentence(self.code, "what", language, dict(self.params))

    def why(self, language: str = "nl") -> str:
        """Why it matters."""
        return sentences.sentence(self.code, "why", language, dict(self.params))

    def do(self, language: str = "nl") -> str:
        """What to do."""
        return sentences.sentence(self.code, "do", language, dict(self.params))


@dataclass(frozen=True)
class CaseResult:
    """What became of one imagined learner's work.

    Args:
        name: such as `reference`, `untouched` or the case's own.
        kind: `wrong`, `other`, or nothing for those that every check has.
        ok: whether it came out as it should.
        seconds: how long it took.
        memory: bytes at most.
        marks: what it got and the most, by grade_id; None where a teacher marks.
        idea: the misconception or the style, by language.
        said: what the check said to a wrong one.
    """

    name: str
    kind: str
    ok: bool
    seconds: float
    memory: int
    marks: Mapping[str, tuple[float | None, float]]
    idea: Mapping[str, str] = field(default_factory=dict)
    said: str = ""


@dataclass(frozen=True)
class Result:
    """All that one check found.

    Args:
        findings: what is wrong, and what to look at.
        cases: what was tried.
        links: outside addresses in the text; nobody fetched them.
        language: in which it shows itself.
    """

    findings: tuple[Finding, ...]
    cases: tuple[CaseResult, ...]
    links: tuple[str, ...] = ()
    language: str = "nl"

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; notes aside."""
        return all(finding.is_note for finding in self.findings)

    def in_language(self, language: str) -> Result:
        """The same, in `nl` or `en`."""
        return Result(self.findings, self.cases, self.links, language)

    @classmethod
    def of(cls, said: Mapping[str, Any], language: str) -> Result:
        """What result.json says."""
        cases = tuple(
            CaseResult(
                one["name"].removeprefix(f"{one['kind']}."), one["kind"], one["ok"], one["seconds"], one["memory"],
                {cell: (got, most) for cell, (got, most) in one["marks"].items()}, one["idea"], one["said"],
            )
            for one in said["cases"]
        )  # fmt: skip
        return cls(tuple(Finding(**one) for one in said["findings"]), cases, tuple(said["links"]), language)

    def __repr__(self) -> str:
        lines = [self._verdict()]
        for finding in self.findings:
            where = ", ".join(part for part in (finding.cell, finding.case) if part)
            lines += [f"- {where}: {finding.says(self.language)}" if where else f"- {finding.says(self.language)}"]
            lines += [f"  {word('do', self.language)}: {finding.do(self.language)}"]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        show = self.language
        parts = [f"<p><strong>{html.escape(self._verdict())}</strong></p>"]
        if self.findings:
            rows = "".join(
                f'<li><p style="margin:0">{_where(one)}{html.escape(one.says(show))}</p>'
                f'<p style="margin:0 0 .6em">{html.escape(one.why(show))} <em>{html.escape(one.do(show))}</em></p></li>'
                for one in self.findings
            )
            parts.append(f"<ul>{rows}</ul>")
        head = "".join(f'<th scope="col">{html.escape(word(name, show))}</th>' for name in ("who", "result", "marks"))
        body = "".join(
            f'<tr><th scope="row" style="text-align:left">{html.escape(_name(case, show))}</th>'
            f"<td>{html.escape(word('good' if case.ok else 'bad', show))}</td><td>{_total(case)}</td></tr>"
            for case in self.cases
        )
        caption = f'<caption style="text-align:left">{html.escape(word("cases", show))}</caption>'
        return "".join([*parts, f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"])

    def _verdict(self) -> str:
        wrong = sum(not finding.is_note for finding in self.findings)
        if not wrong:
            return f"{word('ok', self.language)}."
        name = "finding" if wrong == 1 else "findings"
        return f"{word('not_ok', self.language)}: {word(name, self.language) % {'count': wrong}}."


def _where(finding: Finding) -> str:
    where = ", ".join(html.escape(part) for part in (finding.cell, finding.case) if part)
    return f"<code>{where}</code>: " if where else ""


def _name(case: CaseResult, language: str) -> str:
    if case.kind:
        return f"{word(case.kind, language)}: {case.name}"
    if case.name.startswith("en."):
        return f"{word('english', language)}: {word(case.name.removeprefix('en.'), language)}"
    return word(case.name, language)


def _total(case: CaseResult) -> str:
    got = sum(mark or 0 for mark, _ in case.marks.values())
    return f"{got:g} / {sum(most for mark, most in case.marks.values() if mark is not None):g}"
