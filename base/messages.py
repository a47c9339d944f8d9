"""Message codes with parameters: what lower layers return, and what `portal/` turns into Dutch or English."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Message:
    """Something to tell a person, not yet in any language.

    Args:
        code: dotted lower-case name, such as `start.waiting.resources`; a key of base/locale/*/messages.po.
        params: values that the translated text may name as `%(name)s`; plain strings and numbers only.
    """

    code: str
    params: Mapping[str, str | int | float] = field(default_factory=dict)
