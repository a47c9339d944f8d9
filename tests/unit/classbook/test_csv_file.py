"""Tables as CSV: what a spreadsheet and a program read of them, and that nobody's name becomes a formula."""

from __future__ import annotations

import csv
import sys
from datetime import datetime
from io import StringIO
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

# What runs in a course's server is a distribution of its own.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "images/notebook"))

from leerlab_lab.classbook.csv_file import EXCEL, PLAIN, Dialect, as_csv, clean, harmless
from leerlab_lab.classbook.tables import ByHand, Cell, Column, Kind, Table

ZONE = ZoneInfo("Europe/Amsterdam")
COLUMNS = (
    Column("name", "Naam", Kind.TEXT), Column("points", "Punten", Kind.POINTS),
    Column("when", "Ingeleverd", Kind.MOMENT), Column("late", "Te laat", Kind.YES), Column("share", "Deel", Kind.SHARE),
)  # fmt: skip
BEGINS = "=+-@＝＋－＠"


def table(*rows: tuple[Cell, ...]) -> Table:
    return Table("Totalen", COLUMNS, rows)


def cells(content: bytes, dialect: Dialect, separator: str = "") -> list[list[str]]:
    text = content.decode("utf-8-sig" if dialect.mark else "utf-8")
    return list(csv.reader(StringIO(text), delimiter=separator or dialect.separator))


ROW = ("Zoë; de Vries", ByHand(0.1 + 0.2), datetime.fromisoformat("2026-12-01 22:59:30"), True, 0.725)


def test_dutch_excel_gets_semicolons_decimal_commas_its_own_clock_and_a_mark_for_utf_8() -> None:
    content = as_csv(table(ROW, ("Bram", None, None, None, None)), EXCEL, ZONE)
    assert content.startswith(b"\xef\xbb\xbf") and content.endswith(b"\r\n")
    assert cells(content, EXCEL) == [
        ["Naam", "Punten", "Ingeleverd", "Te laat", "Deel"],
        ["Zoë; de Vries", "0,3", "2026-12-01 23:59", "1", "0,725"],
        ["Bram", "", "", "", ""],
    ]


def test_a_program_gets_commas_decimal_points_utc_and_names_of_columns_of_its_own() -> None:
    content = as_csv(table(ROW, ("Bram", 1000000.0, None, False, 0.0)), PLAIN, ZONE)
    assert not content.startswith(b"\xef\xbb\xbf")
    assert cells(content, PLAIN) == [
        ["name", "points", "when", "late", "share"],
        ["Zoë; de Vries", "0.3", "2026-12-01T22:59:30Z", "1", "0.725"],
        ["Bram", "1000000", "", "0", "0"],
    ]


PAYLOADS = [
    '=HYPERLINK("http://127.0.0.1/?x="&A2,"klik")', "+1+cmd|' /C calc'!A0", "-1+1", "@SUM(1+1)", "\t=1+1", "\r=1+1",
    "\n=1+1", "  =1+1", '"=1+1', "＝1+1", "'=1+1", "Jan;=1+1", 'Jan";"=1+1', "Jan,=1+1", "Jan|=1+1", "Jan;\t@SUM(1)",
]  # fmt: skip


def begins_formula(content: bytes, dialect: Dialect) -> bool:
    """Whether a spreadsheet finds a cell that begins like a formula, with whichever separator it is set to."""
    mark = "utf-8-sig" if dialect.mark else "utf-8"
    found = [cell for separator in ";,|\t" for row in cells(content, dialect, separator) for cell in row]
    # Set to another separator it does not heed quotes that stand within a cell either.
    for line in content.decode(mark).splitlines():
        for separator in ";,|\t":
            found += line.split(separator)
    return any(cell.lstrip(" \t\"'")[:1] in set(BEGINS) and "'" not in cell[: len(cell) - len(cell.lstrip(" \t\"'"))]
               for cell in found)  # fmt: skip


@pytest.mark.attack
@pytest.mark.parametrize("dialect", [EXCEL, PLAIN])
@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_name_becomes_a_formula(payload: str, dialect: Dialect, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table((payload, 1.0, None, None, None))
    assert not begins_formula(as_csv(rows, dialect, ZONE), dialect)
    if payload == "'=1+1":
        return  # already text, as this test's control would find as well
    # The control: the same file without the one defence.
    monkeypatch.setattr("leerlab_lab.classbook.csv_file.harmless", lambda text: text)
    assert begins_formula(as_csv(rows, dialect, ZONE), dialect)


@given(st.text(max_size=30))
def test_a_text_stays_on_its_line_and_loses_nothing_that_can_be_shown(text: str) -> None:
    kept = clean(text)
    assert len(kept.splitlines()) <= 1 and "\0" not in kept
    assert harmless(text).replace("'", "") == kept.replace("'", "")
    assert not harmless(text)[:1] or harmless(text)[0] not in BEGINS


@pytest.mark.parametrize("name", ["Anne-Marie Jansen", "D'Angelo", "Jan (v.d. Berg)", "Ömer", "a + b", "李雷"])
def test_an_ordinary_name_stays_as_it_is(name: str) -> None:
    assert harmless(name) == name
