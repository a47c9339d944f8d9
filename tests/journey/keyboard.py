"""A person who uses the keyboard alone: no step here clicks, points or scrolls."""

from __future__ import annotations

import re
from typing import Final

from playwright.sync_api import Locator, Page, expect
from steps import GRADE, START, idle

MOST_TABS: Final = 80
# Of the notebooks that are open the one that is seen.
NOTEBOOK: Final = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook"
FOCUSED: Final = """() => {
    const at = document.activeElement;
    const named = at.getAttribute('aria-label') || (at.labels && at.labels[0] ? at.labels[0].innerText : '');
    return {tag: at.tagName.toLowerCase(), text: (named || at.innerText || at.value || '').trim(), where: at.className};
}"""


def tab_to(page: Page, text: str | re.Pattern[str], *, tag: str = "", key: str = "Tab") -> None:
    """Press Tab until what has the focus says this.

    Args:
        page: the tab.
        text: what it says, or a part of that.
        tag: kind of element that it is; any when empty.
        key: "Shift+Tab" goes backwards.

    Raises:
        AssertionError: nothing that can be reached says so.
    """
    pattern = re.compile(re.escape(text)) if isinstance(text, str) else text
    passed = []
    for _ in range(MOST_TABS):
        page.keyboard.press(key)
        at = page.evaluate(FOCUSED)
        passed.append(f"{at['tag']}: {at['text'][:40]}")
        if pattern.search(at["text"]) and tag in ("", at["tag"]):
            return
    raise AssertionError(f"{key} never reached {pattern.pattern!r}, but: {passed}")


def active_cell(page: Page) -> int:
    """The place of the cell that has the notebook's attention, counted from 0 in the whole notebook."""
    cell = page.locator(f"{NOTEBOOK} .jp-Cell.jp-mod-active")
    return int(cell.get_attribute("data-windowed-list-index") or -1)


def go_to_cell(page: Page, place: int) -> None:
    """In command mode, arrow up or down to a cell.

    Args:
        page: the tab.
        place: its place in the notebook, from 0.
    """
    page.keyboard.press("Escape")
    away = place - active_cell(page)
    for _ in range(abs(away)):
        page.keyboard.press("ArrowDown" if away > 0 else "ArrowUp")
    expect(cell_at(page, place)).to_have_class(re.compile("jp-mod-active"))


def cell_at(page: Page, place: int) -> Locator:
    """The cell at a place of the notebook, from 0; it exists while it is near what is shown."""
    return page.locator(f"{NOTEBOOK} .jp-Cell[data-windowed-list-index='{place}']")


def write_cell(page: Page, lines: list[str]) -> None:
    """Replace what is in the active cell by what is typed, and leave it.

    Args:
        page: the tab.
        lines: without indentation; the editor indents by itself.
    """
    page.keyboard.press("Enter")
    page.keyboard.press("Control+A")
    for number, line in enumerate(lines):
        if number:
            page.keyboard.press("Enter")
        page.keyboard.type(line)
    page.keyboard.press("Escape")


def run_cell(page: Page) -> None:
    """Run the active cell, which holds code; the next one becomes active."""
    prompt = cell_at(page, active_cell(page)).locator(".jp-InputPrompt").first
    before = prompt.text_content() or ""
    page.keyboard.press("Shift+Enter")
    expect(prompt).not_to_have_text(before)
    expect(prompt).to_have_text(re.compile(r"\[\d+\]"), timeout=GRADE)
    idle(page)


def command(page: Page, name: str) -> None:
    """A command of the lab, by its palette."""
    page.keyboard.press("Control+Shift+C")
    field = page.locator(".lm-CommandPalette-input")
    expect(field).to_be_focused(timeout=START)
    page.keyboard.type(name)
    expect(page.locator(".lm-CommandPalette-item.lm-mod-active")).to_contain_text(re.compile(re.escape(name), re.I))
    page.keyboard.press("Enter")
