"""The sections `hub:` and `login:` of site.yaml: where people go, and who they are."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal

from annotated_types import Ge
from pydantic import Field, field_validator, model_validator

from base.database_url import checked
from base.quantities import Duration
from base.settings import Section
from hub_config.login.names import RESERVED, belongs_to_nobody
from hub_config.login.settings import GroupName, OidcLoginSettings

PersonName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,30}$")]


class HubSettings(Section):
    """The public address."""

    bind: IPv4Address | IPv6Address = Field(IPv4Address("127.0.0.1"), description="Address the proxy listens on.")
    port: int = Field(8000, ge=1024, le=65535, description="Port the proxy listens on.")
    domain: str = Field(
        "leerlab.localhost",
        pattern=r"^[a-z0-9]([a-z0-9.-]{0,120}[a-z0-9])?$",
        description="Host name of the site; each person's server gets a name below it.",
    )

    https: bool = Field(
        default=False,
        description="Whether a TLS proxy of the site's own, on this machine, stands in front: people then come to "
        "`https://DOMAIN` and `https://NAME.DOMAIN`, and the proxy passes them on to `bind` and `port`.",
    )

    database: str | None = Field(
        None,
        max_length=400,
        description="Where the hub keeps who runs what: a SQLite file with an absolute path, or PostgreSQL on a unix "
        "socket with the account's own name; without it, a file in the state folder.",
        examples=["postgresql:///leerlab_hub?host=/run/postgresql"],
    )

    idle: Annotated[Duration, Ge(Duration(minutes=10))] | None = Field(
        Duration(hours=2),
        description="A server that nobody has used for so long, and in which no kernel and no program in a terminal is "
        "busy, is stopped; `null` for never.",
    )

    @field_validator("database")
    @classmethod
    def _holds_no_secret(cls, url: str | None) -> str | None:
        return None if url is None else checked(url)

    @property
    def scheme(self) -> str:
        """How a browser comes."""
        return "https" if self.https else "http"

    @property
    def host(self) -> str:
        """What a browser sends as Host."""
        return self.domain if self.https else f"{self.domain}:{self.port}"

    @property
    def address(self) -> str:
        """The address of the site, without a path."""
        return f"{self.scheme}://{self.host}"

    def origin(self, name: str) -> str:
        """The origin of a person's server or of a service.

        Args:
            name: the label below the domain.
        """
        return f"{self.scheme}://{name}.{self.host}"


class DemoPersonSettings(Section):
    """One of the demo people."""

    name: PersonName = Field(description="User name; not portal, nor beginning with course- or box-.")
    title: str = Field(min_length=1, max_length=80, description="What the pages call this person.")
    groups: tuple[GroupName, ...] = Field(
        (),
        description="nbgrader-<course> for a student, formgrade-<course> for who owns a course, grader-<course> and "
        "reader-<course> for who grades or looks.",
    )
    operator: bool = Field(False, description="Whether this person operates the site.")

    @model_validator(mode="after")
    def _not_a_name_of_the_sites_own(self) -> DemoPersonSettings:
        if self.name in RESERVED:
            raise ValueError(f"the name {self.name} is a page's own (allowed: any other name)")
        if belongs_to_nobody(self.name):
            raise ValueError(
                "names that start with course- or box- are kept for course accounts and sandboxes "
                "(allowed: any other name)"
            )
        return self

    @model_validator(mode="after")
    def _operators_are_named(self) -> DemoPersonSettings:
        if "operators" in self.groups:
            raise ValueError("the group operators is not given among groups (allowed: `operator: true`)")
        return self

    @property
    def all_groups(self) -> tuple[str, ...]:
        """The groups, `operators` among them for an operator."""
        return (*self.groups, "operators") if self.operator else self.groups


class DemoLoginSettings(Section):
    """Demo people, who need no password; on a machine of one's own only."""

    kind: Literal["demo"] = Field(
        description="`demo`: people of this file, for a browser that has given a one-time key."
    )
    people: tuple[DemoPersonSettings, ...] = Field(min_length=1, description="The demo people.")


LoginSettings = Annotated[DemoLoginSettings | OidcLoginSettings, Field(discriminator="kind")]
"""The type of the section `login:`."""
