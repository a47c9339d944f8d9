"""Columns of text that sort and compare the same on every database: by code point, whatever its locale."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.types import TypeEngine


def words(length: int) -> TypeEngine[str]:
    """A text of at most so many characters; PostgreSQL enforces that, SQLite does not."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")
