"""Gettext catalogues in Dutch and English, read straight from base/locale/*.po: no compile step, no text in code."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from io import BytesIO
from pathlib import Path

from babel.dates import format_timedelta
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations

from base.messages import Message

LANGUAGES = ("nl", "en")
LOCALE = Path(__file__).parent / "locale"


@cache
def catalogue(language: str) -> Translations:
    """The catalogue of one language.

    Args:
        language: one of `LANGUAGES`.

    Raises:
        KeyError: the language is not one of ours.
    """
    if language not in LANGUAGES:
        raise KeyError(language)
    compiled = BytesIO()
    with (LOCALE / language / "messages.po").open("rb") as source:
        write_mo(compiled, read_po(source, locale=language))
    compiled.seek(0)
    return Translations(fp=compiled)


def choose_language(cookie: str | None, accept_language: str | None, default: str) -> str:
    """The language to answer in: the person's own choice, else what the browser prefers, else the site's.

    Args:
        cookie: value of the cookie `leerlab-language`, if any.
        accept_language: the request header of that name, if any (RFC 9110, section 12.5.4).
        default: the site's language.
    """
    if cookie in LANGUAGES:
        return cookie
    ranked: list[tuple[float, str]] = []
    for item in (accept_language or "").split(","):
        tag, _, parameter = item.strip().partition(";")
        language = tag.strip().lower().partition("-")[0]
        try:
            weight = float(parameter.strip().lower().removeprefix("q=") or 1)
        except ValueError:
            continue
        if language in LANGUAGES and 0 < weight <= 1:
            ranked.append((weight, language))
    return max(ranked, key=lambda pair: pair[0])[1] if ranked else default


def duration(seconds: float, language: str) -> str:
    """A length of time in words, in its largest unit: `5 minuten`."""
    return format_timedelta(timedelta(seconds=seconds), threshold=1, locale=language)


def translate(message: Message, language: str) -> str:
    """The sentence for a message in one language; a parameter whose name ends in `seconds` becomes words."""
    params = {
        name: duration(float(value), language) if name.endswith("seconds") else value
        for name, value in message.params.items()
    }
    return str(catalogue(language).gettext(message.code)) % params
