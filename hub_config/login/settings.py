"""The section `login:` of site.yaml with `kind: oidc`: identity providers, and what their claims mean here."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from base.quantities import Duration
from base.settings import BothLanguages, Section
from hub_config.login.addresses import why_not
from hub_config.login.presets import PRESETS, PresetName

GroupName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Scope = Annotated[str, Field(pattern=r"^[\x21\x23-\x5B\x5D-\x7E]{1,100}$")]
"""A scope token (RFC 6749, section 3.3)."""

ROLE_GROUPS = frozenset({"students-mbo", "students-hbo", "students-wo", "teachers", "companies", "operators"})
"""Roles by group name (decision 2); groups of courses come next to them."""


class Operator(StrEnum):
    """How a rule looks at a claim."""

    EQUALS = "equals"
    CONTAINS = "contains"
    PREFIX = "prefix"
    EXISTS = "exists"


class RuleSettings(Section):
    """One rule: whoever has this claim is in these groups."""

    claim: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_.:/-]{0,127}$",
        description="Name of the claim, as the provider's userinfo has it.",
    )
    operator: Operator = Field(
        description="`equals`: the claim is this text; `contains`: it is a list with this text; `prefix`: it, or an "
        "element of it, begins with this text; `exists`: it is there and not empty."
    )
    value: str | None = Field(
        None, min_length=1, max_length=500, description="The text to compare with; none with `exists`."
    )
    groups: tuple[GroupName, ...] = Field(
        min_length=1,
        description="students-mbo, students-hbo, students-wo, teachers, companies, operators, nbgrader-<course>, "
        "formgrade-<course>, grader-<course>, reader-<course>.",
    )

    @model_validator(mode="after")
    def _a_value_where_one_is_compared(self) -> RuleSettings:
        if (self.operator is Operator.EXISTS) != (self.value is None):
            raise ValueError(
                f"the rule on {self.claim} with `{self.operator.value}` and its value do not belong together "
                "(allowed: no `value` with `exists`, one with every other operator)"
            )
        return self


class ProviderSettings(Section):
    """One identity provider."""

    id: str = Field(
        pattern=r"^[a-z][a-z0-9-]{0,30}$",
        description="Names the provider in addresses, in the audit trail and in pseudonyms; never change it.",
    )
    preset: PresetName = Field("none", description="A provider whose address, scopes and title are known.")
    title: BothLanguages | None = Field(None, description="On its button; needed with `preset: none`.")
    issuer: str | None = Field(
        None,
        max_length=300,
        description="Issuer identifier, exactly as the provider writes it; needed with `preset: none`.",
    )
    client_id: str = Field(
        pattern=r"^[\x20-\x7E]{1,200}$", description="What the provider calls this site (RFC 6749, section 2.2)."
    )
    client_secret_file: str = Field(
        pattern=r"^/[^\x00]{1,400}$",
        description="Absolute path of a file with the client's secret, readable by the site's own account only.",
    )
    scopes: tuple[Scope, ...] | None = Field(
        None, min_length=1, max_length=20, description="What to ask for; the preset's, or `openid`, when not given."
    )
    rules: tuple[RuleSettings, ...] = Field(
        min_length=1, max_length=200, description="What this provider's claims give. Who fits no rule does not get in."
    )

    @field_validator("id")
    @classmethod
    def _not_the_demo(cls, value: str) -> str:
        if value == "demo":
            raise ValueError("the id demo belongs to the demo people (allowed: any other id)")
        return value

    @field_validator("issuer")
    @classmethod
    def _safe_issuer(cls, value: str | None) -> str | None:
        if value is None:
            return None
        wrong = why_not(value) or ("has a query" if urlsplit(value).query or "?" in value else "")
        if wrong:
            raise ValueError(f"the issuer {wrong}: {value} (allowed: https://..., or http:// with a loopback address)")
        return value

    @field_validator("scopes")
    @classmethod
    def _openid_is_asked(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and "openid" not in value:
            raise ValueError("the scopes lack openid (allowed: a list with `openid` in it)")
        return value

    @model_validator(mode="after")
    def _known_or_described(self) -> ProviderSettings:
        if self.preset == "none" and (self.issuer is None or self.title is None):
            raise ValueError(
                f"the provider {self.id} has no preset, so its `issuer` and `title` are needed "
                "(allowed: both, or preset: surfconext, sram or eduid)"
            )
        return self

    @property
    def address(self) -> str:
        """The issuer identifier."""
        return self.issuer or PRESETS[self.preset].issuer

    @property
    def button(self) -> BothLanguages:
        """What its button says."""
        if self.title is not None:
            return self.title
        known = PRESETS[self.preset].title
        return BothLanguages(nl=known, en=known)

    @property
    def asked(self) -> tuple[str, ...]:
        """The scopes to ask for."""
        if self.scopes is not None:
            return self.scopes
        return PRESETS[self.preset].scopes if self.preset != "none" else ("openid",)


class OidcLoginSettings(Section):
    """Login through identity providers (OpenID Connect)."""

    kind: Literal["oidc"] = Field(description="`oidc`: people log in at an identity provider.")
    providers: tuple[ProviderSettings, ...] = Field(
        min_length=1, max_length=12, description="The providers, in the order of their buttons."
    )
    check_every: Duration = Field(
        Duration(minutes=15),
        ge=Duration(seconds=1),
        le=Duration(days=1),
        description="How often each provider is asked whether its people still have their claims.",
    )
    grace: Duration = Field(
        Duration(hours=24),
        ge=Duration(seconds=1),
        le=Duration(days=30),
        description="How long a person keeps access after the last answer of the provider; then access ends.",
    )
