"""Value checks in a notebook: what comes out is compared with what a teacher expects.

    from leerlab_lab.checks import check

    check(mean_of([1, 2, 3]), gives=2.0, wrong={6: "You forgot to divide by how many there are."})

In a lab `check` compares at once and says what is not right. Where Leerlab marks, a cell of nothing but such calls is
not run: the questions are asked of the student's code, and a process that runs none of it compares. The reference is
docs/reference/checks.md.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from leerlab_lab import lesson
from leerlab_lab.valuechecks.expectation import UNSET, Expectation
from leerlab_lab.valuechecks.plain import plain
from leerlab_lab.valuechecks.sentences import Manner, complaint


class CheckFailed(AssertionError):
    """A check that is not met; the message is for the student."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the line of the check and the sentence, and nothing of how checks work."""
        places = [place for place in traceback.extract_tb(self.__traceback__) if place.filename != __file__]
        line = [f"----> {places[-1].lineno} {places[-1].line}", ""] if places and places[-1].line else []
        return [*line, f"{type(self).__name__}: {self}"]


def check(
    answer: Any,
    *,
    gives: Any = UNSET,
    one_of: Any = UNSET,
    at_least: float | None = None,
    at_most: float | None = None,
    kind: str | None = None,
    within: float | None = None,
    right: float | None = None,
    any_order: bool = False,
    any_case: bool = False,
    wrong: Mapping[Any, str] | Sequence[tuple[Any, str]] = (),
    otherwise: str = "",
) -> None:
    """Compare an answer with what is expected.

    Args:
        answer: what a question gives: a variable, an attribute, a call.
        gives: the value that it must be. Arrays, tensors, Series and tuples are lists here, a DataFrame is a dictionary
            of its columns.
        one_of: values that will all do.
        at_least, at_most: bounds of a number; with `kind` text, list or dict, of its length.
        kind: `whole`, `number`, `text`, `list`, `dict` or `yes-no`.
        within: how far numbers may lie apart.
        right: which part of the list in `gives` must be right, from 0 to 1.
        any_order: the order of lists does not count.
        any_case: capitals and spaces do not count.
        wrong: what is said of values that tell of a misconception.
        otherwise: what is said of everything else.

    Raises:
        CheckFailed: the answer is another one.
        ValueError: the check itself cannot mean anything.
    """
    expected = Expectation.made(
        gives=gives, one_of=one_of, at_least=at_least, at_most=at_most, kind=kind, within=within, right=right,
        any_order=any_order, any_case=any_case, wrong=wrong, otherwise=otherwise,
    )  # fmt: skip
    # A cell that mixes checks with other code is run as an ordinary test: its sentences go into feedback.
    marking = os.environ.get("NBGRADER_EXECUTION") == "autograde"
    manner = Manner(lesson.current(), hidden=marking, marking=marking)
    if said := complaint(plain(answer), expected, manner):
        raise CheckFailed(said)
