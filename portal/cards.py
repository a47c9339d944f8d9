"""What the pages show of a course: filled in by whoever knows courses and people, drawn by the templates."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from base.course_groups import CourseRole
from portal.work import Work


class Role(StrEnum):
    """What a person is in a course."""

    STUDENT = "student"
    TEACHER = "teacher"


class ServerState(StrEnum):
    """How far a server is: the person's own for a student, the course's formgrader for a teacher."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


@dataclass(frozen=True)
class CourseCard:
    """One course of one person.

    Args:
        id: the course's id.
        title: in the person's language.
        role: what the person is in this course; a person who is both gets two cards.
        summary: one or two sentences in the person's language on what to do.
        assignments: those that have been handed out, with how far this person is.
        next: what to do next; None when nothing was handed out.
        next_url: starts the person's server when needed and opens that assignment.
        feedback_url: opens the feedback on that assignment.
        open_url: starts the person's server when needed and opens the course in it.
        formgrader_url: teachers only: starts and opens the course's formgrader; empty for students.
        staff: teachers only: what they may do there.
        server_state: of the server behind this card's main button.
    """

    id: str
    title: str
    role: Role
    summary: str
    assignments: tuple[Work, ...]
    next: Work | None
    next_url: str
    feedback_url: str
    open_url: str
    formgrader_url: str = ""
    staff: CourseRole | None = None
    server_state: ServerState = ServerState.STOPPED
