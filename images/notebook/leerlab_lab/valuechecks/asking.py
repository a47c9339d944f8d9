"""Asks: evaluates a value check cell's questions among the student's names, and tells the answers as plain data.

Runs beside the student's code, which can change everything here. So nothing that is expected ever comes here, and what
is told is worth no more than the student's own word: it counts only if it is the right answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from IPython.display import publish_display_data

from leerlab_lab.valuechecks.plain import encoded

ANSWER = "application/vnd.leerlab.answer+json"
"""What an answer is displayed as: a text, `{"number": ..., "value": ...}` or `{"number": ..., "error": name}`."""


def answer(names: dict[str, Any], steps: Iterable[tuple[int, bool, str]]) -> None:
    """Take every step in order, and display the answer to each question as soon as it is known.

    Args:
        names: the notebook's.
        steps: the number of each, whether it is a question, and its code.
    """
    failed = ""
    for number, question, code in steps:
        told: dict[str, Any] = {"number": number}
        try:
            if not question:
                exec(code, names)  # noqa: S102 - the teacher's code, in the student's process
                continue
            told |= {"error": failed} if failed else {"value": encoded(eval(code, names))}  # noqa: S307
        except KeyboardInterrupt:
            # The cell took too long.
            raise
        except BaseException as error:  # noqa: BLE001 - whatever the student's code raises is its answer
            told |= {"error": type(error).__name__}
            # What was to be prepared is missing from here on.
            failed = failed or ("" if question else type(error).__name__)
        if question:
            publish_display_data({ANSWER: json.dumps(told, allow_nan=False)})
