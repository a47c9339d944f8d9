"""One sentence for a person, not yet in a language: a name in `texts` with its values."""

from __future__ import annotations

from datetime import date


class Said:
    """A sentence's name and values; two with the same name and values are equal.

    Args:
        code: a key of `texts.TEXTS`.
        values: what the sentence names; text from somebody else's file is escaped when it is shown.
    """

    def __init__(self, code: str, **values: str | int | float | date) -> None:
        self.code = code
        self.values = values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Said) and (self.code, self.values) == (other.code, other.values)

    def __hash__(self) -> int:
        return hash((self.code, tuple(sorted(self.values))))

    def __repr__(self) -> str:
        return f"Said({self.code!r}, {self.values})"


class CannotRead(Exception):
    """A file cannot be used.

    Args:
        code: a key of `texts.TEXTS`; its sentence says what is wrong and what to do.
        values: what the sentence names.
    """

    def __init__(self, code: str, **values: str | int | float | date) -> None:
        self.said = Said(code, **values)
        super().__init__(repr(self.said))
