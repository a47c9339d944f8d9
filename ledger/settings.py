"""The section `ledger:` of site.yaml: where people and the audit trail are kept."""

from __future__ import annotations

from pydantic import Field, field_validator

from base.database_url import EXAMPLES, checked
from base.settings import Section


class LedgerSettings(Section):
    """The ledger's database."""

    url: str | None = Field(
        None,
        max_length=400,
        description="A SQLite file with an absolute path, or PostgreSQL on a unix socket with the account's own name; "
        "without it, a file in the state folder.",
        examples=EXAMPLES,
    )

    @field_validator("url")
    @classmethod
    def _holds_no_secret(cls, url: str | None) -> str | None:
        return None if url is None else checked(url)
