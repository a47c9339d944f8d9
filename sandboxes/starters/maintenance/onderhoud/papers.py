"""The model card and the go/no-go memo: figures with intervals, cost, energy and risk class."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from string import Template

from .judging import SIZES, Rate, Share, Trial, Verdict
from .reading import Measurements
from .said import CannotRead, Said
from .texts import LANGUAGES, TEMPLATES, day_in_words, in_markdown, number, say, text

# Electricity in the Netherlands in 2023, as in the package codecarbon 3.3.2.
GRAMS_PER_KWH = 267.6
CHECKS_A_YEAR = 365 * 24
LEARNING_A_YEAR = 12
WEEKS_A_YEAR = 52
ENOUGH_WEEKS = 8
MOST = 1_000_000.0
_UNIT = re.compile(r"[\[(]([^\[\]()]{1,12})[\])]\s*$")


@dataclass(frozen=True)
class Assumptions:
    """What the figures cannot say; a company fills in its own.

    Args:
        start_hours: hours of work to begin.
        hour_euros: cost of one hour of work.
        alarm_minutes: minutes of work for each alarm.
        leaks: leaks or faults a year.
        leak_euros: what is saved when one is found early.
        cpu_hour_euros: cost of one hour of one processor core.
        core_watts: power of one core at work.
    """

    start_hours: float = 40
    hour_euros: float = 60
    alarm_minutes: float = 20
    leaks: float = 4
    leak_euros: float = 2500
    cpu_hour_euros: float = 0.05
    core_watts: float = 10

    @classmethod
    def named(cls, given: Mapping[str, object]) -> Assumptions:
        """From the words that people see in the notebook.

        Raises:
            CannotRead: a name is unknown, or a value is no number from 0 to `MOST`.
        """
        names = {name: field for field, both in ASSUMPTIONS.items() for name in both}
        assumptions = cls()
        for name, value in given.items():
            if name not in names:
                raise CannotRead("memo.unknown", name=str(name)[:60])
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST:
                raise CannotRead("memo.assumption", name=name, most=int(MOST))
            assumptions = replace(assumptions, **{names[name]: float(value)})
        return assumptions


ASSUMPTIONS = {
    "start_hours": ("uren werk om te beginnen", "hours of work to begin"),
    "hour_euros": ("euro per uur werk", "euros per hour of work"),
    "alarm_minutes": ("minuten werk per alarm", "minutes of work per alarm"),
    "leaks": ("lekken of storingen per jaar", "leaks or faults a year"),
    "leak_euros": ("euro bespaard per gevonden lek", "euros saved per leak found"),
    "cpu_hour_euros": ("euro per uur van één rekenkern", "euros per hour of one core"),
    "core_watts": ("watt per rekenkern", "watts per core"),
}


@dataclass(frozen=True)
class Findings:
    """All that the papers are about.

    Args:
        measured: the measurements.
        own: whether they are the company's own.
        trial: what was learned.
        verdict: the final test of the method.
        forest: the final test of the isolation forest.
        learning_seconds: processor time of learning and testing, measured.
        check_seconds: processor time of one check of the newest measurement, measured.
        risk: one of `choices.RISKS`.
        sandbox: the sandbox's title, or empty.
    """

    measured: Measurements
    own: bool
    trial: Trial
    verdict: Verdict
    forest: Verdict
    learning_seconds: float
    check_seconds: float
    risk: str
    sandbox: str


@dataclass(frozen=True)
class Sums:
    """What one year costs and brings in, in euros, hours of a core, kWh and grams of CO2-equivalent."""

    start: float
    alarms: float
    computing: float
    benefit: float
    balance: float
    cpu_hours: float
    kwh: float
    grams: float

    @classmethod
    def of(cls, share: float, false_a_week: float, findings: Findings, assumed: Assumptions) -> Sums:
        """Work it out.

        Args:
            share: which part of the leaks is found, 0 to 1.
            false_a_week: false alarms a week.
        """
        cpu_hours = (CHECKS_A_YEAR * findings.check_seconds + LEARNING_A_YEAR * findings.learning_seconds) / 3600
        kwh = cpu_hours * assumed.core_watts / 1000
        start = assumed.start_hours * assumed.hour_euros
        a_year = false_a_week * WEEKS_A_YEAR + assumed.leaks * share
        alarms = a_year * assumed.alarm_minutes / 60 * assumed.hour_euros
        computing = cpu_hours * assumed.cpu_hour_euros
        benefit = assumed.leaks * share * assumed.leak_euros
        return cls(
            start, alarms, computing, benefit, benefit - start - alarms - computing, cpu_hours, kwh, kwh * GRAMS_PER_KWH
        )


def advice(findings: Findings, assumed: Assumptions) -> tuple[str, list[tuple[Said, bool]]]:
    """Go, not yet or no-go, as the code of a sentence, and each point with whether it is in order."""
    share, rate = findings.verdict.share(), findings.verdict.false
    low, high = share.interval()
    fewest, most = rate.interval()
    worst = Sums.of(low, most, findings, assumed).balance
    best = Sums.of(high, fewest, findings, assumed).balance
    weeks = (findings.measured.series.index[-1] - findings.measured.series.index[0]).days / 7
    points = [
        (("memo.own", {}), findings.own),
        (("memo.weeks", {"weeks": (weeks, 1)}), weeks >= ENOUGH_WEEKS),
        (("memo.half", {"low": (100 * low, 0)}), low >= 0.5),
        (("memo.calm", {"high": (most, 1)}), rate.a_week <= 1 and most <= 3),
        (("memo.pays", {"euro": (worst, 0)}), worst > 0),
        (("memo.risk", {}), findings.risk in ("minimal", "limited")),
    ]
    if findings.risk == "prohibited" or best <= 0:
        code = "memo.no_go"
    else:
        code = "memo.go" if all(fine for _, fine in points) else "memo.not_yet"
    return code, [(_Figures(name, values), fine) for (name, values), fine in points]


class _Figures(Said):
    """A sentence whose numbers are written as its language does."""

    def __init__(self, code: str, figures: Mapping[str, tuple[float, int]]) -> None:
        super().__init__(code, **{name: value for name, (value, _) in figures.items()})
        self._figures = figures

    def in_language(self, language: str) -> Said:
        shown = {name: number(value, digits, language) for name, (value, digits) in self._figures.items()}
        return Said(self.code, **shown)


def write_papers(findings: Findings, assumed: Assumptions, language: str) -> tuple[str, str]:
    """The model card and the memo, in Markdown."""
    words = _words(findings, assumed, language)
    return tuple(  # type: ignore[return-value]
        Template((TEMPLATES / f"{name}.{language}.md").read_text(encoding="utf-8")).substitute(words)
        for name in ("modelkaart", "memo")
    )


def _words(findings: Findings, assumed: Assumptions, language: str) -> dict[str, str]:
    measured, verdict, trial = findings.measured, findings.verdict, findings.trial
    share, rate = verdict.share(), verdict.false
    sums = Sums.of(share.found / share.of, rate.a_week, findings, assumed)
    code, points = advice(findings, assumed)

    def say_number(value: float, digits: int = 0) -> str:
        return number(value, digits, language)

    def say_figures(value: float) -> str:
        return number(value, digits_for(value), language)

    def yes(fine: bool) -> str:
        return text(language, "memo.yes" if fine else "memo.no")

    rows = "\n".join(
        f"| {say(point.in_language(language), language)} | {yes(fine)} |"
        for point, fine in points
        if isinstance(point, _Figures)
    )
    sizes = "\n".join(
        f"| {in_markdown(size_in_words(size, trial, measured.name, language))} "
        f"| {share_in_words(verdict.share(size), language)} | {share_in_words(findings.forest.share(size), language)} |"
        for size in SIZES
    )
    delay = verdict.delay()
    return {
        "today": day_in_words(datetime.now().astimezone().date(), language),
        "name": in_markdown(measured.name),
        "source": in_markdown(measured.source),
        "sha256": measured.sha256,
        "sandbox": in_markdown(findings.sandbox) or "–",
        "rows": say_number(len(measured.series)),
        "first": day_in_words(measured.series.index[0].date(), language),
        "last": day_in_words(measured.series.index[-1].date(), language),
        "took": "\n".join(f"- {in_markdown(say(said, language))}" for said in measured.took),
        "learn_rows": say_number(len(trial.part("learn"))),
        "choose_rows": say_number(len(trial.part("choose"))),
        "test_rows": say_number(len(trial.part("test"))),
        "test_weeks": say_number(rate.weeks, 1),
        "past_days": say_number(trial.pattern.past.days),
        "threshold": say_number(verdict.threshold, 1),
        "spread": say_figures(trial.pattern.spread),
        "found": share_in_words(share, language),
        "found_forest": share_in_words(findings.forest.share(), language),
        "false": rate_in_words(rate, language),
        "false_forest": rate_in_words(findings.forest.false, language),
        "delay": text(language, "memo.never") if delay is None else say_number(delay, 1),
        "known": known_in_words(verdict, language),
        "sizes": sizes,
        "advice": text(language, code),
        "points": rows,
        "assumptions": "\n".join(
            f"| {names[LANGUAGES.index(language)]} | {say_number(value, 0 if value == int(value) else 2)} |"
            for field, names in ASSUMPTIONS.items()
            if (value := float(getattr(assumed, field))) is not None
        ),
        "start_euros": say_number(sums.start),
        "alarm_euros": say_number(sums.alarms),
        "computing_euros": say_number(sums.computing, 2) if sums.computing >= 0.01 else f"< {say_number(0.01, 2)}",
        "benefit_euros": say_number(sums.benefit),
        "balance_euros": say_number(sums.balance),
        "cpu_hours": say_figures(sums.cpu_hours),
        "watt_hours": say_figures(1000 * sums.kwh),
        "grams": say_figures(sums.grams),
        "grams_per_kwh": say_number(GRAMS_PER_KWH, 1),
        "watts": say_number(assumed.core_watts, 0 if assumed.core_watts == int(assumed.core_watts) else 2),
        "learning_seconds": say_number(findings.learning_seconds, 2),
        "check_seconds": say_figures(findings.check_seconds),
        "learning_grams": say_figures(findings.learning_seconds / 3600 * assumed.core_watts / 1000 * GRAMS_PER_KWH),
        "risk": text(language, f"risk.{findings.risk}"),
    }


def digits_for(value: float) -> int:
    """How many decimals show three figures of a value."""
    return max(0, min(6, 2 - math.floor(math.log10(abs(value))))) if value else 0


def share_in_words(share: Share, language: str) -> str:
    """`65 van 80 (71–88 %)`."""
    low, high = (number(100 * bound, 0, language) for bound in share.interval())
    return text(language, "test.share", found=share.found, of=share.of, low=low, high=high)


def rate_in_words(rate: Rate, language: str) -> str:
    """`0,4 (0,0–1,6)`."""
    low, high = (number(bound, 1, language) for bound in rate.interval())
    return text(language, "test.rate", rate=number(rate.a_week, 1, language), low=low, high=high)


def known_in_words(verdict: Verdict, language: str) -> str:
    """`1 van 1`, or that there are none."""
    if not verdict.known:
        return text(language, "memo.none")
    found = sum(after is not None for _, after in verdict.known)
    return text(language, "test.of", found=found, of=len(verdict.known))


def unit_of(name: str) -> str:
    """The unit in brackets at the end of a column's header, or nothing: `l/s` of `debiet [l/s]`."""
    found = _UNIT.search(name)
    return found[1].strip() if found else ""


def size_in_words(size: float, trial: Trial, name: str, language: str) -> str:
    """The size of a leak in the measurement's own unit; the unit is somebody else's text."""
    value = size * trial.pattern.spread
    return f"{number(value, digits_for(value), language)} {unit_of(name)}".strip()
