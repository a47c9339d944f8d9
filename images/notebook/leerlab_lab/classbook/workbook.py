"""Tables as a workbook, with typed cells. Text is never anything but text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from zoneinfo import ZoneInfo

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from leerlab_lab.classbook.csv_file import FORMULA, clean, local
from leerlab_lab.classbook.tables import ByHand, Cell, Kind, Table

_LONGEST_SHEET = 31
_FORBIDDEN = re.compile(r"[\[\]:*?/\\]")
_RESERVED = {"history"}
_WIDEST = 42


def as_workbook(tables: Sequence[Table], words: Mapping[str, str], zone: ZoneInfo) -> bytes:
    """All tables as one workbook: numbers and moments are typed, headers stay in sight, marks by hand stand out.

    Args:
        tables: a sheet each.
        words: `yes`, `no` and `note` (what is said about marks by hand) in the reader's language.
        zone: whose clock moments are shown on; a workbook knows no time zones.
    """
    written = BytesIO()
    settings = {
        "in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False,
        "nan_inf_to_errors": False,
    }  # fmt: skip
    book = xlsxwriter.Workbook(written, settings)
    looks = _Looks(
        head=book.add_format({"bold": True, "text_wrap": True, "valign": "top", "bottom": 1}),
        text=book.add_format({"quote_prefix": True}),
        points=book.add_format({"num_format": "0.##"}),
        by_hand=book.add_format({"num_format": "0.##", "bold": True, "italic": True, "bg_color": "#FDF1DA"}),
        count=book.add_format({"num_format": "0"}),
        share=book.add_format({"num_format": "0%"}),
        moment=book.add_format({"num_format": "yyyy-mm-dd hh:mm"}),
    )
    for table, name in zip(tables, sheet_names([table.name for table in tables]), strict=True):
        _write_sheet(book.add_worksheet(name), table, looks, words, zone)
    book.close()
    return written.getvalue()


def sheet_names(wanted: Sequence[str]) -> list[str]:
    """Names that a workbook takes: short, without forbidden letters, each different (Excel does not heed case)."""
    found: list[str] = []
    taken = set(_RESERVED)
    for one in wanted:
        base = _FORBIDDEN.sub(" ", clean(one)).strip("' ") or "-"
        name, number = base[:_LONGEST_SHEET].strip("' "), 2
        while name.casefold() in taken:
            ending = f" ({number})"
            name, number = base[: _LONGEST_SHEET - len(ending)] + ending, number + 1
        taken.add(name.casefold())
        found.append(name)
    return found


@dataclass(frozen=True)
class _Looks:
    head: Format
    text: Format
    points: Format
    by_hand: Format
    count: Format
    share: Format
    moment: Format


def _write_sheet(sheet: Worksheet, table: Table, looks: _Looks, words: Mapping[str, str], zone: ZoneInfo) -> None:
    for place, column in enumerate(table.columns):
        sheet.write_string(0, place, clean(column.title), looks.head)
        longest = max([len(cell) for row in table.rows if isinstance(cell := row[place], str)], default=0)
        width = {Kind.TEXT: longest + 2, Kind.MOMENT: 17}.get(column.kind, 0)
        sheet.set_column(place, place, min(_WIDEST, max(11, width)))
    for number, row in enumerate(table.rows, start=1):
        for place, (cell, column) in enumerate(zip(row, table.columns, strict=True)):
            _write_cell(sheet, (number, place), cell, column.kind, looks=looks, words=words, zone=zone)
    # Header, name and pseudonym stay in sight.
    sheet.freeze_panes(1, 2)
    if table.rows:
        sheet.autofilter(0, 0, len(table.rows), len(table.columns) - 1)
    if any(isinstance(cell, ByHand) for row in table.rows for cell in row):
        sheet.write_comment(0, 0, words["note"], {"x_scale": 1.6})


def _write_cell(
    sheet: Worksheet, at: tuple[int, int], cell: Cell, kind: Kind, *, looks: _Looks, words: Mapping[str, str],
    zone: ZoneInfo,
) -> None:  # fmt: skip
    row, place = at
    if cell is None or cell == "":
        return
    if isinstance(cell, ByHand):
        sheet.write_number(row, place, cell.points, looks.by_hand)
    elif isinstance(cell, bool):
        sheet.write_string(row, place, words["yes"] if cell else words["no"])
    elif isinstance(cell, datetime):
        sheet.write_datetime(row, place, local(cell, zone).replace(tzinfo=None), looks.moment)
    elif isinstance(cell, str):
        text = clean(cell)
        # Never anything but text; the mark keeps it so when somebody edits the cell.
        sheet.write_string(row, place, text, looks.text if FORMULA.match(text) else None)
    else:
        look = {Kind.SHARE: looks.share, Kind.COUNT: looks.count}.get(kind, looks.points)
        sheet.write_number(row, place, cell, look)
