"""The file picker: an own CSV in, with what was taken from it, or a sentence that says why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ipywidgets as widgets

from . import showing
from .choices import Choice
from .reading import Measurements, Options, read
from .said import CannotRead
from .texts import plain, say, text

ENDINGS = (".csv", ".txt", ".tsv")
MOST_FILES = 200
_STYLE = {"description_width": "7em"}
_LAYOUT = {"width": "auto", "max_width": "36em"}


def find(folders: list[Path]) -> list[Path]:
    """The files in these folders and one folder deeper that could be a CSV, the newest first."""
    found: dict[Path, float] = {}
    for folder in folders:
        for file in (*_inside(folder), *(deeper for below in _inside(folder) for deeper in _inside(below))):
            # Workbooks too: choosing one tells how to make a CSV of it.
            if file.suffix.lower() in (*ENDINGS, ".xlsx", ".xls") and len(found) < MOST_FILES:
                try:
                    found[file] = file.stat().st_mtime
                except OSError:
                    continue
    return sorted(found, key=lambda file: found[file], reverse=True)


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    except OSError:
        return []


class Picker:
    """Lists files, reads the chosen one, and shows it.

    Args:
        folders: where to look.
        choice: what was chosen before.
        keep: called with a choice that could be read (or with the example).
        language: `nl` or `en`.
    """

    def __init__(self, folders: list[Path], choice: Choice, keep: Callable[[Choice], None], language: str) -> None:
        self._folders, self._keep, self._language = folders, keep, language
        self.choice = choice
        self._filling = False
        self.file = self._dropdown("pick.file")
        self.time, self.value = self._dropdown("pick.time"), self._dropdown("pick.value")
        self.order, self.decimal = self._dropdown("pick.order"), self._dropdown("pick.decimal")
        self.order.options = [(self._say("pick.day"), True), (self._say("pick.month"), False)]
        self.decimal.options = [(self._say("pick.comma"), ","), (self._say("pick.point"), ".")]
        self._details = (self.time, self.value, self.order, self.decimal)
        self.again = self._button("pick.again", "search", self.search)
        self.example = self._button("pick.example", "undo", self.forget)
        self.shown = widgets.HTML()
        self.file.observe(self._file_chosen, names="value")
        for detail in self._details:
            detail.observe(self._detail_chosen, names="value")
        buttons = widgets.HBox([self.again, self.example], layout=widgets.Layout(flex_flow="row wrap"))
        self.box = widgets.VBox([self.file, buttons, *self._details, self.shown])
        self.search()

    def search(self, _: object = None) -> None:
        """List the files, and show the one that was chosen before."""
        files = find(self._folders)
        chosen = Path(self.choice.file) if self.choice.file else None
        self._filling = True
        self.file.options = [(self._say("pick.none"), ""), *((self._label(file), str(file)) for file in files)]
        self.file.value = str(chosen) if chosen in files else ""
        self._filling = False
        if self.file.value:
            self._read(self.choice)
        else:
            self._hide()
            folders = ", ".join(str(folder) for folder in self._folders)
            found = self._say("pick.found", files=len(files)) if files else self._say("pick.empty", folders=folders)
            self.shown.value = showing.words(found)

    def forget(self, _: object = None) -> None:
        """Back to the example."""
        self.choice = replace(self.choice, file="", time=None, value=None, day_first=None, decimal=None, threshold=None)
        self._keep(self.choice)
        self.search()

    def _file_chosen(self, change: dict[str, str]) -> None:
        if self._filling or not change["new"]:
            return
        self._read(Choice(file=change["new"], risk=self.choice.risk))

    def _detail_chosen(self, _: object) -> None:
        if self._filling:
            return
        self._read(
            replace(
                self.choice, file=self.file.value, time=self.time.value, value=self.value.value,
                day_first=self.order.value, decimal=self.decimal.value, threshold=None,
            )
        )  # fmt: skip

    def _read(self, choice: Choice) -> None:
        try:
            measured = read(Path(choice.file), Options(choice.time, choice.value, choice.day_first, choice.decimal))
        except CannotRead as refused:
            if choice.file != self.choice.file:
                self._hide()
            self.shown.value = showing.words(say(refused.said, self._language), alert=True)
            return
        self._fill(measured, choice)
        self.choice = choice
        self._keep(choice)
        self.shown.value = showing.line(measured, self._language) + showing.took(measured, self._language)

    def _fill(self, measured: Measurements, choice: Choice) -> None:
        """The questions that this file raises."""
        self._filling = True
        for box, names, chosen in (
            (self.time, measured.times, choice.time),
            (self.value, measured.values, choice.value),
        ):
            box.options = [(plain(name), name) for name in names]
            box.value = chosen if chosen in names else (measured.name if measured.name in names else names[0])
            box.layout.display = None if len(names) > 1 else "none"
        self.order.value = choice.day_first is not False
        comma = any(said.code.endswith("decimal_comma") for said in measured.took)
        self.decimal.value = "," if comma else "."
        self.order.layout.display = None if measured.order_unsure else "none"
        self.decimal.layout.display = None if measured.decimal_unsure else "none"
        self._filling = False

    def _hide(self) -> None:
        for detail in self._details:
            detail.layout.display = "none"

    def _say(self, code: str, **values: str | int) -> str:
        return text(self._language, code, **values)

    def _label(self, file: Path) -> str:
        return plain(f"{file.name}  ({file.parent.name})")

    def _dropdown(self, code: str) -> widgets.Dropdown:
        return widgets.Dropdown(description=self._say(code), style=_STYLE, layout=dict(_LAYOUT))

    def _button(self, code: str, icon: str, act: Callable[[object], None]) -> widgets.Button:
        button = widgets.Button(description=self._say(code), icon=icon, layout={"width": "auto"})
        button.on_click(act)
        return button
