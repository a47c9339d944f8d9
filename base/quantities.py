"""Sizes and durations as types that pydantic reads from site.yaml, never as bare strings or numbers."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"^([1-9][0-9]{0,11})([KMGT])$")
_DURATION = re.compile(r"^(?:([0-9]{1,4})d)?(?:([0-9]{1,4})h)?(?:([0-9]{1,5})m)?(?:([0-9]{1,6})s)?$")


class Size(int):
    """An amount of memory or disk in bytes, written as a whole number and K, M, G or T (powers of 1024): `4G`."""

    @classmethod
    def parse(cls, text: object) -> Size:
        """Read `512M` and the like.

        Raises:
            ValueError: text is not a whole number followed by K, M, G or T.
        """
        if isinstance(text, Size):
            return text
        match = _SIZE.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"{text!r} is not a size (allowed: a whole number and K, M, G or T, such as 512M or 4G)")
        return cls(int(match[1]) * _UNITS[match[2]])

    @property
    def mebibytes(self) -> int:
        """The size in MiB, rounded up: Slurm's unit."""
        return -(-int(self) // 2**20)

    def __str__(self) -> str:
        for unit in "TGMK":
            if self and int(self) % _UNITS[unit] == 0:
                return f"{int(self) // _UNITS[unit]}{unit}"
        return str(int(self))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": _SIZE.pattern, "examples": ["512M", "4G"]}


class Duration(timedelta):
    """A length of time in days, hours, minutes and seconds, in that order: `4h`, `1d12h`, `90s`."""

    @classmethod
    def parse(cls, text: object) -> Duration:
        """Read `1h30m` and the like.

        Raises:
            ValueError: text is not a duration, or is zero.
        """
        if isinstance(text, Duration):
            return text
        match = _DURATION.fullmatch(text) if isinstance(text, str) and text else None
        if match is None:
            raise ValueError(f"{text!r} is not a duration (allowed: such as 90s, 30m, 4h or 1d12h)")
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        value = cls(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if not value:
            raise ValueError(f"{text!r} is no time at all (allowed: more than 0s)")
        return value

    @property
    def seconds_total(self) -> int:
        """The whole duration in seconds."""
        return round(self.total_seconds())

    def __str__(self) -> str:
        rest, out = self.seconds_total, ""
        for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
            amount, rest = divmod(rest, length)
            out += f"{amount}{unit}" if amount else ""
        return out

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": _DURATION.pattern, "examples": ["30m", "4h"]}
