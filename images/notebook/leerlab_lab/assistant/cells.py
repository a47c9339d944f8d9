"""What `%%ai` and `%ai` do: jupyter-ai's own command line and ways of showing, with the gateway behind them.

jupyter-ai's class itself is not used: it imports litellm (4 s and 170 MB in each kernel) and knows no streaming.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from click import ClickException
from IPython.display import HTML, JSON, Markdown, Math, display
from jupyter_ai_magic_commands.parsers import CellArgs, cell_magic_parser, line_magic_parser

from leerlab_lab.assistant.door import Messages, Refused, Spent, Why, ask_now
from leerlab_lab.assistant.magics import ALIAS, quiet
from leerlab_lab.assistant.offer import Offer, language
from leerlab_lab.assistant.texts import (
    EMPTY,
    EXPLAIN,
    FORGOTTEN,
    INSERTED,
    MODELS,
    NO_ERROR,
    NO_EVAL,
    NO_JSON,
    NO_MODEL,
    NO_SUCH,
    SYSTEM,
    WAITING,
    footer,
    refusal,
)

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

EXCHANGES = 2
"""Earlier questions, with their answers, that go along."""
LONGEST = 3000
"""Characters of a question or an answer that go along: the model reads little at a time."""
PATIENCE, AGAIN = 60.0, 2.0
"""Seconds in which a model may start, and between two tries where the gateway names none."""


class _Known(dict[str, Any]):
    """A notebook's variables for `{name}` in a question; what is no variable stays as it stands."""

    def __missing__(self, key: str) -> str:
        return "{" + key + "}"


class Cells:
    """One kernel's questions.

    Args:
        shell: the kernel's.
        offer: what holds for this lab.
    """

    def __init__(self, shell: InteractiveShell, offer: Offer) -> None:
        self._shell, self._offer = shell, offer
        self._transcript: list[dict[str, str]] = []
        self._models = {ALIAS: offer.models[0], **{model: model for model in offer.models}}

    def run(self, line: str, cell: str | None) -> None:
        """Do what a line or a cell asks; whatever is wrong with it is said in one sentence."""
        spoken = language()
        parser, name = (line_magic_parser, "%ai") if cell is None else (cell_magic_parser, "%%ai")
        try:
            args = parser(
                shlex.split(line),
                prog_name=name,
                standalone_mode=False,
                default_map={"cell_magic_parser": {"model_id": ALIAS}, "fix": {"model_id": ALIAS}},
            )
        except ClickException as wrong:
            _say(wrong.format_message())
            return
        except ValueError as wrong:
            _say(str(wrong))
            return
        # 0 is what `--help` gives, which has shown itself.
        if not args:
            return
        if args.type == "root":
            if args.eval:
                _say(NO_EVAL[spoken])
            elif cell and cell.strip():
                self._ask(args, _filled(cell.strip(), self._shell.user_ns))
        elif args.type == "fix":
            self._explain(args)
        elif args.type == "list":
            display(Markdown(MODELS[spoken] + "".join(f"\n- `{one}`" for one in self._models)))
        elif args.type == "reset":
            self._transcript = []
            _say(FORGOTTEN[spoken])
        else:
            _say(NO_SUCH[spoken].format(command=args.type))

    def _explain(self, args: Any) -> None:
        """Ask what the last error means."""
        error = getattr(sys, "last_value", None)
        if error is None:
            _say(NO_ERROR[language()])
            return
        asked = EXPLAIN[language()].format(error=f"{type(error).__name__}: {error}")
        self._ask(CellArgs(model_id=args.model_id, format=args.format), asked)

    def _ask(self, args: CellArgs, asked: str) -> None:
        spoken = language()
        model = self._models.get(args.model_id)
        if model is None:
            _say(NO_MODEL[spoken].format(model=args.model_id, models=", ".join(self._models)))
            return
        messages = [
            {"role": "system", "content": SYSTEM[spoken]},
            *self._transcript[-2 * EXCHANGES :],
            {"role": "user", "content": asked[:LONGEST]},
        ]
        pieces: list[str] = []
        spent: Spent | None = None
        try:
            for found in self._patiently(model, messages, spoken):
                if isinstance(found, Spent):
                    spent = found
                else:
                    pieces.append(found)
        except Refused as reason:
            if pieces:
                display(Markdown("".join(pieces)))
            _say(refusal(reason, spoken))
            return
        answer = "".join(pieces).strip()
        self._transcript += [
            {"role": "user", "content": asked[:LONGEST]},
            {"role": "assistant", "content": answer[:LONGEST]},
        ]
        self._show(answer or EMPTY[spoken], args.format, spoken)
        if spent is not None:
            display(quiet(footer(spent, self._offer, model, spoken)), raw=True)

    def _patiently(self, model: str, messages: Messages, spoken: str) -> Iterator[str | Spent]:
        """Ask again while the model starts, which mostly takes a few seconds; nothing was answered by then."""
        until, told = time.monotonic() + PATIENCE, False
        while True:
            try:
                yield from ask_now(self._offer.address, model, messages, spoken)
                return
            except Refused as reason:
                if reason.why is not Why.STARTING or time.monotonic() >= until:
                    raise
                if not told:
                    _say(f"{WAITING[spoken]} {reason.said}".strip())
                    told = True
                time.sleep(reason.again or AGAIN)

    def _show(self, answer: str, form: str, spoken: str) -> None:
        """An answer as `-f` asks for it; HTML of a model is shown as text, for nobody has read it yet."""
        if form == "code":
            code = re.sub(r"\n```.*\Z", "", re.sub(r"\A.*?```\w*\n", "", answer, flags=re.S), flags=re.S)
            self._shell.set_next_input(code, replace=False)
            _say(INSERTED[spoken])
        elif form == "json":
            try:
                display(JSON(json.loads(answer)))
            except ValueError:
                _say(NO_JSON[spoken])
                display({"text/plain": answer}, raw=True)
        elif form == "math":
            display(Math(answer))
        elif form in ("markdown", "md"):
            display(Markdown(answer))
        elif form == "html":
            display(HTML(f"<pre>{_escaped(answer)}</pre>"))
        else:
            display({"text/plain": answer}, raw=True)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _filled(question: str, variables: Mapping[str, Any]) -> str:
    """A question with the notebook's variables in it, where it names any."""
    try:
        return question.format_map(_Known(variables))
    except (ValueError, AttributeError, IndexError, KeyError, TypeError):
        # Braces that are no names, such as those of code.
        return question


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)  # noqa: T201 - to who wrote the cell
