"""The page request that is being answered: its language and its address, for everything that writes text."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from base.i18n import choose_language

LANGUAGE_COOKIE = "leerlab-language"


@dataclass(frozen=True)
class PageRequest:
    """What a page needs to know of the request it answers.

    Args:
        language: `nl` or `en`.
        uri: path and query as the browser asked for them.
    """

    language: str
    uri: str

    def argument(self, name: str) -> str:
        """The first value of a name in the query; empty when there is none."""
        return next(iter(parse_qs(urlsplit(self.uri).query).get(name, [])), "")


_current: ContextVar[PageRequest] = ContextVar("leerlab_page_request")


def enter(headers: Mapping[str, str], uri: str, default_language: str) -> PageRequest:
    """Make this the current request of the running task, and of the tasks it starts.

    Args:
        headers: the request's headers, looked up without regard to case by the mapping itself.
        uri: path and query.
        default_language: the site's language.
    """
    # Read by hand: one cookie that SimpleCookie cannot parse would hide all that follow it.
    cookies = (pair.strip().partition("=") for pair in headers.get("Cookie", "").split(";"))
    chosen = next((value for name, _, value in cookies if name == LANGUAGE_COOKIE), None)
    language = choose_language(chosen, headers.get("Accept-Language"), default_language)
    page = PageRequest(language, uri)
    _current.set(page)
    return page


def current() -> PageRequest:
    """The request being answered; outside any request, Dutch and the home page."""
    return _current.get(PageRequest("nl", "/hub/home"))
