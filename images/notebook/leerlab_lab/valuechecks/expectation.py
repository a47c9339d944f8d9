"""What a check expects of an answer, and what it says when the answer is something else.

The same in a lab and in the trusted process that marks. Only plain values come here (`plain`), so that comparing runs
no code of whoever made the answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from leerlab_lab.valuechecks.plain import NoPlainValue, Raised, plain

NEARLY = 1e-9
"""How far numbers may lie apart without `within`, relative to the larger one; absolute below 1."""
MOST_IN_ANY_ORDER = 1000


class Kind(StrEnum):
    """What kind of value an answer is."""

    NOTHING = "nothing"
    YES_NO = "yes-no"
    WHOLE = "whole"
    NUMBER = "number"
    TEXT = "text"
    LIST = "list"
    DICT = "dict"
    OTHER = "other"

    @classmethod
    def of(cls, value: Any) -> Kind:
        """The kind of a plain value."""
        if value is None:
            return cls.NOTHING
        # Booleans are integers to Python, not to a teacher.
        for kind, types in ((cls.YES_NO, bool), (cls.WHOLE, int), (cls.NUMBER, float), (cls.TEXT, str),
                            (cls.LIST, list), (cls.DICT, dict)):  # fmt: skip
            if isinstance(value, types):
                return kind
        return cls.OTHER

    def takes(self, other: Kind) -> bool:
        """Whether a value of the other kind will do where this one is asked."""
        numbers = {Kind.WHOLE, Kind.NUMBER}
        return self is other or (self is Kind.NUMBER and other in numbers)


ASKED_KINDS = (Kind.YES_NO, Kind.WHOLE, Kind.NUMBER, Kind.TEXT, Kind.LIST, Kind.DICT)


class Unset:
    """No expectation was given; None is one."""


UNSET = Unset()


class WrongCheck(ValueError):
    """A check that cannot mean anything; the message says why."""


@dataclass(frozen=True)
class Expectation:
    """One check's expectation, all of it plain.

    Args:
        gives: the value itself.
        one_of: values that will all do.
        at_least, at_most: bounds of a number, or of how long a text, list or dictionary is where `kind` says so.
        kind: what kind of value it must be.
        within: how far numbers may lie apart, absolute.
        right: which part of a list must be as in `gives`, from 0 to 1.
        any_order: whether the order of lists counts for nothing.
        any_case: whether capitals and spaces count for nothing.
        wrong: values that tell of a misconception, each with what is said of it.
        otherwise: what is said of everything else.
    """

    gives: Any = UNSET
    one_of: Any = UNSET
    at_least: float | None = None
    at_most: float | None = None
    kind: Kind | None = None
    within: float | None = None
    right: float | None = None
    any_order: bool = False
    any_case: bool = False
    wrong: tuple[tuple[Any, str], ...] = ()
    otherwise: str = ""

    @classmethod
    def made(
        cls,
        *,
        gives: Any = UNSET,
        one_of: Any = UNSET,
        at_least: Any = None,
        at_most: Any = None,
        kind: Any = None,
        within: Any = None,
        right: Any = None,
        any_order: Any = False,
        any_case: Any = False,
        wrong: Any = (),
        otherwise: Any = "",
    ) -> Expectation:
        """The expectation that a teacher's words describe.

        Args:
            gives, one_of, at_least, at_most, kind, within, right, any_order, any_case, wrong, otherwise: as
                `leerlab_lab.checks.check` has them.

        Raises:
            WrongCheck: they contradict each other, or have another form.
        """
        pairs = _pairs(wrong)
        made = cls(
            gives if gives is UNSET else _plain(gives, "gives"),
            one_of if one_of is UNSET else _plain(one_of, "one_of"),
            _number(at_least, "at_least"), _number(at_most, "at_most"),
            _kind(kind), _number(within, "within"), _number(right, "right"), bool(any_order), bool(any_case),
            tuple((_plain(value, "wrong"), message) for value, message in pairs), otherwise,
        )  # fmt: skip
        made._validate()
        return made

    def _validate(self) -> None:
        others = (self.at_least, self.at_most, self.kind)
        if not (self._positive or self.wrong or any(each is not None for each in others)):
            raise WrongCheck("a check needs gives, one_of, at_least, at_most, kind or wrong")
        if self.gives is not UNSET and self.one_of is not UNSET:
            raise WrongCheck("gives and one_of exclude each other")
        if self.one_of is not UNSET and not (isinstance(self.one_of, list) and self.one_of):
            raise WrongCheck("one_of is a list of values")
        if self.right is not None and (not isinstance(self.gives, list) or not 0 < self.right <= 1):
            raise WrongCheck("right is a part between 0 and 1, of a list in gives")
        if self.within is not None and not (self.within >= 0 and math.isfinite(self.within)):
            raise WrongCheck("within is a distance, 0 or more")
        if self.any_order and isinstance(self.gives, list) and len(self.gives) > MOST_IN_ANY_ORDER:
            raise WrongCheck(f"any_order compares lists of at most {MOST_IN_ANY_ORDER} values")
        if not isinstance(self.otherwise, str):
            raise WrongCheck("otherwise is a text")
        if self._positive and any(self._fits(value) for value, _ in self.wrong):
            raise WrongCheck("a value in wrong is also a right answer")

    @property
    def _positive(self) -> bool:
        """Whether it says what is right, and not only what is wrong."""
        return self.gives is not UNSET or self.one_of is not UNSET

    def told_wrong(self, answer: Any) -> str:
        """What is said of an answer that tells of a misconception; nothing when it tells of none."""
        return next((message for value, message in self.wrong if self._same(answer, value)), "")

    def met_by(self, answer: Any) -> bool:
        """Whether a plain value is a right answer."""
        return not isinstance(answer, (Raised, NoPlainValue)) and not self.told_wrong(answer) and self._fits(answer)

    @property
    def expected_kind(self) -> Kind | None:
        """The kind of value that is asked, as far as it is known."""
        if self.kind is not None:
            return self.kind
        if self.gives is not UNSET:
            kind = Kind.of(self.gives)
            return Kind.NUMBER if kind is Kind.WHOLE else kind if kind in ASKED_KINDS else None
        return Kind.NUMBER if self.at_least is not None or self.at_most is not None else None

    def _fits(self, answer: Any) -> bool:
        if self.kind is not None and not self.kind.takes(Kind.of(answer)):
            return False
        if self.right is not None:
            return self._part(answer) >= self.right - NEARLY
        if self.gives is not UNSET and not self._same(answer, self.gives):
            return False
        if self.one_of is not UNSET and not any(self._same(answer, one) for one in self.one_of):
            return False
        return self._in_bounds(answer)

    def _in_bounds(self, answer: Any) -> bool:
        if self.at_least is None and self.at_most is None:
            return True
        if isinstance(answer, (str, list, dict)) and self.kind in (Kind.TEXT, Kind.LIST, Kind.DICT):
            answer = len(answer)
        if not _is_number(answer):
            return False
        # Not a number is neither more nor less than anything.
        return (self.at_least is None or answer >= self.at_least) and (self.at_most is None or answer <= self.at_most)

    def _part(self, answer: Any) -> float:
        if not isinstance(answer, list) or len(answer) != len(self.gives) or not answer:
            return 0.0
        return sum(self._same(one, other) for one, other in zip(answer, self.gives, strict=True)) / len(answer)

    def _same(self, one: Any, other: Any) -> bool:
        if isinstance(one, list) and isinstance(other, list):
            return len(one) == len(other) and self._same_lists(one, other)
        if isinstance(one, dict) and isinstance(other, dict):
            # Keys as they are: a typing mistake in a key is another key.
            return _keys(one) == _keys(other) and all(self._same(one[key], other[key]) for key in one)
        if isinstance(one, str) and isinstance(other, str):
            return one == other or (self.any_case and _loose(one) == _loose(other))
        if _is_number(one) and _is_number(other):
            return self._near(one, other)
        # None and booleans, which are no numbers here.
        return one is other

    def _same_lists(self, one: list[Any], other: list[Any]) -> bool:
        if self.any_order and len(one) <= MOST_IN_ANY_ORDER:
            return self._same_in_any_order(one, other)
        return all(self._same(left, right) for left, right in zip(one, other, strict=True))

    def _near(self, one: float, other: float) -> bool:
        if one == other or (one != one and other != other):  # noqa: PLR0124 - not a number
            return True
        if not (math.isfinite(one) and math.isfinite(other)):
            return False
        most = self.within if self.within is not None else NEARLY * max(1.0, abs(one), abs(other))
        # A difference such as 1.1 - 1.0 is a little more than 0.1.
        return abs(one - other) <= most * (1 + NEARLY)

    def _same_in_any_order(self, one: list[Any], other: list[Any]) -> bool:
        left = list(other)
        for value in one:
            found = next((n for n, candidate in enumerate(left) if self._same(value, candidate)), None)
            if found is None:
                return False
            del left[found]
        return True


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _keys(one: Mapping[Any, Any]) -> set[tuple[bool, Any]]:
    return {(isinstance(key, bool), key) for key in one}


def _loose(text: str) -> str:
    return " ".join(text.split()).casefold()


def _plain(value: Any, name: str) -> Any:
    made = plain(value)
    if _has_other(made):
        raise WrongCheck(f"{name} holds something that is no plain value, or too much of it")
    return made


def _has_other(value: Any) -> bool:
    if isinstance(value, list):
        return any(_has_other(one) for one in value)
    if isinstance(value, dict):
        return any(_has_other(one) for pair in value.items() for one in pair)
    return isinstance(value, NoPlainValue)


def _number(value: Any, name: str) -> float | None:
    made = plain(value)
    if made is None or _is_number(made):
        return made  # type: ignore[no-any-return]
    raise WrongCheck(f"{name} is a number")


def _kind(value: Any) -> Kind | None:
    if value is None:
        return None
    if value in list(ASKED_KINDS):
        return Kind(value)
    raise WrongCheck(f"kind is one of {', '.join(ASKED_KINDS)}")


def _pairs(wrong: Any) -> Sequence[tuple[Any, str]]:
    pairs = list(wrong.items()) if isinstance(wrong, Mapping) else list(wrong)
    if not all(isinstance(pair, (tuple, list)) and len(pair) == 2 and isinstance(pair[1], str) and pair[1]
               for pair in pairs):  # fmt: skip
        raise WrongCheck("wrong is {value: text}, or a list of (value, text)")
    return [(value, message) for value, message in pairs]
