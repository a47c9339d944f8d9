"""Tables as CSV, in two dialects. No text of anybody becomes a formula in a spreadsheet.

A spreadsheet reads a cell that begins with `=`, `+`, `-` or `@` as a formula, which can send what stands in the sheet
elsewhere (https://owasp.org/www-community/attacks/CSV_Injection). Names are written by people.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from zoneinfo import ZoneInfo

from leerlab_lab.classbook.tables import ByHand, Cell, Table

_STARTS = "=+\\-@＝＋－＠"
# Also after a separator of the other dialect: who opens the file with that one gets a cell that begins there.
FORMULA = re.compile(rf"(^|[;,|])([\s\"']*)(?=[{_STARTS}])")


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written.

    Args:
        separator: between values.
        decimal: in a number.
        mark: whether a byte order mark says that it is UTF-8, without which Excel guesses another encoding.
        titles: whether columns are named for people, else for programs.
    """

    separator: str
    decimal: str
    mark: bool
    titles: bool


# What Excel opens right on a machine with Dutch settings; with others its separator is another.
EXCEL = Dialect(";", ",", mark=True, titles=True)
# RFC 4180, for programs.
PLAIN = Dialect(",", ".", mark=False, titles=False)


def clean(text: str) -> str:
    """A text on one line, without what cannot be shown or written."""
    return "".join(" " if unicodedata.category(one) in {"Cc", "Cs", "Zl", "Zp"} else one for one in text).strip()


def harmless(text: str) -> str:
    """A text that no spreadsheet reads as a formula: an apostrophe stands before what begins like one.

    Args:
        text: of a cell.
    """
    return FORMULA.sub(r"\1\2'", clean(text))


def as_csv(table: Table, dialect: Dialect, zone: ZoneInfo) -> bytes:
    """One table as CSV.

    Args:
        table: what to write.
        dialect: how.
        zone: whose clock people read; programs get UTC, and it says so.
    """
    written = StringIO()
    writer = csv.writer(written, delimiter=dialect.separator, lineterminator="\r\n")
    writer.writerow([harmless(column.title if dialect.titles else column.key) for column in table.columns])
    for row in table.rows:
        writer.writerow([_text(cell, dialect, zone) for cell in row])
    return written.getvalue().encode("utf-8-sig" if dialect.mark else "utf-8")


def _text(cell: Cell, dialect: Dialect, zone: ZoneInfo) -> str:
    if cell is None:
        return ""
    if isinstance(cell, ByHand):
        cell = cell.points
    if isinstance(cell, bool):
        return str(int(cell))
    if isinstance(cell, str):
        return harmless(cell)
    if isinstance(cell, datetime):
        if dialect.titles:
            return local(cell, zone).strftime("%Y-%m-%d %H:%M")
        return cell.replace(tzinfo=UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"{round(cell, 6):.15g}".replace(".", dialect.decimal)


def local(moment: datetime, zone: ZoneInfo) -> datetime:
    """A time in UTC that does not say so, on somebody's clock."""
    return moment.replace(tzinfo=UTC).astimezone(zone)
