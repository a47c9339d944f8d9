"""The workshop of the assignment: wrong solutions to try checks on, the explorable, and the proof of a whole assignment."""

from __future__ import annotations

import html
import inspect
import json
import tempfile
import textwrap
from pathlib import Path

import ipywidgets as widgets
from IPython.display import HTML, display
from leerlab_lab import coursecheck
from leerlab_lab.lesson import current, say

NAME = "gemiddelde_stand"
CHECK = "controle"
MARK = "#" * 3
# What a check cell begins with: it says its message also when the function stumbles.
SEE = f'''assert "{NAME}" in globals(), "Voer eerst de cel hierboven uit."


def _zie(standen, uitkomst, melding):
    try:
        gekregen = {NAME}(standen)
    except Exception as fout:
        raise AssertionError(melding) from fout
    if uitkomst is None or gekregen is None:
        assert gekregen is uitkomst, melding
    else:
        assert abs(gekregen - uitkomst) < 1e-9, melding


'''


def reference(standen):
    """The mean of the levels that were measured; None when none was."""
    gemeten = [stand for stand in standen if stand is not None]
    return sum(gemeten) / len(gemeten) if gemeten else None


def _counts_missing_as_zero(standen):
    return sum(stand or 0 for stand in standen) / len(standen) if standen else None


def _divides_by_all(standen):
    gemeten = [stand for stand in standen if stand is not None]
    return sum(gemeten) / len(standen) if gemeten else None


def _only_adds(standen):
    gemeten = [stand for stand in standen if stand is not None]
    return sum(gemeten) if gemeten else None


def _drops_zero(standen):
    gemeten = [stand for stand in standen if stand]
    return sum(gemeten) / len(gemeten) if gemeten else None


def _zero_for_nothing(standen):
    gemeten = [stand for stand in standen if stand is not None]
    return sum(gemeten) / len(gemeten) if gemeten else 0


WRONG = {
    "telt ontbrekend als 0 / counts missing as 0": _counts_missing_as_zero,
    "deelt door alles / divides by all": _divides_by_all,
    "telt alleen op / only adds": _only_adds,
    "laat 0 weg / drops 0": _drops_zero,
    "geeft 0 als er niets is / gives 0 for nothing": _zero_for_nothing,
}
INPUTS = ([1.0, 3.0], [2.0], [1.0, None, 3.0], [0.0, 2.0], [None, None], [])


def same(got, expected):
    """Whether an answer is the expected one, rounding aside."""
    if got is None or expected is None or isinstance(got, bool):
        return got is expected
    try:
        return abs(got - expected) < 1e-9
    except TypeError:
        return False


def answer(function, levels):
    """What a function gives, or what it stumbles over, as text."""
    try:
        return function(list(levels))
    except Exception as error:  # noqa: BLE001 - somebody's function may raise anything
        return type(error).__name__


def caught(function, checks):
    """Whether one of the checks sees that a function is wrong.

    Args:
        function: the function.
        checks: rows of (levels, expected, message).
    """
    return any(not same(answer(function, levels), expected) for levels, expected, *_ in checks)


def verken_controle():
    """The explorable: choose a wrong solution and an input, and see whether a check with it would catch the mistake.

    Works with a keyboard (Tab, arrow keys); the words are announced by a screen reader. Returns the widget.
    """
    wide = {"description_width": "initial"}
    wrong = widgets.Dropdown(
        options=list(WRONG),
        description=say("foute oplossing:", "wrong solution:"),
        style=wide,
        layout={"width": "460px"},
    )
    levels = widgets.Dropdown(
        options=[(repr(each), each) for each in INPUTS], description=say("invoer:", "input:"), style=wide
    )
    words = widgets.HTML()

    def draw(_=None):
        got, right = answer(WRONG[wrong.value], levels.value), reference(levels.value)
        found = not same(got, right)
        text = say(
            f"De foute oplossing geeft {got}. Goed is {right}. "
            + ("Deze invoer vangt de fout." if found else "Deze invoer vangt de fout niet."),
            f"The wrong solution gives {got}. Right is {right}. "
            + ("This input catches the mistake." if found else "This input does not catch the mistake."),
        )
        rows = "".join(
            "<tr><td style='text-align:left'>"
            + html.escape(name)
            + "</td>"
            + "".join(
                f"<td>{say('ja', 'yes') if not same(answer(function, each), reference(each)) else '–'}</td>"
                for each in INPUTS
            )
            + "</tr>"
            for name, function in WRONG.items()
        )
        head = "".join(f"<th>{html.escape(repr(each))}</th>" for each in INPUTS)
        words.value = (
            f'<p role="status" style="line-height:1.5"><strong>→</strong> {html.escape(text)}</p>'
            f"<table><caption>{say('Welke invoer vangt welke fout?', 'Which input catches which mistake?')}</caption>"
            f"<tr><th></th>{head}</tr>{rows}</table>"
        )

    wrong.observe(draw, names="value")
    levels.observe(draw, names="value")
    draw()
    return widgets.VBox([wrong, levels, words])


explore_check = verken_controle


def beproef(functie, zichtbaar, verborgen, fouten, ander=None):
    """Build an nbgrader assignment and let Leerlab prove it: release, reference, untouched, wrong and other solutions.

    Args:
        functie: the right function, called `gemiddelde_stand`.
        zichtbaar: rows of (levels, expected, message) that learners see.
        verborgen: rows of (levels, expected, message) that they do not see.
        fouten: rows of (name, misconception, function, part of the message that it must get).
        ander: a right function in another style.

    Returns:
        The result of `leerlab_lab.coursecheck.check`.
    """
    wrong = [
        {
            "name": name,
            "misconception": {"nl": misconception, "en": misconception},
            "loses": CHECK,
            "message": message,
            "cells": {"functie": _renamed(function)},
        }
        for name, misconception, function, message in fouten
    ]
    other = [{"name": "ander", "cells": {"functie": _renamed(ander)}}] if ander else []
    with tempfile.TemporaryDirectory() as folder:
        notebook = Path(folder) / "opdracht.ipynb"
        notebook.write_text(json.dumps(_notebook(functie, zichtbaar, verborgen)), encoding="utf-8")
        return coursecheck.check(notebook, wrong=wrong, other=other, language=current())


prove = beproef


def _renamed(function):
    """A function's source under the name that the assignment asks for."""
    source = textwrap.dedent(inspect.getsource(function)).replace(f"def {function.__name__}(", f"def {NAME}(", 1)
    # The teacher's own version of this very assignment has marks around its answers.
    return "".join(line for line in source.splitlines(keepends=True) if f"{MARK} " not in line)


def _notebook(function, visible, hidden):
    head, _, body = _renamed(function).partition("\n")
    solution = f"{head}\n    {MARK} BEGIN SOLUTION\n{body.rstrip()}\n    {MARK} END SOLUTION"
    lines = [_line(*row) for row in visible]
    lines += (
        [f"{MARK} BEGIN HIDDEN TESTS", *(_line(*row) for row in hidden), f"{MARK} END HIDDEN TESTS"] if hidden else []
    )
    return {
        "cells": [
            {"cell_type": "markdown", "id": "vraag", "metadata": {}, "source": f"Maak `{NAME}(standen)` af."},
            {
                "cell_type": "code",
                "execution_count": None,
                "id": "voorbeeld",
                "metadata": {},
                "outputs": [],
                "source": "standen = [1.0, None, 3.0]\nprint(len(standen))",
            },
            _cell("functie", solution, solution=True, locked=False),
            _cell(CHECK, SEE + "\n".join(lines), grade=True, points=2),
        ],
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _line(levels, expected, message):
    return f"_zie({levels!r}, {expected!r}, {message!r})"


def _cell(name, source, *, grade=False, solution=False, locked=True, points=None):
    meta = {
        "grade": grade,
        "grade_id": name,
        "locked": locked,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }
    if points is not None:
        meta["points"] = points
    return {
        "cell_type": "code", "execution_count": None, "id": name, "metadata": {"nbgrader": meta}, "outputs": [],
        "source": source,
    }  # fmt: skip


def toon(checks):
    """Show which of the wrong solutions a list of checks catches.

    Args:
        checks: rows of (levels, expected, message).
    """
    rows = "".join(
        f"<tr><td style='text-align:left'>{html.escape(name)}</td><td>{say('ja', 'yes') if caught(function, checks) else say('nee', 'no')}</td></tr>"
        for name, function in WRONG.items()
    )
    display(HTML(f"<table><tr><th></th><th>{say('gevangen', 'caught')}</th></tr>{rows}</table>"))


show = toon
