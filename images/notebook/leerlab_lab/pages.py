"""Notebooks as pages, with nothing in them that could act in the name of whoever looks at the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bleach
from jinja2 import pass_context
from nbconvert.exporters import HTMLExporter
from traitlets import default

_TAGS = frozenset(
    {"a", "abbr", "b", "blockquote", "br", "caption", "code", "col", "colgroup", "dd", "del", "div", "dl", "dt", "em"}
    | {
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "i",
        "img",
        "kbd",
        "li",
        "ol",
        "p",
        "pre",
        "s",
        "samp",
        "small",
        "span",
    }
    | {"strong", "sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul"}
)
_ATTRIBUTES = {
    "*": {"class", "title", "id"},
    "a": {"href"},
    "img": {"src", "alt", "width", "height"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
}


def _allowed(tag: str, name: str, value: str) -> bool:
    if name not in _ATTRIBUTES["*"] | _ATTRIBUTES.get(tag, set()):
        return False
    # A picture from another address would tell that address who looks at the page.
    return name != "src" or value.startswith(("data:image/png;", "data:image/jpeg;", "data:image/gif;"))


def clean(html: str) -> str:
    """HTML without scripts, styles, forms, frames, and pictures from elsewhere."""
    return bleach.clean(
        html, tags=_TAGS, attributes=_allowed, protocols={"http", "https", "mailto", "data"}, strip=True
    )


class SafePages(HTMLExporter):
    """nbconvert's pages with cleaned texts. Its own `sanitize_html` does not reach nbgrader's templates."""

    @default("raw_mimetypes")
    def _no_raw_html(self) -> list[str]:
        return ["application/x-not-shown"]

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        """A text cell as HTML, cleaned."""
        return clean(super().markdown2html(context, source))

    def default_filters(self) -> Iterator[tuple[str, Any]]:
        """nbconvert's filters, with our cleaning in place of its own, which shows pictures as text."""
        for name, function in super().default_filters():
            yield name, clean if name == "clean_html" else function
