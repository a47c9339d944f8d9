"""What the code of a test cell says: its checks, and whether it ends in a value. It is read and never run here.

A check is a statement that is sure to be carried out and fails by an exception: an `assert`, or a call of one of the
known functions of numpy, pandas and unittest that compare two values; at the top of the cell, or in a loop over values
that stand there. `variant` writes the cell anew with one check turned into one that fails, or into one that says the
same as before. Some of both are written plainly, as the test itself is, and some choose from a pair by its index:
neither how one is written nor which values are in it tells what it should come to.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Iterator

from IPython.core.inputtransformer2 import TransformerManager

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
# Fail when their first two arguments are not as equal as they should be, and so when the second is some other text.
_COMPARE = {
    "assert_equal", "assert_allclose", "assert_almost_equal", "assert_approx_equal", "assert_array_equal",
    "assert_array_almost_equal", "assert_array_almost_equal_nulp", "assert_frame_equal", "assert_series_equal",
    "assert_index_equal", "assertEqual", "assertAlmostEqual", "assertListEqual", "assertDictEqual", "assertTupleEqual",
    "assertSetEqual", "assertSequenceEqual", "assertCountEqual", "assert_close",
}  # fmt: skip


def parsed(source: str) -> ast.Module | None:
    """A cell's code as IPython would run it; None when it is no Python."""
    try:
        code = TransformerManager().transform_cell(source)
        tree = compile(code, "<cell>", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    assert isinstance(tree, ast.Module)
    return tree


def ends_in_value(source: str) -> bool:
    """Whether a cell's last line can show a result; what cannot be read as Python is given the benefit of the doubt."""
    tree = parsed(source)
    return tree is None or (bool(tree.body) and isinstance(tree.body[-1], ast.Expr))


def variant(source: str, chance: random.Random, *, fails: bool, plain: bool) -> str | None:
    """The cell with one of its checks turned.

    Args:
        source: the cell's code.
        chance: chooses the check and the values.
        fails: whether the check is to fail, whatever the code under test does; else it says the same as before.
        plain: written with the value itself; else as one of a pair.

    Returns:
        Code; None when the cell has no check that is known.
    """
    tree = parsed(source)
    found = list(_checks(tree.body)) if tree is not None else []
    if tree is None or not found:
        return None
    check = chance.choice(found)

    def one_of(value: ast.expr, other: ast.expr) -> ast.expr:
        if plain:
            return other if fails else value
        first = chance.random() < 0.5
        pair = ast.Tuple([value, other] if first else [other, value], ast.Load())
        return ast.Subscript(pair, ast.Constant(int(first is fails)), ast.Load())

    if isinstance(check, ast.Assert):
        _turn_assert(check, chance, one_of)
    else:
        call = check.value
        assert isinstance(call, ast.Call)
        call.args[1] = one_of(call.args[1], ast.Constant(_text(chance)))
    return ast.unparse(ast.fix_missing_locations(tree))


def showing(source: str, number: float) -> str | None:
    """The cell with a number as the value of its last line; None when its last line shows none."""
    tree = parsed(source)
    if tree is None or not tree.body or source.rstrip().endswith(";"):
        return None
    last = tree.body[-1]
    if not isinstance(last, ast.Expr) or isinstance(last.value, ast.Constant) or _compares(last):
        return None
    pair = ast.Tuple([last.value, ast.Constant(number)], ast.Load())
    last.value = ast.Subscript(pair, ast.Constant(1), ast.Load())
    return ast.unparse(ast.fix_missing_locations(tree))


def _checks(body: list[ast.stmt]) -> Iterator[ast.Assert | ast.Expr]:
    for statement in body:
        if isinstance(statement, ast.Assert) or (isinstance(statement, ast.Expr) and _compares(statement)):
            yield statement
        elif isinstance(statement, ast.For) and _has_values(statement.iter):
            leaves = [one for one in ast.walk(statement) if isinstance(one, ast.Break | ast.Continue)]
            if not leaves:
                yield from _checks(statement.body)


def _compares(statement: ast.Expr) -> bool:
    call = statement.value
    if not isinstance(call, ast.Call) or len(call.args) < 2 or any(isinstance(one, ast.Starred) for one in call.args):
        return False
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name in _COMPARE


def _has_values(values: ast.expr) -> bool:
    if isinstance(values, ast.Tuple | ast.List):
        return any(not isinstance(one, ast.Starred) for one in values.elts)
    return (
        isinstance(values, ast.Call)
        and getattr(values.func, "id", "") == "range"
        and len(values.args) == 1
        and isinstance(values.args[0], ast.Constant)
        and isinstance(values.args[0].value, int)
        and values.args[0].value > 0
    )


def _turn_assert(check: ast.Assert, chance: random.Random, one_of: Callable[[ast.expr, ast.expr], ast.expr]) -> None:
    test = check.test
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
        other = _other(test.comparators[0], chance)
        if other is not None:
            test.comparators[0] = one_of(test.comparators[0], other)
            return
    one, another = chance.sample(range(1000, 10_000), 2)
    told = one_of(ast.Constant(one), ast.Constant(another))
    check.test = ast.BoolOp(ast.And(), [test, ast.Compare(told, [ast.Eq()], [ast.Constant(one)])])


def _other(value: ast.expr, chance: random.Random) -> ast.expr | None:
    """Another value of the same type than a constant, so far from it that no code makes it by chance."""
    constant = value.value if isinstance(value, ast.Constant) else None
    if isinstance(constant, bool):
        return None
    if isinstance(constant, int | float):
        return ast.Constant(constant + chance.randrange(10_000, 10_000_000))
    return ast.Constant(_text(chance)) if isinstance(constant, str) else None


def _text(chance: random.Random) -> str:
    return "".join(chance.choices(_LETTERS, k=9))
