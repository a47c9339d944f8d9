"""A class as it is now: who is in it and what they handed in, asked of the grading service, beside the gradebook."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine

from leerlab_lab.classbook import reading
from leerlab_lab.classbook.records import Deadline, Key
from leerlab_lab.classbook.standing import HandIn
from leerlab_lab.classbook.view import ClassList, ClassView
from leerlab_lab.service import Service, ServiceError

ANSWER_SECONDS = 10.0
log = logging.getLogger("leerlab.gradebook")


async def ask(course: str, assignment: str = "") -> ClassList:
    """Ask for all at once. A service that does not answer makes pages say so, it does not keep them away.

    Args:
        course: its id.
        assignment: only what was handed in for this one; empty for all.
    """
    return ClassList(
        *await asyncio.gather(_students(course), _given(course), _deadlines(course), _handed_in(course, assignment))
    )


async def _students(course: str) -> frozenset[str] | None:
    told = await _answer(f"/exchange/courses/{course}/students")
    return frozenset(told) if isinstance(told, dict) else None


async def _deadlines(course: str) -> dict[str, Deadline] | None:
    told = await _answer(f"/exchange/courses/{course}/terms")
    if not isinstance(told, dict):
        return None
    found = {}
    for name, one in told["assignments"].items():
        own = {student: _moment(extension["due"]) for student, extension in one["extensions"].items()}
        found[name] = Deadline(_moment(one["due"]), {student: due for student, due in own.items() if due is not None})
    return found


def _moment(text: str | None) -> datetime | None:
    """A time with its zone, as nbgrader keeps times: in UTC without saying so."""
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None) if text else None


async def _given(course: str) -> frozenset[str] | None:
    told = await _answer("/exchange/assignments", course=course)
    return frozenset(str(one["assignment"]) for one in told) if isinstance(told, list) else None


async def _handed_in(course: str, assignment: str) -> dict[Key, list[HandIn]] | None:
    told = await _answer(f"/people/{course}/handed-in", **({"assignment": assignment} if assignment else {}))
    if not isinstance(told, list):
        return None
    found: dict[Key, list[HandIn]] = defaultdict(list)
    for name, student, stamp, feedback in told:
        # "20261201T225900.000000Z", the submission's name, which is its time.
        when = datetime.fromisoformat(stamp).replace(tzinfo=None)
        found[str(name), str(student)].append(HandIn(when, bool(feedback)))
    return dict(found)


async def _answer(path: str, **query: str) -> Any:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await asyncio.to_thread(Service().ask, "GET", path, **query)
    except (ServiceError, TimeoutError) as error:
        log.warning("%s is not known now: %s", path, error or "no answer in time")
        return None


async def view(engine: Engine, course: str, assignment: str = "") -> ClassView:
    """Read gradebook and service side by side, without keeping other pages waiting.

    Args:
        engine: of nbgrader's `Gradebook`.
        course: its id.
        assignment: when only this one's hand-ins are wanted.
    """
    book, listed = await asyncio.gather(asyncio.to_thread(reading.read, engine), ask(course, assignment))
    return ClassView(book, listed, datetime.now(UTC).replace(tzinfo=None))
