"""Why there is no answer: each refusal has a code for programs and a sentence for people."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from base.errors import LeerlabError
from base.i18n import translate
from base.messages import Message


class Refused(LeerlabError):
    """A question that gets no answer.

    Args:
        status: of HTTP.
        code: for programs, as decision 3 names them: `off`, `budget`, `busy`, `starting`, `unreachable`, or our own.
        params: what the sentence `assistant.<code>` names; may name another sentence with `sentence`.
        again: seconds after which asking again makes sense.
    """

    def __init__(
        self, status: HTTPStatus, code: str, params: Mapping[str, str | int | float] | None = None, *,
        message: Message | None = None, again: float | None = None,
    ) -> None:  # fmt: skip
        self.status, self.code, self.again = status, code, again
        self.message = message or Message(f"assistant.refused.{code}", params or {})
        super().__init__(translate(self.message, "en"))

    def body(self, language: str) -> dict[str, object]:
        """As OpenAI's API says errors (https://platform.openai.com/docs/guides/error-codes)."""
        kind = "invalid_request_error" if self.status in _THE_CALLERS else "server_error"
        return {"error": {"code": self.code, "type": kind, "message": translate(self.message, language), "param": None}}


_THE_CALLERS = {
    HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS,
}  # fmt: skip


def wrong(reason: str) -> Refused:
    """A question that cannot be understood or is not allowed; the reason is English, for who writes the program."""
    return Refused(HTTPStatus.BAD_REQUEST, "question", {"reason": reason})


def unreachable() -> Refused:
    """The model, or what it takes to run it, does not answer."""
    return Refused(HTTPStatus.BAD_GATEWAY, "unreachable", again=30)
