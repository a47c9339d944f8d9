"""Reads a request's body: what may be asked, within which bounds; whatever is not known is refused, never passed on.

Fields: https://platform.openai.com/docs/api-reference/chat/create and .../embeddings/create.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assistant.errors import Refusal, wrong

LARGEST_BODY = 256 * 2**10
MOST_MESSAGES = 100
MOST_TEXTS = 64
LONGEST_ANSWER = 1024
"""Tokens, also for who asks for more."""
USUAL_ANSWER = 512
BYTES_PER_TOKEN = 2
"""For a bound on a question's tokens before any model has counted them: most texts have three or four."""
AROUND_A_MESSAGE = 8
"""Tokens that a model's template puts around a message, at most a few."""
LONGEST_NAME = 40

Number = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextPart(_Part):
    """One part of a message; pictures and sound are not asked about."""

    type: Literal["text"]
    text: str


class ChatMessage(_Part):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | tuple[TextPart, ...]
    name: str | None = None

    @property
    def text(self) -> str:
        """What it says."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class StreamOptions(_Part):
    """How an answer is streamed."""

    include_usage: bool = False
    include_obfuscation: bool = False


class ChatQuestion(_Part):
    """`POST /v1/chat/completions`."""

    model: str
    messages: tuple[ChatMessage, ...] = Field(min_length=1, max_length=MOST_MESSAGES)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: Number | None = Field(None, ge=0, le=2)
    top_p: Number | None = Field(None, gt=0, le=1)
    presence_penalty: Number | None = Field(None, ge=-2, le=2)
    frequency_penalty: Number | None = Field(None, ge=-2, le=2)
    seed: int | None = Field(None, ge=0, le=2**31)
    stop: str | tuple[str, ...] | None = Field(None, max_length=4)
    n: int | None = Field(None, ge=1, le=1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    # Who asks is known already; what a client says of it is not looked at.
    user: str | None = None

    @property
    def longest(self) -> int:
        """Most tokens of the answer."""
        asked = self.max_completion_tokens or self.max_tokens or USUAL_ANSWER
        return min(asked, LONGEST_ANSWER)

    @property
    def estimate(self) -> int:
        """Tokens of the question, rather too many than too few."""
        size = sum(len(one.text.encode()) // BYTES_PER_TOKEN + AROUND_A_MESSAGE for one in self.messages)
        return size + AROUND_A_MESSAGE

    @property
    def wants_usage(self) -> bool:
        """Whether the stream's last piece is to say what it took."""
        return self.stream_options is not None and self.stream_options.include_usage

    def passed_on(self, name: str, longest: int) -> dict[str, Any]:
        """The body for the model: what was asked, and always as a stream that says at its end what it took.

        Args:
            name: what the model is called where it runs.
            longest: most tokens of the answer.
        """
        kept = self.model_dump(
            include={"temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "stop"},
            exclude_none=True,
        )
        # Small models' templates know no developers.
        roles = {"developer": "system"}
        messages = [{"role": roles.get(one.role, one.role), "content": one.text} for one in self.messages]
        return {
            **kept,
            "model": name,
            "messages": messages,
            "max_tokens": longest,
            "stream": True,
            "stream_options": {"include_usage": True},
        }


class EmbeddingQuestion(_Part):
    """`POST /v1/embeddings`."""

    model: str
    input: str | Annotated[tuple[str, ...], Field(min_length=1, max_length=MOST_TEXTS)]
    encoding_format: Literal["float", "base64"] = "float"
    user: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """What is asked about."""
        return (self.input,) if isinstance(self.input, str) else self.input

    @property
    def estimate(self) -> int:
        """Tokens, rather too many than too few."""
        return sum(len(text.encode()) // BYTES_PER_TOKEN + AROUND_A_MESSAGE for text in self.texts)


Asked = TypeVar("Asked", ChatQuestion, EmbeddingQuestion)


def chat_question(body: bytes) -> ChatQuestion:
    """A chat's question.

    Raises:
        Refusal: it is none; names the first field that is wrong, and nothing of what was in it.
    """
    return _read(ChatQuestion, body)


def embedding_question(body: bytes) -> EmbeddingQuestion:
    """Texts to turn into numbers.

    Raises:
        Refusal: as for `chat_question`.
    """
    return _read(EmbeddingQuestion, body)


def _read(kind: type[Asked], body: bytes) -> Asked:
    try:
        plain = json.loads(body, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise wrong("json") from None
    if not isinstance(plain, dict):
        raise wrong("json")
    try:
        return kind.model_validate_json(json.dumps(plain), strict=True)
    except ValidationError as error:
        raise _named(error, kind) from None
    except UnicodeEncodeError:
        # A lone surrogate: no text of any language.
        raise wrong("json") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two readers must not see two different questions (RFC 8259, section 4)."""
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a name is there twice")
    return dict(pairs)


def _no_constant(_name: str) -> Any:
    raise ValueError("not a number")


def _named(error: ValidationError, kind: type[BaseModel]) -> Refusal:
    """Which field is wrong: only names that we know ourselves are repeated."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    place = [str(one) for one in first["loc"]]
    field = place[0] if place and place[0] in kind.model_fields else ""
    if first["type"] == "extra_forbidden" and len(place) == 1:
        shown = place[0] if place[0].isidentifier() and len(place[0]) <= LONGEST_NAME else "?"
        return wrong("unknown", param=shown, field=shown)
    return wrong("field", param=field, field=field or "?")
