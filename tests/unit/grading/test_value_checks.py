"""Value checks without a student's code: what a cell may say, what an answer may be, and how the two are compared."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

# What runs in labs is a distribution of its own.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "images/notebook"))

from leerlab_lab import lesson
from leerlab_lab.checks import CheckFailed, check
from leerlab_lab.valuechecks.expectation import Expectation, WrongCheck
from leerlab_lab.valuechecks.plain import MOST_VALUES, NoPlainValue, NotPlain, Raised, decoded, encoded, plain
from leerlab_lab.valuechecks.reading import Mixed, Why, calls_without_import, hidden_statements, is_meant, read
from leerlab_lab.valuechecks.sentences import Manner, complaint

IMPORT = "from leerlab_lab.checks import check\n"
CELL = (
    IMPORT
    + """from leerlab_lab.lesson import say as _say
import numpy as np
_rows = np.array([1, 2])
check(mean_of(_rows), gives=1.5, otherwise=_say("nee", en="no"))
### BEGIN HIDDEN TESTS
check(table["a"].iloc[1:3], gives=[float("nan"), -1], wrong={3: "drie"})
### END HIDDEN TESTS
_rows = np.sort(_rows)
"""
)


def test_a_cell_is_taken_apart_in_order() -> None:
    steps = read(CELL, "en")
    assert [(step.code, step.hidden, step.expected is not None) for step in steps] == [
        ("import numpy as np", False, False),
        ("_rows = np.array([1, 2])", False, False),
        ("mean_of(_rows)", False, True),
        ("table['a'].iloc[1:3]", True, True),
        ("_rows = np.sort(_rows)", False, False),
    ]
    first, second = steps[2].expected, steps[3].expected
    assert first is not None and second is not None
    assert (first.gives, first.otherwise) == (1.5, "no")
    assert second.met_by([math.nan, -1]) and second.told_wrong(3) == "drie"
    assert read(CELL, "nl")[2].expected != first


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("assert x == 1", Why.STATEMENT),
        ("for i in y: check(i, gives=1)", Why.STATEMENT),
        ("def f(): pass", Why.STATEMENT),
        ("if x: check(x, gives=1)", Why.STATEMENT),
        ("x", Why.STATEMENT),
        ("del x", Why.STATEMENT),
        ("check(x == 3, gives=True)", Why.QUESTION),
        ("check(x and y, gives=1)", Why.QUESTION),
        ("check(not x, gives=True)", Why.QUESTION),
        ("check([a for a in x], gives=[1])", Why.QUESTION),
        ("check((lambda: 3)(), gives=3)", Why.QUESTION),
        ("check(f'{x}', gives='a')", Why.QUESTION),
        ("check((y := x), gives=3)", Why.QUESTION),
        ("y = x if x else 3", Why.QUESTION),
        ("f(check)", Why.QUESTION),
        ("f(**x)", Why.QUESTION),
        ("check(x, gives=y)", Why.EXPECTED),
        ("check(x, gives=f(1))", Why.EXPECTED),
        ("check(x)", Why.EXPECTED),
        ("check(x, 3, gives=3)", Why.EXPECTED),
        ("check(x, gives=3, ten=1)", Why.EXPECTED),
        ("check(x, gives=3, **y)", Why.EXPECTED),
        ("check(x, gives=3, otherwise=f'{x}')", Why.EXPECTED),
        ("check(x, gives=3, wrong={3: 'drie'})", Why.EXPECTED),
        ("check(x, gives=3, wrong=[3])", Why.EXPECTED),
        ("check(x, kind='thing')", Why.EXPECTED),
        ("check(x, gives=3, right=0.5)", Why.EXPECTED),
        ("check(*x, gives=3)", Why.EXPECTED),
        ("from leerlab_lab.checks import check as c", Why.IMPORT),
        ("import leerlab_lab.checks", Why.IMPORT),
        ("from numpy import *", Why.IMPORT),
        ("%time x", Why.SYNTAX),
        ("check(" + "(" * 3000 + ")" * 3000 + ", gives=1)", Why.SYNTAX),
        ("y = 3", Why.NONE),
    ],
)
def test_what_cannot_be_told_apart_is_no_value_check(line: str, why: Why) -> None:
    with pytest.raises(Mixed) as raised:
        read(IMPORT + line)
    assert raised.value.why is why


def test_a_cell_is_meant_as_one_when_it_imports_check() -> None:
    assert is_meant(CELL) and is_meant("x = 1\n  " + IMPORT) and is_meant("import leerlab_lab.checks")
    assert not is_meant("# from leerlab_lab.checks import check") and not is_meant("check(x, gives=1)")
    assert calls_without_import("check(x, gives=1)") and not calls_without_import(CELL)


def test_what_is_hidden_is_told_without_what_it_says() -> None:
    assert hidden_statements(CELL) == ['check(table["a"].iloc[1:3], gives=[float("nan"), -1]']
    spread = "### BEGIN HIDDEN TESTS\ncheck(\n    'é', wrong={1: 'x'}, gives=[\n1],\n    otherwise='y',\n)\n_a = f(1)"
    assert hidden_statements(spread) == ["check(\n    'é', wrong={1: 'x'}, gives=[\n1]", "_a = f(1)"]
    assert hidden_statements("### BEGIN HIDDEN TESTS\n%time x\n### END HIDDEN TESTS\ny") == ["%time x"]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text() | st.integers(), inner, max_size=5),
    max_leaves=30,
)


@given(PLAIN)
def test_plain_data_arrives_as_it_was_sent(value: Any) -> None:
    told = json.loads(json.dumps(encoded(value), allow_nan=False))
    assert Expectation.made(gives=value).met_by(decoded(told))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["number", "pairs", "other", "x"]), inner, max_size=3)
    ),
    max_leaves=30,
)


@given(JSON)
def test_whatever_is_sent_is_plain_data_or_refused(told: Any) -> None:
    try:
        value = decoded(told)
    except NotPlain:
        return
    # Nothing but types of our own: comparing it runs no code of a sender's.
    assert only_plain(value)
    complaint(value, Expectation.made(gives=[1, {"a": 2}]), Manner("nl"))


def only_plain(value: Any) -> bool:
    if type(value) is list or type(value) is tuple:
        return all(map(only_plain, value))
    if type(value) is dict:
        return all(only_plain(one) for pair in value.items() for one in pair)
    return value is None or type(value) in (bool, int, float, str, NoPlainValue)


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        ((1, 2), [1, 2]),
        ({2, 1}, [1, 2]),
        (range(3), [0, 1, 2]),
        ({"a": (1,)}, {"a": [1]}),
        ({(1, 2): 3}, {(1, 2): 3}),
        ({"a": 1}.values(), [1]),
        (print, NoPlainValue()),
        (2j, NoPlainValue()),
        (b"x", NoPlainValue()),
        ([0] * (MOST_VALUES + 1), NoPlainValue(True)),
        ("x" * 10**6, NoPlainValue(True)),
        (10**400, NoPlainValue(True)),
    ],
)
def test_other_values_become_plain_ones(value: Any, becomes: Any) -> None:
    assert plain(value) == becomes


def test_what_holds_itself_is_too_much() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert plain(endless) == NoPlainValue(True)


MET = [
    (2, {"gives": 2.0}),
    (0.1 + 0.2, {"gives": 0.3}),
    (1e12 + 1e2, {"gives": 1e12}),
    (1.1, {"gives": 1.0, "within": 0.1}),
    ("Ja  wel", {"gives": "ja wel", "any_case": True}),
    ([3, 1, 2], {"gives": [1, 2, 3], "any_order": True}),
    (["a", "b", "b"], {"gives": ["a", "b", "c"], "right": 0.66}),
    (None, {"gives": None}),
    (7, {"one_of": [5, 7]}),
    ([], {"gives": []}),
    ({"a": [1.0]}, {"gives": {"a": [1]}}),
    (5, {"at_least": 5, "at_most": 5}),
    (9, {"wrong": {8: "acht"}}),
    ("abc", {"kind": "text", "at_least": 3}),
    ([1], {"kind": "list", "at_most": 1}),
    (True, {"kind": "yes-no"}),
    (3, {"kind": "number"}),
    (math.inf, {"gives": math.inf}),
    (math.nan, {"gives": math.nan}),
]
NOT_MET = [
    (True, {"gives": 1}),
    (1, {"gives": True}),
    ("2", {"gives": 2}),
    (2.001, {"gives": 2}),
    ([1, 2], {"gives": [2, 1]}),
    ([1, 1, 2], {"gives": [1, 2, 2], "any_order": True}),
    (["a"], {"gives": ["a", "b"], "right": 0.5}),
    (3, {"one_of": [5]}),
    ("ja", {"gives": "Ja"}),
    ({"a": 1}, {"gives": {"a": 1, "b": 2}}),
    ({1: 1}, {"gives": {True: 1}}),
    (None, {"gives": 0}),
    (math.nan, {"at_least": 0}),
    (math.nan, {"at_most": 0}),
    (True, {"at_least": 0}),
    ("5", {"at_least": 0}),
    (3.5, {"kind": "whole"}),
    (True, {"kind": "whole"}),
    (8, {"wrong": {8: "acht"}}),
    (math.inf, {"gives": 1e300}),
    (Raised("ValueError"), {"wrong": {8: "acht"}}),
    (NoPlainValue(), {"wrong": {8: "acht"}}),
    ([], {"gives": [1], "right": 0.1}),
]


@pytest.mark.parametrize(("answer", "words"), MET)
def test_a_right_answer_is_met(answer: Any, words: dict[str, Any]) -> None:
    assert Expectation.made(**words).met_by(answer)
    assert complaint(answer, Expectation.made(**words), Manner("nl")) == ""


@pytest.mark.parametrize(("answer", "words"), NOT_MET)
@pytest.mark.parametrize("hidden", [False, True])
def test_another_answer_is_not_and_a_sentence_says_so(answer: Any, words: dict[str, Any], hidden: bool) -> None:
    assert not Expectation.made(**words).met_by(answer)
    for language in ("nl", "en"):
        assert complaint(answer, Expectation.made(**words), Manner(language, hidden, marking=True))


def test_where_marks_are_given_no_sentence_tells_the_answer_and_of_a_hidden_check_nothing() -> None:
    secret, expected = 93715, Expectation.made(gives=40826)
    for answer in (secret, [secret], str(secret), {secret: secret}, Raised(f"E{secret}"), float(secret)):
        for hidden in (False, True):
            said = complaint(answer, expected, Manner("en", hidden, marking=True))
            assert str(secret) not in said
            assert "40826" not in said or not hidden
    assert "93715" in complaint(secret, expected, Manner("en"))
    assert complaint(Raised("ZeroDivisionError"), expected, Manner("en", hidden=True, marking=True)) == (
        "In a hidden check your code stops with an error."
    )
    assert complaint(Raised("ZeroDivisionError"), expected, Manner("en", marking=True)) == (
        "Your code stops with an error here."
    )
    assert complaint("ja", expected, Manner("nl", marking=True)) == "Hier hoort een getal."
    assert complaint("ja", expected, Manner("nl")) == "Hier hoort een getal. Er komt tekst uit."


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"gives": 1, "one_of": [1]},
        {"gives": 1, "wrong": {1: "een"}},
        {"gives": print},
        {"one_of": 3},
        {"gives": [1], "right": 2},
        {"gives": 1, "within": -1},
        {"gives": 1, "at_least": "a"},
        {"gives": 1, "wrong": {2: 3}},
        {"gives": [0] * 2000, "any_order": True},
        {"gives": 1, "otherwise": 3},
        {"kind": "nothing"},
    ],
)
def test_a_check_that_cannot_mean_anything_is_refused(words: dict[str, Any]) -> None:
    with pytest.raises(WrongCheck):
        Expectation.made(**words)


def test_in_a_lab_a_check_speaks_the_notebooks_language(monkeypatch: pytest.MonkeyPatch) -> None:
    check([1, 2], gives=(1, 2))
    with pytest.raises(CheckFailed, match=r"^Hier moet 2 uitkomen\. Nu komt er 3 uit\.$"):
        check(3, gives=2)
    lesson.language("en")
    try:
        with pytest.raises(CheckFailed, match=r"^Nothing comes out"):
            check(None, gives=2)
        # Where marks are given a mixed cell runs as an ordinary test, and its sentence goes into feedback.
        monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
        with pytest.raises(CheckFailed, match=r"^A hidden check is not right yet"):
            check(3, gives=2)
    finally:
        lesson.language("nl")


@pytest.mark.parametrize("text", ["", "x = 1", "from leerlab_lab import lesson\nlesson.language('nl')"])
def test_a_notebook_is_dutch_unless_its_first_code_cell_says_otherwise(text: str) -> None:
    english = {"cell_type": "code", "source": "from leerlab_lab import lesson\nlesson.language('en')"}
    assert lesson.language_of([{"cell_type": "markdown", "source": "x"}, english]) == "en"
    assert lesson.language_of([{"cell_type": "code", "source": text}, english]) == "nl"
