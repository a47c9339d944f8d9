"""Exported marks, read back as a teacher's programs read them."""

from __future__ import annotations

import csv
import json
import subprocess
from datetime import datetime
from io import BytesIO, StringIO
from typing import Any

import httpx
import openpyxl
import pytest
from class_scene import FORMULA, class_at_work
from grading_site import Site
from openpyxl.worksheet.worksheet import Worksheet

from base.paths import Installation

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def exported(page: httpx.Client, form: str, table: str = "", language: str = "nl") -> httpx.Response:
    answer = page.get(
        "formgrader/export/file", params={"as": form, "table": table}, headers={"Accept-Language": language}
    )
    assert answer.status_code == 200, answer.text
    assert "attachment" in answer.headers["Content-Disposition"] and answer.headers["Cache-Control"] == "no-store"
    return answer


def rows_of(sheet: Worksheet) -> dict[str, dict[str, Any]]:
    """Each row's values by the column's title, by pseudonym."""
    titles, *rows = sheet.iter_rows(values_only=True)
    found = [dict(zip(titles, row, strict=True)) for row in rows]
    return {str(row["Naam in het cijferbestand"]): row for row in found}


def test_marks_are_exported_as_a_workbook_for_dutch_excel_and_for_programs(released_site: Site) -> None:
    with class_at_work(released_site) as page:
        answer = exported(page, "xlsx")
        assert answer.headers["Content-Type"].endswith("spreadsheetml.sheet")
        book = openpyxl.load_workbook(BytesIO(answer.content))
        assert book.sheetnames == ["Totalen", "Kwadraten maken"]
        totals, week = book["Totalen"], book["Kwadraten maken"]
        assert totals.freeze_panes == week.freeze_panes == "C2"
        assert week.auto_filter.ref == f"A1:{week.cell(6, week.max_column).coordinate}"

        by_name = rows_of(week)
        # By name, those without one known under their pseudonym.
        assert list(by_name) == ["cato", "anna", "bram", "daan", "emma"]
        anna, bram, cato, daan = (by_name[one] for one in ("anna", "bram", "cato", "daan"))
        assert anna["Naam"] == "Anna de Vries" and by_name["emma"]["Naam"] == "emma"
        first, second = "Kwadraten (test-1), hoogstens 1", "Kwadraten (test-2), hoogstens 2"
        assert (bram[first], bram[second]) == (0, 1.5)
        assert (bram["Punten voor de aftrek"], bram["Aftrek voor te laat"], bram["Punten"]) == (1.5, 0.25, 1.25)
        assert (bram["Te laat"], bram["Met de hand nagekeken"]) == ("ja", "test-2")
        assert (anna["Te laat"], anna["Met de hand nagekeken"], anna["Deel van de punten"]) == ("nee", None, 1)
        # What waits for a mark is empty, not nought; so is what was never handed in.
        assert (cato[first], cato[second], cato["Stand"]) == (1, None, "Met de hand nakijken nodig")
        assert (daan[first], daan["Punten"], daan["Stand"], daan["Ingeleverd (tijd in Europe/Amsterdam)"]) == (
            None, None, "Niet ingeleverd", None,
        )  # fmt: skip
        assert isinstance(anna["Ingeleverd (tijd in Europe/Amsterdam)"], datetime)

        cells = {str(cell.value): cell for cell in week[1]}
        letter = {title: cell.column_letter for title, cell in cells.items()}
        at_bram = 2 + list(by_name).index("bram")
        by_hand, by_test = week[f"{letter[second]}{at_bram}"], week[f"{letter[first]}{at_bram}"]
        assert by_hand.data_type == by_test.data_type == "n"
        assert by_hand.font.b and by_hand.font.i and by_hand.fill.fill_type and not by_test.font.b
        assert "met de hand" in week["A1"].comment.text
        assert week[f"{letter['Deel van de punten']}{at_bram}"].number_format == "0%"
        assert week[f"{letter['Ingeleverd (tijd in Europe/Amsterdam)']}{at_bram}"].is_date

        everybody = rows_of(totals)
        assert everybody["bram"]["Punten"] == 1.25 and everybody["bram"]["Te behalen punten"] == 3
        assert everybody["bram"]["Te laat: opdrachten"] == 1 and everybody["daan"]["Gemist: opdrachten"] == 1
        assert everybody["emma"]["Kwadraten maken"] is None and everybody["cato"]["Wacht op nakijken: opdrachten"] == 1

        excel = exported(page, "csv-excel", "week-1")
        assert "alpha-week-1-" in excel.headers["Content-Disposition"] and excel.content.startswith(b"\xef\xbb\xbf")
        read = list(csv.DictReader(StringIO(excel.content.decode("utf-8-sig")), delimiter=";"))
        (row,) = [row for row in read if row["Naam in het cijferbestand"] == "bram"]
        assert (row["Naam"], row["Punten"], row["Aftrek voor te laat"]) == ("Bram Öztürk", "1,25", "0,25")

        plain = exported(page, "csv", "week-1", language="en")
        found = {row["student"]: row for row in csv.DictReader(StringIO(plain.content.decode()))}
        assert (found["bram"]["points"], found["bram"]["state"], found["bram"]["late"]) == ("1.25", "marked", "1")
        assert (found["anna"]["state"], found["cato"]["state"], found["emma"]["state"]) == (
            "returned", "waits", "handed-in",
        )  # fmt: skip
        assert datetime.fromisoformat(found["bram"]["handed_in"]).utcoffset() is not None
        assert page.get("formgrader/export/file", params={"as": "pdf"}).status_code == 400
        assert page.get("formgrader/export/file", params={"as": "csv", "table": "week-9"}).status_code == 404

        # Who is called a formula is called so, and nothing more.
        name = totals["A2"]
        assert (name.value, name.data_type, name.quotePrefix) == (FORMULA, "s", True)
        assert all(cell.data_type != "f" for sheet in book for row in sheet.iter_rows() for cell in row)
        texts = [exported(page, form).content.decode("utf-8-sig") for form in ("csv", "csv-excel")]
        assert all("'=HYPERLINK" in text and not text.splitlines()[1].lstrip('"').startswith("=") for text in texts)


WORKBOOK = """
import sys
from zoneinfo import ZoneInfo
from xlsxwriter.worksheet import Worksheet
from leerlab_lab.classbook.tables import Column, Kind, Table
from leerlab_lab.classbook.workbook import as_workbook
texts, undefended = eval(sys.argv[1]), sys.argv[2] == "undefended"
if undefended:
    # As the library writes a value of which nothing is said.
    import xlsxwriter
    made = xlsxwriter.Workbook
    xlsxwriter.Workbook = lambda target, settings: made(target, {"in_memory": True})
    Worksheet.write_string = lambda sheet, row, column, text, look=None: sheet.write(row, column, text)
table = Table("=1+1", (Column("a", "=1+1", Kind.TEXT),), tuple((text,) for text in texts))
words = {"yes": "ja", "no": "nee", "note": ""}
sys.stdout.buffer.write(as_workbook([table, table], words, ZoneInfo("UTC")))
"""
FORMULAS = [FORMULA, "=1+1", "=cmd|' /C calc'!A0", "{=1+1}"]
OTHERS = ["+1+1", "-1+1", "@SUM(1+1)", "http://127.0.0.1/", "mailto:a@b", "internal:A1", "1e5", "\x01=1\x00"]


def workbook(installation: Installation, texts: list[str], how: str) -> openpyxl.Workbook:
    done = subprocess.run(
        [str(installation.notebook_env / "bin/python"), "-c", WORKBOOK, repr(texts), how],
        env={"PYTHONPATH": str(installation.code / "images/notebook"), "PATH": "/usr/bin:/bin"},
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    return openpyxl.load_workbook(BytesIO(done.stdout))


@pytest.mark.attack
def test_no_text_in_a_workbook_is_a_formula_or_a_link(installation: Installation) -> None:
    texts = [*FORMULAS, *OTHERS]
    book = workbook(installation, texts, "defended")
    assert book.sheetnames == ["=1+1", "=1+1 (2)"]
    for sheet in book:
        cells = [row[0] for row in sheet.iter_rows()]
        assert [cell.data_type for cell in cells] == ["s"] * (len(texts) + 1)
        assert all(cell.hyperlink is None for cell in cells)
        assert [cell.value for cell in cells[1:-1]] == texts[:-1] and cells[-1].value == "=1"
        assert all(cell.quotePrefix for cell in cells[1:] if str(cell.value)[0] in "=+-@")
    # The control: the same texts with nothing said of what they are become formulas and links.
    control = workbook(installation, texts, "undefended").worksheets[0]
    formulas = {str(cell.value) for row in control.iter_rows() for cell in row if cell.data_type == "f"}
    assert "=1+1" in formulas and len(formulas) >= 3
    assert any(cell.hyperlink is not None for row in control.iter_rows() for cell in row)


def test_sheets_have_names_that_excel_takes(installation: Installation) -> None:
    names = ["History", "Week [1]: a/b?", "x" * 40, "X" * 40, "''", "Totalen", "totalen"]
    script = (
        "import json, sys; from leerlab_lab.classbook.workbook import sheet_names;"
        "print(json.dumps(sheet_names(json.loads(sys.argv[1]))))"
    )

    done = subprocess.run(
        [str(installation.notebook_env / "bin/python"), "-c", script, json.dumps(names)],
        env={"PYTHONPATH": str(installation.code / "images/notebook"), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == [
        "History (2)", "Week  1   a b", "x" * 31, "X" * 27 + " (2)", "-", "Totalen", "totalen (2)",
    ]  # fmt: skip
