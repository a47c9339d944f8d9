"""What the gateway answers when there is no answer: OpenAI's form, with a sentence in the asker's language."""

from __future__ import annotations

from enum import StrEnum
from http import HTTPStatus
from typing import Any

from base.errors import LeerlabError
from base.i18n import translate
from base.messages import Message


class Code(StrEnum):
    """The kinds of refusal that a client can tell apart (decision 3); the first five are known in every lab."""

    OFF = "off"
    BUDGET = "budget"
    BUSY = "busy"
    STARTING = "starting"
    UNREACHABLE = "unreachable"
    BROKEN = "broken"
    MODEL = "model_not_found"
    WRONG = "invalid_request"
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"
    TWO_LENGTHS = "two_lengths"


# OpenAI's own `type` of an error, which its clients print.
_TYPES = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
    HTTPStatus.INTERNAL_SERVER_ERROR: "server_error",
    HTTPStatus.BAD_GATEWAY: "server_error",
    HTTPStatus.SERVICE_UNAVAILABLE: "server_error",
    HTTPStatus.GATEWAY_TIMEOUT: "server_error",
}


class Refusal(LeerlabError):
    """There is no answer, or no whole one.

    Args:
        status: of HTTP.
        code: what a client can tell apart.
        message: the sentence for the person, not yet in any language; never a part of a question.
        again: seconds after which asking again makes sense.
        param: name of the field that is wrong.
    """

    def __init__(
        self, status: HTTPStatus, code: Code, message: Message, *, again: float | None = None, param: str = ""
    ) -> None:
        super().__init__(f"{int(status)} {code}: {message.code}")
        self.status, self.code, self.message, self.again, self.param = status, code, message, again, param

    def body(self, language: str) -> dict[str, Any]:
        """As OpenAI's clients read it."""
        return {
            "error": {
                "message": translate(self.message, language),
                "type": _TYPES.get(self.status, "invalid_request_error"),
                "param": self.param or None,
                "code": str(self.code),
            }
        }

    @property
    def headers(self) -> dict[str, str]:
        """`Retry-After` in whole seconds where asking again makes sense, `WWW-Authenticate` where a token is needed."""
        told = {"Retry-After": str(max(1, round(self.again)))} if self.again is not None else {}
        if self.code in {Code.TOO_LARGE, Code.TOO_SLOW, Code.TWO_LENGTHS}:
            # What is still to come of the body is not read.
            told["Connection"] = "close"
        return told | ({"WWW-Authenticate": "Bearer"} if self.status == HTTPStatus.UNAUTHORIZED else {})


def wrong(code: str, param: str = "", **params: str | int) -> Refusal:
    """A question that is not one: 400."""
    return Refusal(HTTPStatus.BAD_REQUEST, Code.WRONG, Message(f"assistant.wrong.{code}", params), param=param)


def unreachable(message: str, *, status: HTTPStatus = HTTPStatus.SERVICE_UNAVAILABLE, again: float = 5) -> Refusal:
    """Something that the gateway needs does not answer."""
    return Refusal(status, Code.UNREACHABLE, Message(message), again=again)
