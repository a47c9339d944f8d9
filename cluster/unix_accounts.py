"""The section `unix_accounts:` of site.yaml: which unix accounts the jobs of people run as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from base.settings import Section

GROUP = r"^[a-z_][a-z0-9_-]{0,30}$"
Uid = Annotated[int, Field(ge=1000, le=2_000_000_000, strict=True)]


@dataclass(frozen=True)
class UnixAccount:
    """One person's account.

    Args:
        name: its name on every machine of the site.
        uid: its number.
    """

    name: str
    uid: int


class _Accounts(Section):
    group: str = Field(
        "leerlab-people",
        pattern=GROUP,
        description="Unix group of all these accounts; members of it, and nobody else, are whom jobs may run as.",
    )


class MadeAccounts(_Accounts):
    """Accounts of the site's own, made beforehand on every machine: the next free one is a new person's for ever."""

    kind: Literal["made"] = Field(description="`made`: Leerlab's playbook, or `leerlab accounts make`, makes them.")
    prefix: str = Field(
        "ll", pattern=r"^[a-z]{1,8}$", description="How their names begin; five digits follow. Never change it."
    )
    first_uid: Uid = Field(description="Number of the first; the others follow it. Never change it.")
    count: int = Field(
        ge=1, le=100_000, strict=True, description="How many there are: at least as many as people who ever log in."
    )
    homes: str = Field(
        "/srv/leerlab/people",
        pattern=r"^/[A-Za-z0-9._/-]{1,200}$",
        description="Absolute path of the folder of their homes, on storage that all machines share.",
    )

    @property
    def uids(self) -> range:
        """The numbers of all of them."""
        return range(self.first_uid, self.first_uid + self.count)

    def account(self, number: int) -> UnixAccount:
        """The account with this place in the row, 0 first.

        Raises:
            IndexError: there are not so many.
        """
        return UnixAccount(f"{self.prefix}{number:05d}", self.uids[number])


class DirectoryAccounts(_Accounts):
    """Accounts that the organisation's directory has already (NSS), on the hub's machine and on the nodes."""

    kind: Literal["directory"] = Field(description="`directory`: they exist; a claim of the login says which is whose.")
    claim: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_.:/-]{0,127}$",
        description="Name of the claim with the account's name, such as `uid`.",
        examples=["uid"],
    )
    first_uid: Uid = Field(description="Lowest number that such an account has.")
    last_uid: Uid = Field(description="Highest number that such an account has.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.last_uid < self.first_uid:
            raise ValueError(
                f"last_uid {self.last_uid} is below first_uid {self.first_uid} (allowed: at least {self.first_uid})"
            )
        return self

    @property
    def uids(self) -> range:
        """The numbers that they may have."""
        return range(self.first_uid, self.last_uid + 1)


UnixAccounts = Annotated[MadeAccounts | DirectoryAccounts, Field(discriminator="kind")]


def uids_of(accounts: MadeAccounts | DirectoryAccounts | None) -> range:
    """The numbers of the accounts of people; none on a site with one account."""
    return range(0) if accounts is None else accounts.uids
