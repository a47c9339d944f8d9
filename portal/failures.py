"""What a page tells of a start that failed: the reason as a message, and the job's last lines apart from it."""

from __future__ import annotations

from dataclasses import dataclass

from base.messages import Message

# The parameter that holds a person's own log lines (spawners.failures.LAST_LINES): text, shown as text.
_LOG = "log"


@dataclass(frozen=True)
class Failure:
    """A failed start.

    Args:
        message: the reason; none when the error is not one of ours.
        log: the last lines the server wrote; empty when there are none.
    """

    message: Message | None
    log: str


def failure(error: object) -> Failure:
    """Read a failure from the exception that ended a start."""
    message = getattr(error, "code", None)
    if not isinstance(message, Message):
        return Failure(None, "")
    rest = {name: value for name, value in message.params.items() if name != _LOG}
    return Failure(Message(message.code, rest), str(message.params.get(_LOG, "")).strip())
