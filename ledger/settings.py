"""The sections `ledger:` and `energy:` of site.yaml: where what must be remembered is kept, and how use is reckoned."""

from __future__ import annotations

from pydantic import Field, field_validator

from base.database_url import EXAMPLES, checked
from base.energy import WATTS_PER_CORE
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


class EnergySettings(Section):
    """How the energy of what people use is reckoned, and how long it is known whose it was."""

    watts_per_core: float = Field(
        WATTS_PER_CORE,
        gt=0,
        le=100,
        description="Power of one busy processor core with its share of the machine, in watts; the true energy is "
        "taken to lie between half and double.",
    )
    days_kept: int = Field(
        400, ge=30, le=4000, description="Days after which the ledger forgets who used it; courses and sandboxes stay."
    )
