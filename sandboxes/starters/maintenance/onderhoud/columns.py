"""Columns of text to times and numbers, by one rule for the whole column, never cell by cell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from .said import CannotRead, Said

ZONE = "Europe/Amsterdam"
_CLOCK = r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,]\d{1,9})?)?(?: ?(?P<half>[AaPp][Mm]))?"
_OFFSET = r"(?P<offset>Z|[+-]\d{2}:?\d{2})?"
_TIME = rf"(?:(?:[T,]|\s)\s*{_CLOCK}\s*{_OFFSET})?"
YEAR_FIRST = re.compile(rf"(?P<year>\d{{4}})[-/.](?P<first>\d{{1,2}})[-/.](?P<last>\d{{1,2}}){_TIME}")
YEAR_LAST = re.compile(rf"(?P<first>\d{{1,2}})[-/.](?P<last>\d{{1,2}})[-/.](?P<year>\d{{4}}|\d{{2}}){_TIME}")
COMPACT = re.compile(rf"(?P<year>(?:19|20)\d{{2}})(?P<first>[01]\d)(?P<last>[0-3]\d){_TIME}")
EPOCH = re.compile(r"(?:\d{10}|\d{13})(?:\.0+)?")
DATE = re.compile(rf"(?:{YEAR_FIRST.pattern.replace('?P<', '?P<a_')})|(?:{YEAR_LAST.pattern.replace('?P<', '?P<b_')})")
_CLOCK_ALONE = re.compile(r"\d{1,2}:\d{2}(?::\d{2})?")

_POINT = re.compile(r"[-+]?(?:\d+|\d{1,3}(?:,\d{3})+)?(?:\.\d+)?(?:[eE][-+]?\d{1,3})?")
_COMMA = re.compile(r"[-+]?(?:\d+|\d{1,3}(?:[. \u00a0]\d{3})+)?(?:,\d+)?(?:[eE][-+]?\d{1,3})?")
NUMBER = re.compile(r"[-+]?(?:\d[\d.,]*|[.,]\d+)(?:[eE][-+]?\d{1,3})?")
_MAYBE_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}[.,]\d{3}")
_ABSENT = {"", "-", "--", "na", "n/a", "#n/a", "nan", "null", "none", "nvt", "n.v.t."}
_MOSTLY = 0.8


@dataclass(frozen=True)
class Dates:
    """One rule for the times of a column.

    Args:
        pattern: what a cell looks like.
        day_first: whether the first of two numbers is the day; without meaning where the year stands first.
        unsure: whether the other order would fit as well.
        days_only: whether no cell has a clock time.
    """

    pattern: re.Pattern[str]
    day_first: bool = False
    unsure: bool = False
    days_only: bool = False

    @classmethod
    def of(cls, texts: pd.Series, day_first: bool | None = None) -> Dates:
        """The rule that fits most cells.

        Raises:
            CannotRead: some cells can only be day-month and others only month-day.
        """
        fits = {pattern: texts.str.fullmatch(pattern).sum() for pattern in (YEAR_FIRST, YEAR_LAST, COMPACT, EPOCH)}
        pattern = max(fits, key=lambda candidate: fits[candidate])
        if pattern is EPOCH:
            return cls(pattern)
        parts = texts.str.extract(pattern)
        days_only = bool(parts["hour"].isna().all())
        if pattern is not YEAR_LAST:
            return cls(pattern, days_only=days_only)
        first, last = (pd.to_numeric(parts[name], errors="coerce") for name in ("first", "last"))
        must_be_day, must_be_month = bool((first > 12).any()), bool((last > 12).any())
        if must_be_day and must_be_month:
            raise CannotRead("read.mixed")
        unsure = not (must_be_day or must_be_month)
        chosen = (day_first is not False) if unsure else must_be_day
        return cls(pattern, chosen, unsure, days_only)

    def moments(self, texts: pd.Series) -> pd.Series:
        """Clock times without a zone; missing where a cell is no time."""
        if self.pattern is EPOCH:
            return self._since_1970(texts)
        parts = texts.str.extract(self.pattern.pattern.join(("^", "$")))
        day, month = ("first", "last") if self.pattern is YEAR_LAST and self.day_first else ("last", "first")
        fields = pd.DataFrame(
            {
                name: pd.to_numeric(parts[group], errors="coerce")
                for name, group in {
                    "year": "year", "month": month, "day": day, "hour": "hour", "minute": "minute", "second": "second",
                }.items()
            }
        )  # fmt: skip
        fields[["hour", "minute", "second"]] = fields[["hour", "minute", "second"]].fillna(0)
        fields["year"] += 2000 * (fields["year"] < 100)
        half = parts["half"].str.lower()
        fields["hour"] += 12 * ((half == "pm") & (fields["hour"] < 12)) - 12 * ((half == "am") & (fields["hour"] == 12))
        possible = (fields["hour"] < 24) & (fields["minute"] < 60) & (fields["second"] < 60)
        moments = pd.to_datetime(fields.where(possible), errors="coerce")
        return self._in_zone(moments, parts["offset"])

    def took(self, texts: pd.Series) -> list[Said]:
        """What was taken, with the first cell as an example."""
        if self.pattern is EPOCH:
            return [Said("took.epoch"), Said("took.zone", zone=ZONE)]
        example = texts[texts.str.fullmatch(self.pattern)].iloc[0]
        moment = self.moments(texts[texts == example].head(1)).iloc[0]
        said = [Said("took.unsure" if self.unsure else "took.date", text=example, date=moment.date())]
        if texts.str.fullmatch(self.pattern.pattern.replace(_OFFSET, r"(?:Z|[+-]\d{2}:?\d{2})")).any():
            said.append(Said("took.zone", zone=ZONE))
        return said

    @staticmethod
    def _since_1970(texts: pd.Series) -> pd.Series:
        counted = pd.to_numeric(texts.where(texts.str.fullmatch(EPOCH)), errors="coerce")
        seconds = counted.where(counted < 1e11, counted / 1000)
        moments = pd.to_datetime(seconds, unit="s", utc=True, errors="coerce")
        return moments.dt.tz_convert(ZONE).dt.tz_localize(None)

    @staticmethod
    def _in_zone(moments: pd.Series, offsets: pd.Series) -> pd.Series:
        """Times that name their distance from UTC, as clock time in `ZONE`."""
        named = offsets.notna() & moments.notna()
        if not named.any():
            return moments
        digits = offsets[named].replace("Z", "+0000").str.replace(":", "")
        minutes = digits.str[1:3].astype(int) * 60 + digits.str[3:5].astype(int)
        minutes = minutes.where(digits.str[0] == "+", -minutes)
        utc = moments[named] - pd.to_timedelta(minutes, unit="min")
        local = utc.dt.tz_localize("UTC").dt.tz_convert(ZONE).dt.tz_localize(None)
        return local.reindex(moments.index).where(named, moments)


@dataclass(frozen=True)
class Numbers:
    """One rule for the numbers of a column.

    Args:
        decimal: "," or ".".
        plain: whether no cell has a separator, so that the rule does not matter.
        unsure: whether the separator could as well stand between thousands.
    """

    decimal: str
    plain: bool = False
    unsure: bool = False

    @classmethod
    def of(cls, texts: pd.Series, decimal: str | None = None) -> Numbers:
        """The rule that fits most cells that hold something."""
        separated = texts[texts.str.contains("[.,]", regex=True)]
        if separated.empty:
            return cls(decimal or ".", plain=True)
        points, commas = (_fits(separated, rule).sum() for rule in (_POINT, _COMMA))
        unsure = bool(separated.str.fullmatch(_MAYBE_THOUSANDS).all()) and points == commas
        if unsure:
            seen = "," if "," in separated.iloc[0] else "."
            return cls(decimal or seen, unsure=True)
        return cls("," if commas > points else ".")

    def values(self, texts: pd.Series) -> pd.Series:
        """Numbers; missing where a cell is none, or not finite."""
        rule, thousands = (_COMMA, r"[. \u00a0]") if self.decimal == "," else (_POINT, ",")
        plain = texts.where(_fits(texts, rule)).str.replace(thousands, "", regex=True)
        numbers = pd.to_numeric(plain.str.replace(",", "."), errors="coerce")
        return numbers.where(numbers.abs() < 1e300)

    def took(self) -> list[Said]:
        """What was taken; nothing where it does not matter."""
        if self.plain:
            return []
        return [Said(f"took.{'unsure_' if self.unsure else ''}decimal_{'comma' if self.decimal == ',' else 'point'}")]


def _fits(texts: pd.Series, rule: re.Pattern[str]) -> pd.Series:
    return texts.str.fullmatch(rule) & texts.str.contains(r"\d", regex=True)


def absent(texts: pd.Series) -> pd.Series:
    """Where a cell says that there is no value."""
    return texts.str.lower().isin(_ABSENT)


def dates(headers: Sequence[str], sample: list[list[str]]) -> dict[str, Dates]:
    """The columns that hold times, those that are times beyond doubt first."""
    sure: dict[str, Dates] = {}
    maybe: dict[str, Dates] = {}
    for header, texts in _filled(headers, sample):
        for pattern, found in ((YEAR_FIRST, sure), (YEAR_LAST, sure), (COMPACT, maybe), (EPOCH, maybe)):
            if texts.str.fullmatch(pattern).mean() >= _MOSTLY and header not in {**sure, **maybe}:
                clocked = pattern is not EPOCH and texts.str.extract(pattern)["hour"].notna().any()
                found[header] = Dates(pattern, days_only=pattern is not EPOCH and not clocked)
    return sure or maybe


def clock(headers: Sequence[str], sample: list[list[str]]) -> str | None:
    """The column that holds a clock time alone, if there is one."""
    return next((header for header, texts in _filled(headers, sample) if _clocked(texts)), None)


def numbers(headers: Sequence[str], sample: list[list[str]]) -> list[str]:
    """The columns that hold numbers."""
    return [header for header, texts in _filled(headers, sample) if texts.str.fullmatch(NUMBER).mean() >= _MOSTLY]


def _clocked(texts: pd.Series) -> bool:
    return bool(texts.str.fullmatch(_CLOCK_ALONE).mean() >= _MOSTLY)


def _filled(headers: Sequence[str], sample: list[list[str]]) -> list[tuple[str, pd.Series]]:
    """Each column's cells that hold something, without columns that hold nothing."""
    frame = pd.DataFrame(sample, columns=list(headers), dtype="str")
    cells = [(header, frame[header].str.strip()) for header in headers]
    return [(header, texts[~absent(texts)]) for header, texts in cells if not absent(texts).all()]
