"""Values as plain data: what a question's answer is turned into, how it travels as JSON, and how it is read again.

Plain are None, booleans, numbers, texts, lists, and dictionaries with plain keys. Arrays, tensors, Series, tuples and
sets become lists, a DataFrame a dictionary of its columns, moments their text. `encoded` runs beside untrusted code and
may give anything; `decoded` takes only what it knows, within the same bounds.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MOST_VALUES = 20_000
"""Values in one answer, those inside lists and dictionaries included."""
DEEPEST = 20
LONGEST_TEXT = 100_000
_TEXT_OF_A_VALUE = 10
"""So many characters count as one more value."""
_LARGEST = 2**1000
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True)
class NoPlainValue:
    """What has no form as plain data: a function, a model, or more than an answer may hold.

    Args:
        too_much: whether it was only too large.
    """

    too_much: bool = False


@dataclass(frozen=True)
class Raised:
    """Instead of a value: evaluating the question ended with an error.

    Args:
        name: of the error's class, as untrusted code says it.
    """

    name: str


class TooMuch(ValueError):
    """Larger or deeper than an answer may be."""


class NotPlain(ValueError):
    """Not what `encoded` gives."""


def encoded(value: Any) -> Any:
    """A value in a form that JSON can carry.

    Numbers that JSON does not know are `{"number": "nan" | "inf" | "-inf"}`, dictionaries `{"pairs": [[key, value]]}`,
    and what has no plain form `{"other": "kind" | "size"}`.
    """
    try:
        return _Encoder().of(value, 0)
    except TooMuch:
        return {"other": "size"}


def decoded(told: Any) -> Any:
    """The plain value that JSON carried.

    Raises:
        NotPlain: it has another form, or is larger than an answer may be.
    """
    return _Decoder().of(told, 0)


def plain(value: Any) -> Any:
    """A value as it looks after its journey."""
    return decoded(encoded(value))


class _Counting:
    def __init__(self) -> None:
        self._values = 0

    def _count(self, depth: int, values: int = 1) -> None:
        self._values += values
        if self._values > MOST_VALUES or depth > DEEPEST:
            raise TooMuch


class _Encoder(_Counting):
    def of(self, value: Any, depth: int) -> Any:
        self._count(depth)
        value = self._unwrapped(value)
        if value is None or isinstance(value, (bool, int, float, str)):
            return self._single(value)
        if isinstance(value, Mapping):
            self._room(len(value))
            return {"pairs": [[self.of(key, depth + 1), self.of(one, depth + 1)] for key, one in value.items()]}
        if isinstance(value, (set, frozenset)):
            self._room(len(value))
            value = sorted(value, key=lambda one: (type(one).__name__, repr(one)))
        if isinstance(value, (list, tuple, range)):
            self._room(len(value))
            return [self.of(one, depth + 1) for one in value]
        return {"other": "kind"}

    def _single(self, value: Any) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"number": _not_finite(value)}
        if abs(value) > _LARGEST if isinstance(value, int) else len(value) > LONGEST_TEXT:
            raise TooMuch
        if isinstance(value, str):
            self._count(0, len(value) // _TEXT_OF_A_VALUE)
            return str(value)
        return int(value)

    def _room(self, length: int) -> None:
        """Refuse what is too long before it is copied."""
        if length > MOST_VALUES:
            raise TooMuch

    def _unwrapped(self, value: Any) -> Any:
        """What numpy, pandas, torch and the standard library wrap plain values in."""
        for library, unwrap in _LIBRARIES.items():
            # What was not imported made no value.
            if (module := sys.modules.get(library)) is not None:
                value = unwrap(module, value, self._room)
        if isinstance(value, (decimal.Decimal, fractions.Fraction)):
            return float(value)
        if isinstance(value, (datetime.date, datetime.time)):
            return value.isoformat()
        if isinstance(value, type({}.keys()) | type({}.values())):
            return list(value)
        return value


def _torch(torch: Any, value: Any, room: Callable[[int], None]) -> Any:
    if isinstance(value, torch.Tensor):
        room(value.numel())
        return value.detach().cpu().tolist()
    return str(value) if isinstance(value, (torch.dtype, torch.device)) else value


def _pandas(pandas: Any, value: Any, room: Callable[[int], None]) -> Any:
    if isinstance(value, (pandas.Series, pandas.Index)):
        room(len(value))
        return value.tolist()
    if isinstance(value, pandas.DataFrame):
        room(value.size)
        return {name: column.tolist() for name, column in value.items()}
    if value is pandas.NA or value is pandas.NaT:
        return math.nan
    return value


def _numpy(numpy: Any, value: Any, room: Callable[[int], None]) -> Any:
    if isinstance(value, (numpy.datetime64, numpy.timedelta64, numpy.dtype)):
        return str(value)
    if isinstance(value, numpy.ndarray):
        room(value.size)
        # Moments as texts, as everywhere here.
        return value.astype(str).tolist() if value.dtype.kind in "mM" else value.tolist()
    return value.item() if isinstance(value, numpy.generic) else value


_LIBRARIES = {"torch": _torch, "pandas": _pandas, "numpy": _numpy}


def _not_finite(value: float) -> str:
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


class _Decoder(_Counting):
    def of(self, told: Any, depth: int) -> Any:
        try:
            self._count(depth)
        except TooMuch as error:
            raise NotPlain from error
        if told is None or isinstance(told, bool):
            return told
        if isinstance(told, int):
            return self._checked(told, abs(told) <= _LARGEST)
        if isinstance(told, float):
            return self._checked(told, math.isfinite(told))
        if isinstance(told, str):
            return self._checked(told, len(told) <= LONGEST_TEXT)
        if isinstance(told, list):
            return [self.of(one, depth + 1) for one in told]
        return self._tagged(told, depth)

    def _tagged(self, told: Any, depth: int) -> Any:
        if isinstance(told, dict) and len(told) == 1:
            ((tag, inner),) = told.items()
            if tag == "number" and isinstance(inner, str) and inner in _NOT_FINITE:
                return _NOT_FINITE[inner]
            if tag == "other" and inner in ("kind", "size"):
                return NoPlainValue(inner == "size")
            if tag == "pairs" and isinstance(inner, list):
                return self._pairs(inner, depth)
        raise NotPlain

    def _pairs(self, pairs: list[Any], depth: int) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for pair in pairs:
            if not isinstance(pair, list) or len(pair) != 2:
                raise NotPlain
            key = self.of(pair[0], depth + 1)
            made[_hashable(key)] = self.of(pair[1], depth + 1)
        return made

    @staticmethod
    def _checked(value: Any, fits: bool) -> Any:
        if not fits:
            raise NotPlain
        return value


def _hashable(key: Any) -> Any:
    """A key; lists, which tuples have become, are tuples again."""
    if isinstance(key, list):
        return tuple(_hashable(one) for one in key)
    if isinstance(key, dict):
        raise NotPlain
    return key
