"""The class overview: how far everybody is, how the marks are spread, how hard each task was, who falls behind."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from tornado import web

from leerlab_lab.classbook.listing import view
from leerlab_lab.classbook.reading import read_marks
from leerlab_lab.classbook.records import Part
from leerlab_lab.classbook.standing import Place, Standing, counted
from leerlab_lab.classbook.statistics import ENOUGH, Difficulty, Spread, difficulties
from leerlab_lab.classbook.task_names import named
from leerlab_lab.classbook.view import ClassView
from leerlab_lab.formgrader.course_pages import CoursePage
from leerlab_lab.formgrader.plot import histogram

MOST_NAMED = 50
"""People that one page names; all of them stand in the export."""


@dataclass(frozen=True)
class Row:
    """One assignment in the table of the course.

    Args:
        due: everybody's deadline, in UTC without saying so.
        counts: students by standing.
        late: how many handed in after their deadline.
    """

    part: Part
    due: datetime | None
    counts: dict[Standing, int]
    late: int
    spread: Spread | None


class OverviewPage(CoursePage):
    """The whole course."""

    place = "overview"

    @web.authenticated
    async def get(self) -> None:
        """The page."""
        seen = await view(self.gradebook.engine, self.surroundings.id)
        rows, missed = [], defaultdict(list)
        for part in seen.parts:
            places = seen.places(part)
            for student in seen.behind(part, places):
                missed[student].append(part.name)
            late = sum(one.late for one in places)
            rows.append(Row(part, seen.due(part), counted(places), late, seen.spread_of(part)))
        worst = sorted(missed, key=lambda student: (-len(missed[student]), student))
        shown = worst[:MOST_NAMED]
        names = await self._called(seen, shown)
        shown.sort(key=lambda student: (-len(missed[student]), names[student].casefold()))
        overall = seen.spread_of_all()
        self.show(
            "overview.html",
            rows=rows,
            students=len(seen.students),
            complete=seen.listed.complete,
            standings=list(Standing),
            overall=overall,
            plot=histogram(overall) if overall else None,
            missed={student: missed[student] for student in shown},
            unnamed=len(worst) - len(shown),
            names=names,
        )

    async def _called(self, seen: ClassView, students: list[str]) -> dict[str, str]:
        told = {"first_name": None, "last_name": None}
        return await self.people([dict(seen.book.students.get(one) or {"id": one, **told}) for one in students])


class AssignmentOverviewPage(OverviewPage):
    """One assignment."""

    @web.authenticated
    async def get(self, assignment: str) -> None:
        """The page."""
        engine = self.gradebook.engine
        seen = await view(engine, self.surroundings.id, assignment)
        part = seen.book.part(assignment)
        if part is None:
            raise web.HTTPError(404)
        marks, everybody = await asyncio.to_thread(read_marks, engine, [assignment]), set(seen.students)
        tasks = named(self.coursedir, part, self.words.language)
        final = [
            {task: mark.points for task, mark in of_one.items() if not mark.waits}
            for (_, student), of_one in marks.items()
            if student in everybody
        ]
        hard: dict[str, Difficulty] = difficulties({task.id: task.most for task, _ in tasks}, final)
        places: list[Place] = seen.places(part)
        behind = seen.behind(part, places)
        names = await self._called(seen, behind[:MOST_NAMED])
        told = seen.spread_of(part)
        counts = counted(places)
        self.show(
            "overview_of_one.html",
            due=seen.due(part),
            assignment=assignment,
            complete=seen.listed.complete,
            standings=list(Standing),
            counts=counts,
            most=max(1, *counts.values()),
            students=len(places),
            late=sum(one.late for one in places),
            again=sum(one.again for one in places),
            overall=told,
            plot=histogram(told) if told else None,
            tasks=[(task, title, hard[task.id]) for task, title in tasks],
            enough=ENOUGH,
            behind=sorted((names[one] for one in behind[:MOST_NAMED]), key=str.casefold),
            unnamed=max(0, len(behind) - MOST_NAMED),
        )
