"""What the grading service refuses or cannot do, each with its HTTP status and a stable code."""

from __future__ import annotations

from http import HTTPStatus

from base.errors import InputError, LeerlabError


class GradingError(LeerlabError):
    """Base of the errors that the service answers as JSON: `{"code", "what", "means", "do"}`."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    code = "grading.failed"


class NotIdentified(GradingError):
    """The caller sent no token, or the hub does not know it."""

    status = HTTPStatus.UNAUTHORIZED
    code = "grading.not_identified"


class NotAllowed(GradingError):
    """The caller is known and may not do this."""

    status = HTTPStatus.FORBIDDEN
    code = "grading.not_allowed"


class NotFound(GradingError):
    """No such assignment, submission, feedback or execution for this caller."""

    status = HTTPStatus.NOT_FOUND
    code = "grading.not_found"


class Conflict(GradingError):
    """What is asked for contradicts what is there, such as a second release without force."""

    status = HTTPStatus.CONFLICT
    code = "grading.conflict"


class TooLate(GradingError):
    """The deadline is over, and with it the time in which late work is taken in."""

    status = HTTPStatus.CONFLICT
    code = "grading.too_late"


class NoAttemptsLeft(GradingError):
    """The student has handed in as often as is allowed."""

    status = HTTPStatus.CONFLICT
    code = "grading.no_attempts"


class WrongTree(GradingError, InputError):
    """A tree of files or a name that is not what may be sent."""

    status = HTTPStatus.BAD_REQUEST
    code = "grading.wrong_tree"


class TooLarge(GradingError, InputError):
    """More bytes, files or submissions than are allowed."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "grading.too_large"


class DiskFull(GradingError):
    """The disk of the exchange is full; nothing was kept."""

    status = HTTPStatus.INSUFFICIENT_STORAGE
    code = "grading.disk_full"


class Unavailable(GradingError):
    """Something that the service needs does not answer; unknown is not dead, so the caller may try again."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "grading.unavailable"
