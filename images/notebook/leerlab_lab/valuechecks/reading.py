"""Takes a value check cell apart, without running it: what is asked, what is prepared, and what is expected.

A value check cell imports `check` from `leerlab_lab.checks` and consists of imports, assignments and calls, which
prepare, and calls of `check`. What is asked and prepared is made of names, attributes, items, calls, arithmetic and
literals; what is expected is literals. So the two can be told apart: the first goes to the student's code, the second
never does.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from leerlab_lab.valuechecks.expectation import Expectation, WrongCheck

MODULE, CHECK = "leerlab_lab.checks", "check"
_LESSON, _SAY = "leerlab_lab.lesson", "say"
BEGIN_HIDDEN, END_HIDDEN = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"
LARGEST_CELL = 2**18
_IMPORTED = re.compile(rf"^\s*(?:from\s+{re.escape(MODULE)}\s+import\b|import\s+{re.escape(MODULE)}\b)", re.MULTILINE)
_CALLED = re.compile(rf"^\s*{CHECK}\(", re.MULTILINE)
_WORDS = {"gives", "one_of", "at_least", "at_most", "kind", "within", "right", "any_order", "any_case"}
_NOT_FINITE = {"nan", "inf", "-inf"}
# What may be asked: nothing that compares, decides, repeats or defines. A question such as `x == 3` would carry the
# expectation to the student's code, and could be answered by True.
_ASKED = (
    ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.Call, ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict,
    ast.UnaryOp, ast.BinOp, ast.keyword, ast.expr_context, ast.USub, ast.UAdd,
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.MatMult,
)  # fmt: skip
_TARGETS = (ast.Name, ast.Attribute, ast.Subscript)


class Why(StrEnum):
    """Why a cell that imports `check` is no value check cell."""

    SYNTAX = "syntax"
    IMPORT = "import"
    STATEMENT = "statement"
    QUESTION = "question"
    EXPECTED = "expected"
    NONE = "none"


class Mixed(Exception):
    """The cell imports `check`, but what it does cannot be told apart.

    Args:
        why: what is in the way.
        line: where, from 1.
        about: more about it, in English; may be empty.
    """

    def __init__(self, why: Why, line: int, about: str = "") -> None:
        self.why, self.line, self.about = why, line, about
        super().__init__(f"line {line}: {about or why}")


@dataclass(frozen=True)
class Step:
    """One statement of a value check cell.

    Args:
        code: what the student's side evaluates.
        hidden: whether it stands among the hidden tests.
        expected: what the answer is compared with; None for what only prepares.
    """

    code: str
    hidden: bool
    expected: Expectation | None = None


def is_meant(source: str) -> bool:
    """Whether a cell's source asks to be a value check cell."""
    return len(source) <= LARGEST_CELL and _IMPORTED.search(source) is not None


def calls_without_import(source: str) -> bool:
    """Whether a cell calls `check` and leaves importing it to another cell, so that its source alone cannot tell."""
    return not is_meant(source) and _CALLED.search(source) is not None


def read(source: str, language: str = "nl") -> list[Step]:
    """The steps of a value check cell, in order.

    Args:
        source: of the cell.
        language: `nl` or `en`, of what is said.

    Raises:
        Mixed: it is none.
    """
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise Mixed(Why.SYNTAX, error.lineno or 1) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise Mixed(Why.SYNTAX, 1) from error
    hidden = _hidden_lines(source)
    reader = _Reader(language, _says(body))
    try:
        steps = [step for one in body if (step := reader.step(one, one.lineno in hidden)) is not None]
    except RecursionError as error:
        raise Mixed(Why.SYNTAX, 1) from error
    if not any(step.expected for step in steps):
        raise Mixed(Why.NONE, 1)
    return steps


def hidden_statements(source: str) -> list[str]:
    """The text of each statement among a cell's hidden tests; of a check from its beginning to what it expects.

    Where the cell is not Python, its hidden lines.
    """
    hidden = _hidden_lines(source)
    lines = source.splitlines()
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return [lines[number - 1] for number in sorted(hidden) if lines[number - 1].lstrip()[:1] not in ("#", "")]
    found = []
    for one in body:
        if one.lineno not in hidden:
            continue
        end: ast.stmt | ast.expr = one
        if isinstance(one, ast.Expr) and isinstance(one.value, ast.Call):
            given = {keyword.arg: keyword.value for keyword in one.value.keywords}
            end = next((given[name] for name in ("gives", "one_of") if name in given), one)
        part = ast.Constant(0, lineno=one.lineno, col_offset=one.col_offset)
        part.end_lineno, part.end_col_offset = end.end_lineno, end.end_col_offset
        found.append(ast.get_source_segment(source, part) or "")
    return found


class _Reader:
    def __init__(self, language: str, says: set[str]) -> None:
        self._language, self._says = language, says

    def step(self, one: ast.stmt, hidden: bool) -> Step | None:
        """What a statement is; None where there is nothing to do."""
        if isinstance(one, ast.ImportFrom) and one.module == MODULE:
            if [(alias.name, alias.asname) for alias in one.names] != [(CHECK, None)]:
                raise Mixed(Why.IMPORT, one.lineno)
            return None
        if isinstance(one, ast.ImportFrom) and one.module == _LESSON and all(a.name == _SAY for a in one.names):
            return None
        if isinstance(one, ast.Import | ast.ImportFrom):
            names = [one.module or ""] if isinstance(one, ast.ImportFrom) else [alias.name for alias in one.names]
            if MODULE in names or "*" in [alias.name for alias in one.names]:
                raise Mixed(Why.IMPORT, one.lineno)
            return Step(ast.unparse(one), hidden)
        if isinstance(one, ast.Expr):
            if isinstance(one.value, ast.Constant):
                return None
            if isinstance(one.value, ast.Call):
                return self._call(one.value, hidden)
        if isinstance(one, ast.Assign | ast.AugAssign):
            self._assigned(one)
            return Step(ast.unparse(one), hidden)
        raise Mixed(Why.STATEMENT, one.lineno, type(one).__name__)

    def _call(self, call: ast.Call, hidden: bool) -> Step:
        if not (isinstance(call.func, ast.Name) and call.func.id == CHECK):
            self._asked(call)
            return Step(ast.unparse(call), hidden)
        if len(call.args) != 1 or isinstance(call.args[0], ast.Starred):
            raise Mixed(Why.EXPECTED, call.lineno, "check takes one question, and names for everything else")
        self._asked(call.args[0])
        return Step(ast.unparse(call.args[0]), hidden, self._expected(call))

    def _assigned(self, one: ast.Assign | ast.AugAssign) -> None:
        targets = one.targets if isinstance(one, ast.Assign) else [one.target]
        for target in targets:
            parts = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
            for part in parts:
                if not isinstance(part, _TARGETS):
                    raise Mixed(Why.STATEMENT, part.lineno)
                self._asked(part)
        self._asked(one.value)

    def _asked(self, question: ast.expr) -> None:
        """Refuse what cannot be asked."""
        for node in ast.walk(question):
            if not isinstance(node, _ASKED):
                line = getattr(node, "lineno", question.lineno)
                raise Mixed(Why.QUESTION, line, type(node).__name__)
            if isinstance(node, ast.Name) and node.id in {CHECK, *self._says}:
                raise Mixed(Why.QUESTION, node.lineno, node.id)
            if isinstance(node, ast.keyword) and node.arg is None:
                raise Mixed(Why.QUESTION, node.value.lineno, "**")

    def _expected(self, call: ast.Call) -> Expectation:
        given: dict[str, Any] = {}
        for keyword in call.keywords:
            value = keyword.value
            if keyword.arg in _WORDS:
                given[keyword.arg] = _literal(value)
            elif keyword.arg == "wrong":
                given["wrong"] = self._wrong(value)
            elif keyword.arg == "otherwise":
                given["otherwise"] = self._text(value)
            else:
                raise Mixed(Why.EXPECTED, value.lineno, f"check knows no {keyword.arg or '**'}")
        try:
            return Expectation.made(**given)
        except WrongCheck as error:
            raise Mixed(Why.EXPECTED, call.lineno, str(error)) from error

    def _wrong(self, node: ast.expr) -> list[tuple[Any, str]]:
        if isinstance(node, ast.Dict) and None not in node.keys:
            pairs: Sequence[tuple[Any, ast.expr]] = list(zip(node.keys, node.values, strict=True))
        elif isinstance(node, ast.List | ast.Tuple):
            pairs = [_pair(one) for one in node.elts]
        else:
            raise Mixed(Why.EXPECTED, node.lineno, "wrong is {value: text}, or a list of (value, text)")
        return [(_literal(value), self._text(message)) for value, message in pairs]

    def _text(self, node: ast.expr) -> str:
        """A text, or one in two languages by `say`."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in self._says:
            both = dict(zip(("nl", "en"), node.args, strict=False))
            both |= {str(keyword.arg): keyword.value for keyword in node.keywords}
            if set(both) == {"nl", "en"} and len(node.args) + len(node.keywords) == 2:
                texts = {name: one.value for name, one in both.items() if isinstance(one, ast.Constant)}
                if all(isinstance(texts.get(name), str) for name in both):
                    return str(texts["en" if self._language == "en" else "nl"])
        raise Mixed(Why.EXPECTED, node.lineno, "what is said is a text, or say with two texts")


def _says(body: list[ast.stmt]) -> set[str]:
    """The names by which the cell knows `say`; where it imports none, the notebook's own."""
    found = {
        alias.asname or alias.name
        for one in body
        if isinstance(one, ast.ImportFrom) and one.module == _LESSON
        for alias in one.names
        if alias.name == _SAY
    }
    return found or {_SAY}


def _pair(node: ast.expr) -> tuple[ast.expr, ast.expr]:
    if not isinstance(node, ast.Tuple) or len(node.elts) != 2:
        raise Mixed(Why.EXPECTED, node.lineno, "wrong is {value: text}, or a list of (value, text)")
    return node.elts[0], node.elts[1]


def _literal(node: ast.expr) -> Any:
    """A literal's value; `float("nan")`, `float("inf")` and `float("-inf")` are literals too.

    Raises:
        Mixed: it is none.
    """
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "float" and len(node.args) == 1 and not node.keywords:
        argument = node.args[0]
        if isinstance(argument, ast.Constant) and argument.value in _NOT_FINITE:
            return float(argument.value)
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return [_literal(one) for one in node.elts]
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_key(key): _literal(one) for key, one in zip(node.keys, node.values, strict=True) if key is not None}
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError) as error:
        raise Mixed(Why.EXPECTED, node.lineno, "what is expected is a literal") from error


def _key(node: ast.expr) -> Any:
    value = _literal(node)
    return tuple(value) if isinstance(value, list) else value


def _hidden_lines(source: str) -> set[int]:
    """The numbers of the lines that nbgrader takes out of the release."""
    hidden, inside = set(), False
    for number, line in enumerate(source.splitlines(), 1):
        if BEGIN_HIDDEN in line:
            inside = True
        if inside:
            hidden.add(number)
        if END_HIDDEN in line:
            inside = False
    return hidden
