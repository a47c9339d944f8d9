"""Page texts in the language of the request: the Jinja2 extension, and the address a language switch may return to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from babel.dates import format_datetime, format_timedelta
from babel.numbers import format_decimal
from babel.support import Translations
from jinja2 import Environment, FileSystemLoader
from jinja2.ext import InternationalizationExtension

from base import i18n
from base.i18n import LANGUAGES, catalogue
from base.messages import Message
from portal import request
from portal.assets import TEMPLATES, version
from portal.failures import failure
from portal.use import WORDS

# JupyterHub builds its own Jinja2 environments; the extension brings all that our templates need into them.
JINJA_OPTIONS = {"extensions": ["portal.language.PageLanguage"]}


# Seconds of a day, an hour, a minute and a second.
_UNITS = (86_400, 3600, 60, 1)


@dataclass
class _Clock:
    """Whose time is shown: the site's, told once at the start by `show_times_of`; else this machine's."""

    zone: ZoneInfo | None = None


_clock = _Clock()


def show_times_of(zone: str) -> None:
    """Show all moments on the clock of a time zone from now on; without it, on this machine's.

    Args:
        zone: a name of the tz database.
    """
    _clock.zone = ZoneInfo(zone)


def _texts() -> Translations:
    return catalogue(request.current().language)


def gettext(message: str) -> str:
    """The text in the language of the current request."""
    return str(_texts().gettext(message))


def ngettext(singular: str, plural: str, number: int) -> str:
    """The text for that number in the language of the current request."""
    return str(_texts().ngettext(singular, plural, number))


def duration(seconds: float) -> str:
    """A length of time in words, in the language of the current request. The same rule as in static/start.js."""
    return i18n.duration(seconds, request.current().language)


def exact_duration(seconds: float) -> str:
    """A length of time in the largest unit that it is a whole number of: 4 hours, but 90 minutes."""
    size = next(one for one in _UNITS if seconds % one == 0 or one == _UNITS[-1])
    # The threshold is how many of a unit there must be before it is used.
    words = format_timedelta(timedelta(seconds=seconds), threshold=seconds / size, locale=request.current().language)
    return str(words)


def moment(when: datetime) -> str:
    """Day and time in words, on the site's clock, in the language of the current request."""
    local = when.astimezone(_clock.zone)
    return str(format_datetime(local, "EEEE d MMMM, HH:mm", locale=request.current().language))


def clock(when: datetime) -> str:
    """The time alone when it is today, else day and time."""
    local = when.astimezone(_clock.zone)
    return f"{local:%H:%M}" if local.date() == datetime.now(UTC).astimezone(_clock.zone).date() else moment(when)


def day(when: datetime) -> str:
    """The day in words, in the language of the current request."""
    return str(format_datetime(when.astimezone(_clock.zone), "d MMMM y", locale=request.current().language))


def until(when: datetime) -> str:
    """How long it still is, in words, in the language of the current request."""
    return duration(max(0.0, (when - datetime.now(UTC)).total_seconds()))


def amount(size: int) -> str:
    """A number of bytes as people write it: 512 kB, 1.4 GB; powers of 1024, so that `100M` of site.yaml is 100 MB."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{number(value)} {unit}"


def number(value: float) -> str:
    """A number with at most one decimal, as people write it: 4, or 1,5 and 20.000 in Dutch."""
    return str(format_decimal(value, "#,##0.#", locale=request.current().language))


def sentence(message: Message) -> str:
    """The sentence for a message code in the language of the current request."""
    return i18n.translate(message, request.current().language)


def messages_starting(prefix: str) -> dict[str, str]:
    """All message codes with that prefix and their unfilled texts, for a page that fills them itself."""
    texts = _texts()
    codes = catalogue("en")._catalog  # gettext offers no other way to list a catalogue
    return {code: str(texts.gettext(code)) for code in codes if isinstance(code, str) and code.startswith(prefix)}


class PageLanguage(InternationalizationExtension):
    """Jinja2's own i18n extension, bound to the current request instead of to one language for the whole process."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.policies["ext.i18n.trimmed"] = True
        self._install_callables(gettext, ngettext, newstyle=True)
        environment.globals.update(
            languages=LANGUAGES,
            page_request=request.current,
            messages_starting=messages_starting,
            asset_version=version(),
            sentence=sentence,
            failure=failure,
            duration=duration,
            exact_duration=exact_duration,
            moment=moment,
            clock=clock,
            day=day,
            until=until,
            amount=amount,
            number=number,
            **WORDS,
        )
        environment.tests["starting_with"] = str.startswith


def template_environment() -> Environment:
    """An environment for pages outside JupyterHub; they extend `shell.html` and render inside a request."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, enable_async=True, extensions=[PageLanguage]
    )


def safe_return(address: str, otherwise: str) -> str:
    """The address when it is a path on this very host, else the other one.

    Browsers drop tabs and newlines, and read a backslash as a slash (WHATWG URL standard, section 4.4): a path that
    holds one of these could leave the site.

    Args:
        address: what the request asked to go back to.
        otherwise: where to go instead.
    """
    plain = all(" " < letter < "\x7f" for letter in address)
    if not plain or "\\" in address or not address.startswith("/") or address.startswith("//"):
        return otherwise
    try:
        parts = urlsplit(address)
    except ValueError:
        return otherwise
    return otherwise if parts.scheme or parts.netloc else address
