"""How a course's pages look and speak: the portal's shell and texts, the site's clock, the person's language."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

from babel.dates import format_datetime
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent
from babel.support import Translations
from jinja2 import Environment, FileSystemLoader

# Mounted read-only by `grading.plans.formgrader_plan`.
PAGES = Path("/opt/pages")
TEMPLATES = Path(__file__).parent / "templates"
STATIC = Path(__file__).parent / "static"
VARIABLE = "LEERLAB_COURSE_PAGES"
LANGUAGES = ("nl", "en")
COOKIE = "leerlab-language"


@dataclass(frozen=True)
class Surroundings:
    """What `grading.plans.CoursePages` says of the site, and the course's id."""

    id: str
    course: dict[str, str]
    assignments: dict[str, dict[str, str]]
    site: dict[str, str]
    language: str
    time_zone: str
    portal: str
    demo: bool

    @classmethod
    def given(cls) -> Surroundings:
        """As `$LEERLAB_COURSE_PAGES` has it.

        Raises:
            KeyError: the variable is not set.
            ValueError: it is not such a description.
            TypeError: idem.
        """
        return cls(**json.loads(os.environ[VARIABLE]))


@cache
def catalogue(language: str) -> Translations:
    """The catalogue of one language."""
    compiled = BytesIO()
    with (PAGES / "locale" / language / "messages.po").open("rb") as source:
        write_mo(compiled, read_po(source, locale=language))
    compiled.seek(0)
    return Translations(fp=cast("Any", compiled))


def text_of_page(text: str) -> str:
    """Marks a text of the catalogue that code hands on, to be said in a person's language later."""
    return text


def chosen_language(cookie: str | None, accepted: str, otherwise: str) -> str:
    """The language that the person chose here, else the first of ours that the browser asks for, else the site's."""
    if cookie in LANGUAGES:
        return cookie
    asked = [part.strip().partition(";")[0].partition("-")[0].lower() for part in accepted.split(",")]
    return next((language for language in asked if language in LANGUAGES), otherwise)


def language_of(handler: Any, otherwise: str) -> str:
    """The language of a request's person.

    Args:
        handler: tornado's, of the request.
        otherwise: the site's language.
    """
    return chosen_language(handler.get_cookie(COOKIE), handler.request.headers.get("Accept-Language", ""), otherwise)


@dataclass(frozen=True)
class Words:
    """Everything on a page that depends on the person's language."""

    language: str
    zone: ZoneInfo

    def moment(self, when: datetime | str | None) -> str:
        """Day and time on the site's clock; nbgrader's own times are in UTC without saying so."""
        if not when:
            return ""
        read = datetime.fromisoformat(when) if isinstance(when, str) else when
        local = (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(self.zone)
        return str(format_datetime(local, "EEE d MMM y, HH:mm", locale=self.language))

    def day(self, when: datetime) -> str:
        """The day on the site's clock, as 2026-12-01, of a time in UTC that does not say so."""
        return when.replace(tzinfo=UTC).astimezone(self.zone).date().isoformat()

    def number(self, value: float) -> str:
        """A number as people write it: 4, or 1,5 in Dutch."""
        return str(format_decimal(round(float(value), 2), "0.##", locale=self.language))

    def share(self, value: float) -> str:
        """A share in whole percents: 40%."""
        return str(format_percent(value, "0%", locale=self.language))


def local_input(when: str | None, zone: ZoneInfo) -> str:
    """A time of nbgrader's as a browser's field for day and time wants it, on the site's clock."""
    if not when:
        return ""
    read = datetime.fromisoformat(when)
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(zone).strftime("%Y-%m-%dT%H:%M")


def from_input(text: str, zone: ZoneInfo) -> datetime | None:
    """What a browser's field for day and time says on the site's clock, in UTC; None when it is empty.

    Raises:
        ValueError: it is no day and time.
    """
    if not text:
        return None
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


@cache
def environment(language: str) -> Environment:
    """The templates in one language: ours before the portal's, whose shell they extend. All is escaped."""
    made = Environment(
        loader=FileSystemLoader([TEMPLATES, PAGES / "templates"]), autoescape=True, extensions=["jinja2.ext.i18n"]
    )
    made.policies["ext.i18n.trimmed"] = True
    texts = catalogue(language)
    cast("Any", made).install_gettext_callables(texts.gettext, texts.ngettext, newstyle=True)
    return made


@cache
def static_version() -> str:
    """Changes when a style or a script changes, so that browsers keep them as long as they like."""
    digest = hashlib.sha256()
    for folder in (STATIC, PAGES / "static"):
        for path in sorted(folder.iterdir()):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
