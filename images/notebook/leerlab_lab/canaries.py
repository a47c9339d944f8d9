"""Questions to which only an honest Python knows the answers, asked after all of a notebook's own cells.

For each test there is one that fails whatever the student's code does (the test with one check turned into a false
one), one that says the same as the test, and, where a test ends in a value, one that ends in another value; and some
that are about no test at all. They are sent along as more cells in an order of chance, come inside one by one, and no
mark depends on them. What a run made of them is judged here, outside. An answer that is missing says nothing: no
canary is false in an honest Python, so that nothing has to be known of the assignment's own solution.

What they cannot tell: code that works out what each check should say, and answers so. See
docs/explanation/threat-model.md.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.utils import is_grade, is_solution

from leerlab_lab.asserts import ends_in_value, showing, variant
from leerlab_lab.flags import Code, Flag, seed
from leerlab_lab.valuechecks.marking import value_checks

MOST_TESTS = 12
"""Of how many tests a notebook's canaries are; others are left to chance."""
GENERAL = 1
"""How many sets are about no test."""
ABOUT = "leerlab"
"""In the metadata of a cell that is sent, and of one that comes back (`leerlab_lab.forked.afterwards`)."""
_HOOKS = Path(__file__).with_name("hooks_seen.py")
_MOST_HOOKS = 20
_BRIEF = "get_ipython().InteractiveTB.set_mode(mode='Minimal')"


class Kind(StrEnum):
    """What an honest Python makes of a canary."""

    FAILS = "fails"
    PASSES = "passes"
    AGAIN = "again"
    """What the test itself came to, as long as it can be asked twice: decides nothing, see `forked.afterwards`."""
    SHOWS = "shows"
    HOOKS = "hooks"
    BRIEF = "brief"
    """Not a question: from then on errors are told in one line. A traceback takes IPython 50 ms."""


@dataclass(frozen=True)
class Canary:
    """One question.

    Args:
        kind: what it should come to.
        source: code.
        test: the number of the test among the code cells, the first being 1; 0 when it is about none.
        name: the test's name.
        expected: the number that it should show.
    """

    kind: Kind
    source: str
    test: int = 0
    name: str = ""
    expected: float = 0.0


def made_for(notebook: NotebookNode) -> list[Canary]:
    """The canaries of a notebook whose tests are as the course wrote them: the same ones each time.

    Args:
        notebook: restored, with nbgrader's metadata and a seed (`leerlab_lab.flags.reset`); without one it gets none.
    """
    # Seeded by 128 bits that nobody who could use them ever sees.
    chance = random.Random(seed(notebook))  # noqa: S311
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    # What a value check says stays outside, hidden inputs and what is expected.
    outside = {number for number, _ in value_checks(notebook)}
    tests = [
        (number + 1, cell)
        for number, cell in enumerate(code)
        if is_grade(cell) and not is_solution(cell) and number not in outside
    ]
    if not tests or not seed(notebook):
        return []
    made = [one for test in chance.sample(tests, min(MOST_TESTS, len(tests))) for one in _of_test(*test, chance)]
    made += [one for _ in range(GENERAL) for one in _general(chance)]
    made.append(Canary(Kind.HOOKS, _HOOKS.read_text(encoding="utf-8")))
    chance.shuffle(made)
    # One that takes no time comes first: whoever does not answer that answers nothing.
    return [*_general(chance)[:1], Canary(Kind.BRIEF, _BRIEF), *made]


def with_canaries(sent: NotebookNode, canaries: Sequence[Canary]) -> NotebookNode:
    """A stripped notebook with canaries behind its cells."""
    cells = [
        nbformat.v4.new_code_cell(
            one.source, id=f"canary-{index:04d}", metadata={ABOUT: {"kind": str(one.kind), "test": one.test}}
        )
        for index, one in enumerate(canaries)
    ]
    return nbformat.v4.new_notebook(cells=[*sent.cells, *cells], metadata=sent.metadata)


def told(executed: bytes, cells: int) -> list[dict[str, Any]]:
    """What the runner wrote down of each cell, outside the wall of the code that ran; empty where it wrote nothing."""
    try:
        found = json.loads(executed)["cells"]
        about = [cell.get("metadata", {}).get(ABOUT, {}) for cell in found]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        about = []
    about = [one if isinstance(one, dict) else {} for one in about]
    return about if len(about) == cells else [{} for _ in range(cells)]


def judged(
    canaries: Sequence[Canary], outputs: Sequence[list[NotebookNode]], about: Sequence[dict[str, Any]]
) -> list[Flag]:
    """What the answers to canaries say.

    Args:
        canaries: as they were sent.
        outputs: what each showed.
        about: what the runner wrote down of each.
    """
    found: list[Flag] = []
    for one, shown, noted in zip(canaries, outputs, about, strict=True):
        found += _judged(one, shown, noted.get("asked"), noted.get("in_its_place"))
    return list(dict.fromkeys(found))


def _of_test(number: int, cell: NotebookNode, chance: random.Random) -> list[Canary]:
    name = str(cell.metadata.nbgrader.get("grade_id", ""))
    made = []
    for kind in (Kind.FAILS, Kind.AGAIN):
        plain = chance.choice((True, False))
        if (code := variant(cell.source, chance, fails=kind is Kind.FAILS, plain=plain)) is not None:
            made.append(Canary(kind, code, number, name))
    value = chance.randrange(1000, 10_000) + 0.5
    if (shows := showing(cell.source, value)) is not None:
        made.append(Canary(Kind.SHOWS, shows, number, name, value))
    return made


def _general(chance: random.Random) -> list[Canary]:
    one, two, three = chance.sample(range(1000, 10_000), 3)
    source = f"assert {one} * {two} == {one * two}"
    codes = {kind: variant(source, chance, fails=kind is Kind.FAILS, plain=False) for kind in (Kind.PASSES, Kind.FAILS)}
    made = [Canary(kind, code) for kind, code in codes.items() if code is not None]
    return [*made, *(Canary(Kind.SHOWS, f"({two}, {value})[1]", expected=value) for value in (three, three + 0.5))]


def _judged(one: Canary, shown: list[NotebookNode], asked: object, in_its_place: object) -> list[Flag]:
    if one.kind is Kind.FAILS and "passed" in (asked, in_its_place):
        return [Flag(Code.CHECKS_FORGED, one.name, one.test)]
    if one.kind is Kind.PASSES and asked == "failed":
        errors = [output.ename for output in shown if output.output_type == "error"]
        # Where no memory is left, nothing works any more.
        return [] if "MemoryError" in errors else [Flag(Code.CHECKS_FORGED)]
    if one.kind is Kind.PASSES and asked in ("silent", "ended"):
        return [Flag(Code.SILENT)]
    if one.kind is Kind.SHOWS and asked == "passed":
        results = [output.data.get("text/plain") for output in shown if output.output_type == "execute_result"]
        return [] if _is(results[-1:], one.expected) else [Flag(Code.RESULT_FORGED, one.name, one.test)]
    return _hooks(shown) if one.kind is Kind.HOOKS else []


def _is(results: list[Any], expected: float) -> bool:
    """Whether a number was shown, as a person may have set that numbers are shown (`%precision`)."""
    try:
        return abs(float(results[0]) - expected) <= 1
    except (IndexError, TypeError, ValueError):
        return False


def _hooks(shown: list[NotebookNode]) -> list[Flag]:
    text = "".join(output.text for output in shown if output.output_type == "stream")
    try:
        names = json.loads(text.strip().splitlines()[-1])
    except (ValueError, IndexError, RecursionError):
        return []
    if not isinstance(names, list) or not names:
        return []
    return [Flag(Code.HOOKS, what=tuple(str(name)[:60] for name in names[:_MOST_HOOKS]))]


def seen_in_cells(
    notebook: NotebookNode, outputs: Sequence[list[NotebookNode]], about: Sequence[dict[str, Any]]
) -> list[Flag]:
    """What is to be known of a notebook's own cells.

    Args:
        notebook: restored.
        outputs: what each of its code cells showed, before anything is made of it.
        about: what the runner wrote down of each.
    """
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    found: list[Flag] = []
    for number, (cell, shown, noted) in enumerate(zip(code, outputs, about, strict=True), 1):
        graded = cell.metadata.get("nbgrader", {})
        name = str(graded.get("grade_id", "")) if graded.get("grade") or graded.get("solution") else ""
        happened = noted.get("happened")
        codes = [_HAPPENED[one] for one in happened if one in _HAPPENED] if isinstance(happened, list) else []
        if is_grade(cell) and not is_solution(cell):
            codes += _odd_outputs(cell, shown)
        found += [Flag(one, name, number) for one in codes]
    return found


_HAPPENED = {
    "ended": Code.PYTHON_ENDED, "time": Code.TOO_LONG, "memory": Code.TOO_MUCH_MEMORY, "not-run": Code.NOT_RUN,
    "strange": Code.MESSAGES_FORGED,
}  # fmt: skip


def _odd_outputs(cell: NotebookNode, shown: list[NotebookNode]) -> list[Code]:
    results = sum(output.output_type == "execute_result" for output in shown)
    found = [Code.RESULT_ELSEWHERE] if results > ends_in_value(cell.source) else []
    if any(output.output_type == "stream" and output.name == "stderr" for output in shown):
        found.append(Code.WROTE_ERRORS)
    return found
