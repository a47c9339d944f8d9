"""The section `ledger:` of site.yaml: where people and the audit trail are kept."""

from __future__ import annotations

from pydantic import Field, field_validator

from base.settings import Section


class LedgerSettings(Section):
    """The ledger's database."""

    url: str | None = Field(
        None,
        max_length=400,
        description="SQLAlchemy URL of a SQLite file with an absolute path; without it, a file in the state folder.",
        examples=["sqlite:////srv/leerlab/ledger.sqlite"],
    )

    @field_validator("url")
    @classmethod
    def _is_a_local_file(cls, url: str | None) -> str | None:
        # An address of another database would hold a password, and site.yaml holds no secrets.
        if url is not None and (not url.startswith("sqlite:////") or "?" in url or url.endswith("/")):
            raise ValueError(
                "this is not the address of a SQLite file; several hosts need PostgreSQL, which is not supported yet "
                "(allowed: sqlite:/// and an absolute path, such as sqlite:////srv/leerlab/ledger.sqlite)"
            )
        return url
