"""What may stand in a question: an allow-list of OpenAI's parameters, each within bounds; nothing else goes further.

Sources: https://platform.openai.com/docs/api-reference/chat/create and .../embeddings/create.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assistant.errors import wrong

LARGEST = 256 * 1024
"""Bytes of a question's body."""
_TEXT = 64 * 1024
# No tokenizer is at hand. Texts in European languages take 3 to 5 bytes a token; code and figures take about 2.
_BYTES_PER_TOKEN = 2
_PER_MESSAGE = 8

# How pydantic names an alternative within the place of an error.
_ALTERNATIVE = re.compile(r"[\[-]")

Text = Annotated[str, Field(max_length=_TEXT)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextPart(_Strict):
    """A message's part; the models here read text alone."""

    type: Literal["text"]
    text: Text


class Said(_Strict):
    """One message."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[TextPart], Field(max_length=16)]
    name: Annotated[str, Field(max_length=64)] | None = None


class StreamOptions(_Strict):
    """What a stream says besides the answer."""

    include_usage: bool = False


class ChatQuestion(_Strict):
    """`POST /v1/chat/completions`."""

    PATH: ClassVar = "/chat/completions"

    model: Annotated[str, Field(max_length=64)]
    messages: Annotated[list[Said], Field(min_length=1, max_length=64)]
    max_tokens: Annotated[int, Field(ge=1, le=10**6)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=10**6)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31)] | None = None
    stop: Annotated[str, Field(max_length=100)] | list[Annotated[str, Field(max_length=100)]] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] = 1
    user: Annotated[str, Field(max_length=256)] | None = None

    @property
    def wanted(self) -> int | None:
        """Most tokens of the answer, where the question says so."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def wants_usage(self) -> bool:
        """Whether a stream is to end with what the answer took."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def estimate(self) -> int:
        """Tokens of the question, rather too many than too few."""
        return sum(_tokens(said.content) + _PER_MESSAGE for said in self.messages)

    def forwarded(self, name: str, tokens: int) -> dict[str, Any]:
        """What the model's server is asked: never who asks.

        Args:
            name: what that server calls the model.
            tokens: most tokens of the answer.
        """
        plain = self.model_dump(
            exclude={"max_completion_tokens", "user", "stream_options", "n"}, exclude_none=True, mode="json"
        )
        usage = {"stream_options": {"include_usage": True}} if self.stream else {}
        return {**plain, **usage, "model": name, "max_tokens": tokens}


class EmbeddingQuestion(_Strict):
    """`POST /v1/embeddings`."""

    PATH: ClassVar = "/embeddings"

    model: Annotated[str, Field(max_length=64)]
    input: Text | Annotated[list[Text], Field(min_length=1, max_length=256)]
    encoding_format: Literal["float", "base64"] = "float"
    user: Annotated[str, Field(max_length=256)] | None = None

    @property
    def estimate(self) -> int:
        """Tokens of the question, rather too many than too few."""
        texts = [self.input] if isinstance(self.input, str) else self.input
        return sum(_tokens(text) + _PER_MESSAGE for text in texts)

    def forwarded(self, name: str, _tokens: int) -> dict[str, Any]:
        """What the model's server is asked: never who asks."""
        return {"model": name, "input": self.input, "encoding_format": self.encoding_format}


def _tokens(content: str | list[TextPart]) -> int:
    texts = [content] if isinstance(content, str) else [part.text for part in content]
    return sum(-(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN) for text in texts)


Question = TypeVar("Question", ChatQuestion, EmbeddingQuestion)


def read(kind: type[Question], body: bytes) -> Question:
    """The question in a request's body.

    Raises:
        Refused: it is not JSON, has a parameter that is not allowed, or a value out of bounds; says which.
    """
    try:
        plain = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise wrong("the body is not JSON") from error
    try:
        return kind.model_validate(plain)
    except ValidationError as error:
        # Where there are alternatives, each has its error: the deepest is of the one that was meant.
        all_errors = error.errors(include_url=False, include_context=False, include_input=False)
        first = max(all_errors, key=lambda each: len(each["loc"]))
        where = ".".join(str(part) for part in first["loc"] if not _ALTERNATIVE.search(str(part)))[:100]
        if first["type"] == "extra_forbidden":
            raise wrong(f"{where} is not allowed (allowed: {', '.join(kind.model_fields)})") from error
        raise wrong(f"{where or 'the body'}: {first['msg']}"[:300]) from error
