"""What the kit says, in Dutch or English, and other people's words made harmless for where they are shown."""

from __future__ import annotations

import html
import json
import re
from datetime import date
from functools import cache
from pathlib import Path

from matplotlib.font_manager import findfont, get_font

from .said import Said

LANGUAGES = ("nl", "en")
TEMPLATES = Path(__file__).parent / "sjablonen"
TEXTS: dict[str, dict[str, str]] = {
    language: json.loads((TEMPLATES / f"teksten.{language}.json").read_text(encoding="utf-8")) for language in LANGUAGES
}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>!|~$&@{}]|(?<=:)//|(?<=www)\.|^[-+=#])")


def say(said: Said, language: str) -> str:
    """The sentence in a language, as plain text; dates as the language writes them."""
    values = {name: _shown(value, language) for name, value in said.values.items()}
    return TEXTS[language][said.code].format_map(values)


def text(language: str, code: str, **values: str | int | float | date) -> str:
    """The same, from a code."""
    return say(Said(code, **values), language)


def number(value: float, digits: int, language: str) -> str:
    """A number as the language writes it: 1.234,5 or 1,234.5."""
    english = f"{value:,.{digits}f}"
    return english.translate(str.maketrans(",.", ".,")) if language == "nl" else english


def day_in_words(day: date, language: str) -> str:
    """A date as the language writes it: 31-3-2026 or 31 Mar 2026."""
    return f"{day.day}-{day.month}-{day.year}" if language == "nl" else f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def plain(words: str) -> str:
    """Somebody else's text on one line, without invisible characters."""
    return " ".join(_CONTROL.sub(" ", words).split())


def in_html(words: str) -> str:
    """Somebody else's text as part of a page."""
    return html.escape(plain(words))


def in_markdown(words: str) -> str:
    """Somebody else's text as part of a Markdown document: it can be no link, picture, table or tag."""
    return _MARKDOWN.sub(lambda found: _escaped(found[0]), plain(words))


def in_csv(words: str) -> str:
    """Somebody else's text as a cell that no spreadsheet takes for a formula (OWASP, CSV Injection)."""
    words = plain(words)
    return f"'{words}" if words.startswith(("=", "+", "-", "@", "|", "%")) else words


def in_picture(words: str) -> str:
    """Somebody else's text in a picture: matplotlib takes dollar signs for mathematics."""
    drawn = "".join(sign if ord(sign) in _drawable() else "?" for sign in plain(words))
    return drawn.replace("\\", "/").replace("$", r"\$")


@cache
def _drawable() -> frozenset[int]:
    """The characters of matplotlib's own font."""
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def _escaped(found: str) -> str:
    return {"<": "&lt;", ">": "&gt;", "&": "&amp;", "//": "\\/\\/"}.get(found, f"\\{found}")


def _shown(value: str | int | float | date, language: str) -> str:
    if isinstance(value, date):
        return day_in_words(value, language)
    return plain(str(value))
