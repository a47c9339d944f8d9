"""The section `ledger:` of site.yaml: where people and the audit trail are kept."""

from __future__ import annotations

from pydantic import Field

from base.settings import Section


class LedgerSettings(Section):
    """The ledger's database."""

    url: str | None = Field(None, description="SQLAlchemy URL; without it SQLite in the state folder.")
