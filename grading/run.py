"""One class run from the course's start to its last mark, seen from outside the course's server."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from enum import StrEnum

from grading.course_server import LOOK_SECONDS, CourseServer, Stopped
from grading.run_records import Told

MOST_BEGINNINGS = 5
"""Of one run whose server ends again and again, or whose end is told to pages first."""


class Stage(StrEnum):
    """How far an assignment's run is."""

    IDLE = "idle"
    WAITING = "waiting"
    STARTING = "starting"
    COLLECTING = "collecting"
    GRADING = "grading"


@dataclass
class Wanted:
    """A run that goes on.

    Args:
        assignment: over what.
        stage: how far it is.
        told: what the course's server has told of it last.
        incomplete: why not everything could be collected; what could is graded.
        stop: set by who wants it to end.
        answers: the newest request of an operator that this stop is an answer to.
    """

    assignment: str
    stage: Stage = Stage.STARTING
    told: Told | None = None
    incomplete: str = ""
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    answers: int = 0


async def one_run(server: CourseServer, wanted: Wanted) -> None:
    """Start the server, collect, grade, and wait for the end; what came of it is in `wanted.told`.

    Raises:
        Away: the server could not be started, or went away, or could not do its part.
        Stopped: `wanted.stop` was set before grading began.
    """
    await server.ready(wanted.stop)
    assignment = wanted.assignment
    # A run that goes on began before what is collected now.
    earlier = await server.progress(assignment)
    if earlier is not None and earlier.running:
        await (_waited_for if earlier.again else _followed)(server, wanted, earlier)
    wanted.stage = Stage.COLLECTING
    wanted.incomplete = await server.collect(assignment)
    for _ in range(MOST_BEGINNINGS):
        if wanted.stop.is_set():
            raise Stopped("The run was stopped before it began.")
        wanted.stage = Stage.GRADING
        if await _followed(server, wanted, await server.begin(assignment)):
            return


async def _waited_for(server: CourseServer, wanted: Wanted, told: Told) -> bool:
    """Look until a teacher's run has ended, which is not the service's to stop."""
    seen: Told | None = told
    while seen is not None and seen.running:
        if wanted.stop.is_set():
            raise Stopped("The run was stopped before it began.")
        await _pause(wanted.stop, stopped=False)
        seen = await server.progress(wanted.assignment)
    return True


async def _followed(server: CourseServer, wanted: Wanted, told: Told) -> bool:
    """Look until a run has ended; False when its end was not seen, and what is left must be begun again."""
    asked_to_stop = False
    wanted.told = told
    while told.running:
        if wanted.stop.is_set() and not asked_to_stop:
            await server.cancel(wanted.assignment)
            asked_to_stop = True
        await _pause(wanted.stop, stopped=asked_to_stop)
        seen = await server.progress(wanted.assignment)
        if seen is None:
            # A page was shown its end, or the server was started anew.
            ended = asked_to_stop or told.cancelled
            wanted.told = told.model_copy(update={"running": False, "cancelled": ended})
            return ended
        wanted.told = told = seen
    return True


async def _pause(stop: asyncio.Event, *, stopped: bool) -> None:
    if stopped:
        await asyncio.sleep(LOOK_SECONDS)
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LOOK_SECONDS):
            await stop.wait()
