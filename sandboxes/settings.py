"""The section `sandboxes:` of site.yaml: what a company gets, and what it may do with it."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le
from pydantic import Field

from base.quantities import Duration, Size
from base.settings import Section

MEBIBYTE = 2**20
HostName = Annotated[
    str, Field(pattern=r"^\.?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$")
]


class SandboxSettings(Section):
    """Sandboxes for companies; without this section there are none."""

    profile: str = Field(description="Profile of a sandbox's notebook servers; never one with parts of a shared GPU.")
    size: Annotated[Size, Ge(16 * MEBIBYTE), Le(2**44)] = Field(
        Size.parse("5G"), description="Most disk space of all files of one sandbox."
    )
    upload: Annotated[Size, Ge(MEBIBYTE), Le(1900 * MEBIBYTE)] = Field(
        Size.parse("500M"), description="Largest file that may go in or out; ClamAV looks at no file of 2 GiB."
    )
    days: int = Field(30, ge=1, le=366, description="Days that a sandbox lives before it ends by itself.")
    days_kept: int = Field(7, ge=0, le=90, description="Days that the export of an ended sandbox is kept.")
    per_person: int = Field(2, ge=1, le=100, description="Living sandboxes that one person may own.")
    members: int = Field(8, ge=2, le=100, description="Most members of one sandbox.")
    gpu_hours: int | None = Field(
        None, ge=0, le=1_000_000, description="GPU hours of one sandbox; needs cluster.accounting. Without it no limit."
    )
    hosts: tuple[HostName, ...] = Field(
        (),
        max_length=200,
        description="Host names that sandboxes may reach; a leading dot means every name below. Empty: none.",
    )
    signatures: str | None = Field(
        None,
        max_length=300,
        description="Folder of ClamAV's signatures, kept fresh by freshclam; without it only the test virus is known.",
        examples=["/var/lib/clamav"],
    )
    signature_age: Duration = Field(
        Duration.parse("7d"),
        description="Oldest signatures with which a file passes; does not count without `signatures`.",
    )
