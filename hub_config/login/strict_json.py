"""JSON from outside: small, UTF-8, no name twice, no numbers that are none."""

from __future__ import annotations

import json
from typing import Any

MOST_BYTES = 64 * 1024


class NotStrict(ValueError):
    """The text is not JSON of this kind.

    Args:
        kind: `too-large`, `duplicate` or `malformed`.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(kind)


def read_object(data: bytes, most: int = MOST_BYTES) -> dict[str, Any]:
    """The object in a JSON text (RFC 8259); a name that stands twice could mean one thing here and another elsewhere.

    Args:
        data: the text.
        most: largest size in bytes.

    Raises:
        NotStrict: it is too large, has a name twice, or is no JSON object.
    """
    if len(data) > most:
        raise NotStrict("too-large")
    try:
        found = json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    except NotStrict:
        raise
    except (ValueError, RecursionError) as error:
        raise NotStrict("malformed") from error
    if not isinstance(found, dict):
        raise NotStrict("malformed")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotStrict("duplicate")
    return found


def _no_number(_: str) -> Any:
    raise NotStrict("malformed")
