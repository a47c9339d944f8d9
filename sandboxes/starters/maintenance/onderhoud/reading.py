"""Reads a CSV with one measurement over time, and says what it took every part of the file for.

Nothing is guessed in silence: each choice is in `Measurements.took`, what could be read in two ways is marked, and
`Options` decides otherwise. A file that cannot be read raises `CannotRead` with a sentence for a person.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from . import columns, table
from .columns import Dates, Numbers
from .said import CannotRead, Said
from .table import Table

LARGEST_FILE = 50 * 2**20
MOST_ROWS = 1_000_000
FEWEST_ROWS = 24
SAMPLE_ROWS = 1000
MOST_UNREADABLE = 0.2


@dataclass(frozen=True)
class Options:
    """What a person decided about a file; None leaves it to the reader.

    Args:
        time: header of the column with times.
        value: header of the column with the measurement.
        day_first: whether 03-04-2026 is 3 April.
        decimal: "," or ".".
    """

    time: str | None = None
    value: str | None = None
    day_first: bool | None = None
    decimal: str | None = None


@dataclass(frozen=True)
class Measurements:
    """One measurement over time.

    Args:
        series: values in order of time; the index is clock time without a zone, each time once, no missing values.
        name: header of the column, as it stands in the file: somebody else's text, so escape it.
        source: name of the file.
        sha256: digest of the file.
        took: what the reader took and did, in order.
        times: headers of columns that could be the times.
        values: headers of columns that could be the measurement.
        order_unsure: whether day and month could change places.
        decimal_unsure: whether the separator could mean thousands.
    """

    series: pd.Series
    name: str
    source: str
    sha256: str
    took: tuple[Said, ...]
    times: tuple[str, ...]
    values: tuple[str, ...]
    order_unsure: bool = False
    decimal_unsure: bool = False


def read(path: Path, options: Options | None = None) -> Measurements:
    """Read a file.

    Args:
        path: a CSV of at most `LARGEST_FILE` bytes and `MOST_ROWS` rows.
        options: what the person decided.

    Raises:
        CannotRead: the file is no such file; says what is wrong and what to do.
    """
    options = options or Options()
    data = _content(path)
    text, encoding = table.decode(data)
    found = table.split(text)
    sample = found.sample(SAMPLE_ROWS)
    if len(sample) < FEWEST_ROWS:
        raise CannotRead("read.few", rows=len(sample), least=FEWEST_ROWS)
    dates, numbers = columns.dates(found.headers, sample), columns.numbers(found.headers, sample)
    time = _choose(options.time, list(dates), found.headers, "read.no_time")
    clock = columns.clock(found.headers, sample) if dates[time].days_only else None
    values = [header for header in numbers if header not in (*dates, clock)]
    value = _choose(options.value, values, found.headers, "read.no_value")
    took = [encoding, *found.took, Said("took.columns", time=time, value=value)]
    if clock:
        took.append(Said("took.clock", column=clock))
    if len(values) > 1:
        took.append(Said("took.others", others=", ".join(header for header in values if header != value)[:200]))
    rows = _rows(found, [time, value, *([clock] if clock else [])])
    moments, order = _moments(rows, time, clock, options.day_first, took)
    measured, decimal = _numbers(rows[value], options.decimal, took)
    series = _series(moments, measured, took)
    return Measurements(
        series, value, path.name, hashlib.sha256(data).hexdigest(), tuple(took), tuple(dates), tuple(values),
        order, decimal,
    )  # fmt: skip


def _content(path: Path) -> bytes:
    """The bytes of an ordinary file; a pipe or a device is not waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise CannotRead("read.absent", file=path.name) from error
    except (OSError, ValueError) as error:
        raise CannotRead("read.closed", file=path.name) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise CannotRead("read.no_file", file=path.name)
        if status.st_size > LARGEST_FILE:
            raise CannotRead("read.large", megabytes=status.st_size // 2**20, most=LARGEST_FILE // 2**20)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(LARGEST_FILE + 1)
    finally:
        os.close(descriptor)
    if len(data) > LARGEST_FILE:
        raise CannotRead("read.large", megabytes=len(data) // 2**20, most=LARGEST_FILE // 2**20)
    return data


def _choose(wanted: str | None, possible: list[str], headers: tuple[str, ...], absent: str) -> str:
    if wanted in possible:
        return str(wanted)
    if not possible:
        raise CannotRead(absent, columns=", ".join(headers)[:200])
    return possible[0]


def _rows(found: Table, headers: list[str]) -> pd.DataFrame:
    """The chosen columns of all rows, as text; the index is the line in the file."""
    places = [found.headers.index(header) for header in headers]
    lines: list[int] = []
    cells: list[list[str]] = []
    for line, row in found.rows():
        if len(lines) == MOST_ROWS:
            raise CannotRead("read.rows", most=MOST_ROWS)
        lines.append(line)
        cells.append([row[place].strip() if place < len(row) else "" for place in places])
    return pd.DataFrame(cells, index=lines, columns=headers, dtype="str")


def _moments(
    rows: pd.DataFrame, time: str, clock: str | None, day_first: bool | None, took: list[Said]
) -> tuple[pd.Series, bool]:
    texts = rows[time] if clock is None else (rows[time] + " " + rows[clock]).str.strip()
    read_as = Dates.of(texts, day_first)
    moments = read_as.moments(texts)
    wrong = moments.isna()
    if wrong.mean() > MOST_UNREADABLE:
        example = texts[wrong]
        raise CannotRead("read.times", line=int(example.index[0]), text=str(example.iloc[0])[:40])
    took.extend(read_as.took(texts))
    if wrong.any():
        first = texts[wrong]
        took.append(Said("took.no_time", rows=int(wrong.sum()), line=int(first.index[0]), text=str(first.iloc[0])[:40]))
    return moments, read_as.unsure


def _numbers(texts: pd.Series, decimal: str | None, took: list[Said]) -> tuple[pd.Series, bool]:
    absent = columns.absent(texts)
    read_as = Numbers.of(texts[~absent], decimal)
    measured = read_as.values(texts)
    wrong = measured.isna() & ~absent
    if wrong.sum() > MOST_UNREADABLE * max(1, (~absent).sum()):
        example = texts[wrong]
        raise CannotRead("read.values", line=int(example.index[0]), text=str(example.iloc[0])[:40])
    took.extend(read_as.took())
    if absent.any():
        took.append(Said("took.missing", rows=int(absent.sum())))
    if wrong.any():
        first = texts[wrong]
        took.append(
            Said("took.no_number", rows=int(wrong.sum()), line=int(first.index[0]), text=str(first.iloc[0])[:40])
        )
    return measured, read_as.unsure


def _series(moments: pd.Series, measured: pd.Series, took: list[Said]) -> pd.Series:
    """Values in order of time, each time once."""
    whole = moments.notna() & measured.notna()
    series = pd.Series(measured[whole].to_numpy(), index=pd.DatetimeIndex(moments[whole]), dtype="float64")
    if not series.index.is_monotonic_increasing:
        took.append(Said("took.sorted"))
        series = series.sort_index(kind="stable")
    if repeated := int(series.index.duplicated().sum()):
        took.append(Said("took.repeated", rows=repeated))
        series = series.groupby(level=0).mean()
    if len(series) < FEWEST_ROWS:
        raise CannotRead("read.few", rows=len(series), least=FEWEST_ROWS)
    steps = series.index.to_series().diff().dropna()
    if holes := int((steps > 3 * steps.median()).sum()):
        took.append(Said("took.holes", holes=holes, hours=round(steps.max().total_seconds() / 3600)))
    took.append(Said("took.rows", rows=len(series), first=series.index[0].date(), last=series.index[-1].date()))
    return series
