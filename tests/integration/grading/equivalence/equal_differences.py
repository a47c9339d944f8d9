"""Where our marks differ from stock nbgrader 0.9.6's, and why: each time a fault of stock. Nothing else may differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from equal_sources import KINDS, SCIENCE


class Fault(Enum):
    """What is wrong there; where nothing else is said, in nbgrader."""

    NOISE = "A message on standard error in a test counts as a failed test (utils.py, determine_grade)."
    FIRST_RESULT = "The first result that a test shows counts, even before an error: displayhook(2.0) is two points."
    DEATH = "A kernel that ends, or that cannot be interrupted, costs the whole submission its marks."
    DELETED = (
        "A test or an answer that was deleted has no mark; nbgrader's own add_missing_cells is off. An answer that is"
        " put back is one that nobody has begun, for which nbgrader itself gives nothing; its teacher is told."
    )
    COPIED = "A copied cell leaves one with empty metadata, which nbgrader takes for an old format and refuses."
    SKIPPED = "nbclient runs no cell with the tag skip-execution: a student's tag on a test is full marks for it."
    ARGUMENT = "nbclient starts kernels with an argument that no lab has, so that argparse fails when it is graded."
    SHARED_FILES = (
        "Notebooks of a submission run one after the other in one folder, so that what one leaves behind decides the"
        " marks of the next. Here each runs on the files that were handed in."
    )


@dataclass(frozen=True)
class Difference:
    """One work whose marks differ.

    Args:
        fault: why.
        marks: the cells that differ, as we mark them: automatic mark, the most there is, whether a person has to look.
    """

    fault: Fault
    marks: Mapping[str, list[Any]]


def _auto(fault: Fault, marks: Mapping[str, tuple[float, float]]) -> Difference:
    """A difference in cells of the notebook `werk` in which no person has to look."""
    return Difference(fault, {f"werk/{name}": [*mark, False] for name, mark in marks.items()})


def _refused(fault: Fault, marks: Mapping[str, tuple[float, float]]) -> Difference:
    """Work in `basis` that stock gives no marks at all."""
    by_hand = {"eigen-test": 5.0, "uitleg": 3.0, "verslag": 2.0}
    mine = {f"werk/{name}": [*mark, False] for name, mark in marks.items()}
    return Difference(fault, mine | {f"werk/{name}": [None, most, True] for name, most in by_hand.items()})


_RIGHT = {"zichtbaar": (2.0, 2.0), "verborgen": (3.0, 3.0), "deelscore": (4.0, 4.0)}
_PARTLY = {"zichtbaar": (2.0, 2.0), "verborgen": (0.0, 3.0), "deelscore": (3.0, 4.0)}
# What differs of a partly right answer, where stock has nothing for any test.
_PARTS = {"zichtbaar": (2.0, 2.0), "deelscore": (3.0, 4.0)}
_NONE = {"zichtbaar": (0.0, 2.0), "verborgen": (0.0, 3.0), "deelscore": (0.0, 4.0)}
# Tests that are noisy themselves; and of those in `toetsen`, the ones that a noisy answer makes no noise in.
_NOISY = {name: (1.0, 1.0) for name in ("stderr", "waarschuwt", "unittest-op-stderr", "logt")}
_SILENT = {
    "niets", "alleen-woorden", "bron", "boom", "vangt", "leest-terug", "nagedaan", "kent-de-naam", "stderr-en-fout",
    "fout-van-de-docent",
}  # fmt: skip
_HEARD = {name: (float(most), float(most)) for name, (most, _) in KINDS.items() if name not in _SILENT}
_SCIENCE = {name: (float(most), float(most)) for name, (most, _) in SCIENCE.items()}

EXPLAINED: dict[str, Difference] = {
    "basis/answer-that-prints-on-stan-3a25": _auto(Fault.NOISE, _RIGHT),
    "basis/answer-that-warns": _auto(Fault.NOISE, _RIGHT),
    "basis/logging-in-the-answer": _auto(Fault.NOISE, _RIGHT),
    "basis/progress-bar-in-the-answer": _auto(Fault.NOISE, _RIGHT),
    "cijfers/noise-on-standard-error": _auto(Fault.NOISE, {"cijfer": (1.5, 2.0)}),
    "wetenschap/warning-of-numpy-in-the-answer": _auto(Fault.NOISE, _SCIENCE),
    **{f"toetsen/tests-of-every-kind-{number}": _auto(Fault.NOISE, _NOISY) for number in (1, 2, 3, 5)},
    "toetsen/tests-of-every-kind-6": _auto(Fault.NOISE, _HEARD | {"deel": (1.75, 2.0), "toont": (1.5, 2.0)}),
    "cijfers/counted-before-an-error": _auto(Fault.FIRST_RESULT, {"cijfer": (0.0, 2.0)}),
    "cijfers/counted-twice": _auto(Fault.FIRST_RESULT, {"cijfer": (1.5, 2.0)}),
    "basis/test-cell-deleted": _auto(Fault.DELETED, {"zichtbaar": (2.0, 2.0)}),
    "basis/cell-for-a-manual-mark-deleted": _auto(Fault.DELETED, {"uitleg": (0.0, 3.0)}),
    "basis/test-cell-copied": _refused(Fault.COPIED, _RIGHT),
    "basis/answer-cell-copied-the-cop-ca1e": _refused(Fault.COPIED, _PARTLY),
    "basis/answer-marked-to-be-skipped": _auto(Fault.SKIPPED, _PARTS),
    "basis/test-marked-to-be-skipped": _auto(Fault.SKIPPED, {"zichtbaar": (0.0, 2.0)}),
    "basis/argparse": _auto(Fault.ARGUMENT, _PARTS),
    "bestanden/changes-a-given-file-while-1194": Difference(Fault.SHARED_FILES, {"model/som": [2.0, 2.0, False]}),
    "bestanden/tells-the-other-notebook-t-58b1": Difference(Fault.SHARED_FILES, {"model/bewaard": [1.0, 3.0, False]}),
    "einden/exit": _auto(Fault.DEATH, _RIGHT),
    "einden/quit-in-a-cell-of-one-s-own": _auto(Fault.DEATH, _PARTLY),
    "einden/exit-in-the-answer": _auto(Fault.DEATH, _PARTLY),
    "einden/os-exit": _auto(Fault.DEATH, _RIGHT),
    "einden/os-exit-in-the-answer": _auto(Fault.DEATH, _RIGHT | {"zichtbaar": (0.0, 2.0)}),
    "einden/kills-itself": _auto(Fault.DEATH, _PARTLY),
    "einden/reads-where-nothing-is": _auto(Fault.DEATH, _RIGHT),
    "einden/cannot-be-interrupted": _auto(Fault.DEATH, _PARTLY),
    "einden/closes-what-it-was-given": _auto(Fault.DEATH, _PARTLY),
    # Here too every cell after it is lost; but the work has its marks, for what it has of them.
    "einden/stops-its-own-loop": _auto(Fault.DEATH, _NONE),
}
"""By the work's name."""
