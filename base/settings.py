"""The section `site:` of site.yaml: what the site is called and which language it speaks first."""

from __future__ import annotations

from typing import Literal
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Section(BaseModel):
    """A part of site.yaml: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BothLanguages(Section):
    """A text for people, in both languages."""

    nl: str = Field(min_length=1, max_length=200, description="In Dutch.")
    en: str = Field(min_length=1, max_length=200, description="In English.")


class SiteSettings(Section):
    """What the site is called."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,14}$", description="Names the state folder; short lower-case name.")
    title: BothLanguages = Field(
        default=BothLanguages(nl="Leerlab", en="Leerlab"), description="What people see at the top of each page."
    )
    language: Literal["nl", "en"] = Field(
        "nl", description="Language for who has not chosen one and whose browser asks for neither."
    )
    time_zone: str = Field(
        "Europe/Amsterdam", description="Whose clock the pages show, such as `Europe/Amsterdam` (tz database)."
    )

    @field_validator("time_zone")
    @classmethod
    def _known(cls, zone: str) -> str:
        if zone not in available_timezones():
            raise ValueError("a name of the tz database is needed, such as Europe/Amsterdam or Atlantic/Azores")
        return zone


class LogSettings(Section):
    """How processes write their logs."""

    format: Literal["text", "json"] = Field(
        "text",
        description="`text`: lines for people. `json`: one JSON object a line, without names of accounts, e-mail "
        "addresses and addresses of visitors, for a log server.",
    )
