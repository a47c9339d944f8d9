"""When what was handed in is graded without a teacher's click: at once, after its deadline, once a day, or by hand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

_DAILY = re.compile(r"^daily at ([01][0-9]|2[0-3]):([0-5][0-9])$")
_PATTERN = r"^(by_hand|on_submit|after_deadline|daily at ([01][0-9]|2[0-3]):[0-5][0-9])$"


class Kind(StrEnum):
    """What makes a run begin."""

    BY_HAND = "by_hand"
    ON_SUBMIT = "on_submit"
    AFTER_DEADLINE = "after_deadline"
    DAILY = "daily"


_WORDS = (Kind.BY_HAND, Kind.ON_SUBMIT, Kind.AFTER_DEADLINE)


@dataclass(frozen=True)
class GradeRule:
    """When an assignment is graded, written `by_hand`, `on_submit`, `after_deadline` or `daily at 03:00`.

    Args:
        kind: what makes a run begin.
        at: the time of day of `daily`, on the site's clock.
    """

    kind: Kind = Kind.BY_HAND
    at: time = time()

    @classmethod
    def parse(cls, text: object) -> GradeRule:
        """Read a rule.

        Raises:
            ValueError: it is none.
        """
        if isinstance(text, GradeRule):
            return text
        if text in _WORDS:
            return cls(Kind(str(text)))
        match = _DAILY.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            allowed = f"{', '.join(_WORDS)}, or such as daily at 03:00"
            raise ValueError(f"{text!r:.80} is no time to grade (allowed: {allowed})")
        return cls(Kind.DAILY, time(int(match[1]), int(match[2])))

    def last(self, now: datetime) -> datetime:
        """The newest moment of `daily` that is not after a time.

        Args:
            now: with the site's time zone. On the day on which the clock goes forward a time that does not exist is
                that much later; on the day on which it goes back, one that comes twice is its first.
        """
        today = datetime.combine(now.date(), self.at, now.tzinfo)
        if today.timestamp() <= now.timestamp():
            return today
        return datetime.combine(now.date() - timedelta(days=1), self.at, now.tzinfo)

    def __str__(self) -> str:
        return f"daily at {self.at:%H:%M}" if self.kind is Kind.DAILY else str(self.kind)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": _PATTERN, "examples": [*_WORDS, "daily at 03:00"]}


BY_HAND = GradeRule()
