"""Export of marks: a page to choose, and the file."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from enum import StrEnum
from zoneinfo import ZoneInfo

from tornado import web

from leerlab_lab.classbook import csv_file, tables
from leerlab_lab.classbook.listing import view
from leerlab_lab.classbook.reading import read, read_marks
from leerlab_lab.classbook.records import Key, Mark, Part
from leerlab_lab.classbook.standing import Standing
from leerlab_lab.classbook.task_names import named
from leerlab_lab.classbook.view import ClassView
from leerlab_lab.classbook.workbook import as_workbook
from leerlab_lab.formgrader.course_pages import CoursePage
from leerlab_lab.formgrader.look import environment

TOTALS = ""
"""The table of totals, where an assignment could be named."""
_WORKBOOK = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class Form(StrEnum):
    """What a file can be."""

    WORKBOOK = "xlsx"
    EXCEL_CSV = "csv-excel"
    PLAIN_CSV = "csv"


class ExportPage(CoursePage):
    """What to export, and as what."""

    place = "overview"

    @web.authenticated
    async def get(self) -> None:
        """The page."""
        await self.choices()

    async def choices(self, failed: bool = False) -> None:
        """Draw the page.

        Args:
            failed: whether to say that no file could be made.
        """
        book = await asyncio.to_thread(read, self.gradebook.engine)
        names = [part.name for part in book.parts]
        self.show("export.html", assignments=names, forms=list(Form), failed=failed)


class ExportFile(ExportPage):
    """The file."""

    @web.authenticated
    async def get(self) -> None:
        """The file `?as=`, of `?table=` when it can hold only one; 503 and the page while not everything is known."""
        try:
            form = Form(self.get_query_argument("as", ""))
        except ValueError:
            raise web.HTTPError(400) from None
        engine = self.gradebook.engine
        seen = await view(engine, self.surroundings.id)
        wanted = self._wanted(seen, form)
        if not seen.listed.complete:
            # Half a class in a file that looks whole would be taken for the class.
            self.set_status(503)
            await self.choices(failed=True)
            return
        told = {"first_name": None, "last_name": None}
        known = await self.people([dict(seen.book.students.get(one) or {"id": one, **told}) for one in seen.students])
        names = dict(sorted(known.items(), key=lambda item: (item[1].casefold(), item[0])))
        marks = await asyncio.to_thread(read_marks, engine, [part.name for part in wanted if part is not None])
        made = self._tables(seen, wanted, marks, names, form)
        content = await asyncio.to_thread(self._file, made, form)
        self.set_header("Content-Type", _WORKBOOK if form is Form.WORKBOOK else "text/csv; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="{self._file_name(seen, wanted, form)}"')
        self.set_header("Cache-Control", "no-store")
        self.finish(content)

    def _wanted(self, seen: ClassView, form: Form) -> Sequence[Part | None]:
        """The tables: None is that of totals.

        Raises:
            web.HTTPError: 404, there is no such assignment.
        """
        if form is Form.WORKBOOK:
            return [None, *seen.parts]
        name = self.get_query_argument("table", TOTALS)
        if name == TOTALS:
            return [None]
        part = seen.book.part(name)
        if part is None:
            raise web.HTTPError(404)
        return [part]

    def _tables(
        self, seen: ClassView, wanted: Sequence[Part | None], marks: dict[Key, dict[str, Mark]], names: dict[str, str],
        form: Form,
    ) -> list[tables.Table]:  # fmt: skip
        words, language = self._words(), self.words.language

        def standing(one: Standing) -> str:
            return one.value if form is Form.PLAIN_CSV else words[f"standing-{one.value}"]

        titles = tables.Titles(words, self.assignment_title, standing)
        return [
            tables.totals(seen, names, titles)
            if part is None
            else tables.of_assignment(
                seen, part, named(self.coursedir, part, language), marks=marks, names=names, titles=titles
            )
            for part in wanted
        ]

    def _file(self, made: list[tables.Table], form: Form) -> bytes:
        zone: ZoneInfo = self.words.zone
        if form is Form.WORKBOOK:
            return as_workbook(made, self._words(), zone)
        dialect = csv_file.EXCEL if form is Form.EXCEL_CSV else csv_file.PLAIN
        return csv_file.as_csv(made[0], dialect, zone)

    def _words(self) -> dict[str, str]:
        page = environment(self.words.language).get_template("columns.html")
        found: dict[str, str] = json.loads(page.render(time_zone=self.surroundings.time_zone))
        return found

    def _file_name(self, seen: ClassView, wanted: Sequence[Part | None], form: Form) -> str:
        day = self.words.day(seen.now)
        part = wanted[0].name if form is not Form.WORKBOOK and wanted[0] is not None else ""
        name = "-".join(filter(None, (self.surroundings.id, part, day)))
        return re.sub(r"[^A-Za-z0-9._-]", "-", name) + (".xlsx" if form is Form.WORKBOOK else ".csv")
