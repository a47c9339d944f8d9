"""Bytes to rows of text: which encoding, which separator, which headers."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from .columns import DATE, NUMBER
from .said import CannotRead, Said

if TYPE_CHECKING:
    from _csv import Reader

MOST_COLUMNS = 200
LONGEST_CELL = 10_000
# In this order where a file could be read in more than one way: a comma may also be a decimal comma.
SEPARATORS = {";": "semicolon", "\t": "tab", ",": "comma", "|": "bar"}
_SNIFFED_ROWS = 200
_EVEN = 0.9
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_WORKBOOK = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


@dataclass(frozen=True)
class Table:
    """A file's text, and how it is divided.

    Args:
        text: the whole text.
        separator: one character.
        headers: a name for each column, each once.
        skipped: rows before the first row with values, the headers included.
        took: what was taken.
    """

    text: str
    separator: str
    headers: tuple[str, ...]
    skipped: int
    took: tuple[Said, ...]

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Each row with values, with the line in the file on which it ends."""
        reader = _reader(self.text, self.separator)
        try:
            for number, row in enumerate(reader):
                if number >= self.skipped and any(cell.strip() for cell in row):
                    yield reader.line_num, row
        except csv.Error as error:
            raise CannotRead("read.cell", line=reader.line_num) from error

    def sample(self, most: int) -> list[list[str]]:
        """The first rows, each as long as the headers."""
        width = len(self.headers)
        return [(row + [""] * width)[:width] for _, row in islice(self.rows(), most)]


def decode(data: bytes) -> tuple[str, Said]:
    """The text of a file's bytes, and which encoding was taken.

    Raises:
        CannotRead: this is no text.
    """
    if not data.strip():
        raise CannotRead("read.empty")
    if data.startswith(_WORKBOOK):
        raise CannotRead("read.workbook")
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            try:
                return data.decode(encoding), Said("took.encoding", encoding=encoding.removesuffix("-sig").upper())
            except UnicodeDecodeError as error:
                raise CannotRead("read.binary") from error
    if b"\x00" in data:
        raise CannotRead("read.binary")
    try:
        return data.decode("utf-8"), Said("took.encoding", encoding="UTF-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace"), Said("took.encoding", encoding="Windows-1252")


def split(text: str) -> Table:
    """How a text is divided into columns.

    Raises:
        CannotRead: it has one column, too many columns, or rows of different lengths.
    """
    separator, width = _separator(text)
    rows = list(islice(_reader(text, separator), _SNIFFED_ROWS))
    first = next(number for number, row in enumerate(rows) if len(row) == width)
    if width > MOST_COLUMNS:
        raise CannotRead("read.columns", columns=width, most=MOST_COLUMNS)
    took = [Said(f"took.{SEPARATORS[separator]}")]
    named = not any(_is_value(cell) for cell in rows[first])
    before = rows[first - 1] if first else []
    header_is_narrower = len(before) > 1 and not any(_is_value(cell) for cell in before)
    if separator == "," and (header_is_narrower or (not named and _halved(rows[first:], width))):
        raise CannotRead("read.comma_twice")
    if first:
        took.append(Said("took.before", rows=first))
    if not named:
        took.append(Said("took.no_headers"))
    headers = [cell.strip() for cell in rows[first]] if named else [""] * width
    return Table(text, separator, _names(headers), first + named, tuple(took))


def _reader(text: str, separator: str) -> Reader:
    csv.field_size_limit(LONGEST_CELL)
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator)


def _separator(text: str) -> tuple[str, int]:
    """The separator that divides nearly all of the first rows alike, and into how many cells."""
    uneven = False
    for separator in SEPARATORS:
        try:
            rows = [row for row in islice(_reader(text, separator), _SNIFFED_ROWS) if row]
        except csv.Error as error:
            raise CannotRead("read.cell", line=1) from error
        counts = Counter(map(len, rows))
        width, often = max(counts.items(), key=lambda pair: pair[1], default=(1, 0))
        if width > 1 and often >= _EVEN * len(rows):
            return separator, width
        uneven = uneven or width > 1 or len(counts) > 2
    raise CannotRead("read.uneven" if uneven else "read.one_column")


def _is_value(cell: str) -> bool:
    return bool(NUMBER.fullmatch(cell.strip()) or DATE.match(cell.strip()))


def _halved(rows: list[list[str]], width: int) -> bool:
    """Whether every row looks like a date and one number that a decimal comma cut in two."""
    return width == 3 and all(
        len(row) == 3 and row[1].strip().lstrip("-+").isdecimal() and row[2].strip().isdecimal() for row in rows if row
    )


def _names(headers: list[str]) -> tuple[str, ...]:
    """A name for each column: the header, a number where there is none, and each name once."""
    seen: Counter[str] = Counter()
    names = []
    for number, header in enumerate(headers, 1):
        name = " ".join(header.split())[:80] or f"#{number}"
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name} #{number}")
    return tuple(names)
