"""What places are called in a sentence: "the course Sums and your sandbox"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assistant.policy import Kind, Place
from base.i18n import translate
from base.messages import Message

Titles = Mapping[str, Mapping[str, str]]
"""Titles of courses, by id and language."""


def places_in_words(places: Sequence[Place], titles: Titles, language: str) -> str:
    """The places, in one language; nothing for no place.

    Args:
        titles: of the site's courses.
    """
    words = dict.fromkeys(_words(place, titles, language) for place in places)
    *first, last = words or [""]
    return translate(Message("assistant.and", {"first": ", ".join(first), "last": last}), language) if first else last


def _words(place: Place, titles: Titles, language: str) -> str:
    if place.kind is Kind.SANDBOX:
        return translate(Message("assistant.place.sandbox"), language)
    title = titles.get(place.id, {}).get(language, place.id)
    return translate(Message("assistant.place.course", {"title": title}), language)
