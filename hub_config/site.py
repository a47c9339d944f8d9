"""The whole of site.yaml as one typed model, composed of each folder's own section."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from assistant.settings import AssistantSettings
from base import yaml_source
from base.errors import InputError, LeerlabError
from base.settings import LogSettings, Section, SiteSettings
from catalogue.entries import CatalogueSettings
from cluster.limits import GroupLimits
from cluster.settings import Cluster
from cluster.unix_accounts import UnixAccounts
from confinement.settings import ConfinementSettings
from courses.settings import CourseSettings
from grading.settings import GradingSettings
from hub_config.settings import HubSettings, LoginSettings
from images.settings import ImageSettings
from ledger.settings import EnergySettings, LedgerSettings
from portal.configuration import SERVICE
from sandboxes.settings import SandboxSettings
from spawners.settings import LessonSettings, Profile


class Site(Section):
    """Everything that a site is: the sections of site.yaml."""

    site: SiteSettings = Field(description="What the site is called and which language it speaks first.")
    hub: HubSettings = Field(HubSettings(), description="The address where people find the site.")
    login: LoginSettings = Field(description="Who may log in, and how.")
    cluster: Cluster = Field(description="The Slurm that runs every notebook server and every graded run.")
    profiles: tuple[Profile, ...] = Field(
        min_length=1, description="What a notebook server may use: the choices on the start page."
    )
    limits: tuple[GroupLimits, ...] = Field(
        (), max_length=64, description="How much people may have, by group: kept by Slurm; without it, all there is."
    )
    unix_accounts: UnixAccounts | None = Field(
        None,
        description="Unix accounts as which people's own servers run, inside the wall as well; only beside an existing "
        "cluster. Without it, everything runs as the site's one account.",
    )
    confinement: ConfinementSettings = Field(
        ConfinementSettings(), description="What one wall around a person's programs allows, beside its profile."
    )
    images: ImageSettings | None = Field(
        None,
        description="The image that labs and graded runs run from; without it, the installation's own environment.",
    )
    catalogue: CatalogueSettings = Field(
        CatalogueSettings(), description="Datasets and models of the site's own, besides those that Leerlab brings."
    )
    courses: tuple[CourseSettings, ...] = Field((), description="The courses that this site gives.")
    lessons: LessonSettings = Field(
        LessonSettings(), description="Servers that a teacher starts for a class, ahead of the lesson."
    )
    grading: GradingSettings = Field(description="Limits of hand-ins and of graded runs.")
    sandboxes: SandboxSettings | None = Field(None, description="Sandboxes for companies; without it there are none.")
    assistant: AssistantSettings | None = Field(
        None, description="Language models that people may ask; without it there are none."
    )
    ledger: LedgerSettings = Field(LedgerSettings(), description="Where people and the audit trail are kept.")
    logs: LogSettings = Field(LogSettings(), description="How the site's processes write their logs.")
    energy: EnergySettings = Field(
        EnergySettings(), description="How the energy of what people use is reckoned, where no meter tells it."
    )

    @property
    def people(self) -> str | None:
        """Unix group of the accounts of people; None on a site with one account."""
        return self.unix_accounts.group if self.unix_accounts is not None else None

    @property
    def portal(self) -> str:
        """The portal's own origin."""
        return self.hub.origin(SERVICE)

    @classmethod
    def of_plain(cls, value: Any) -> Site:
        """The site of plain values as they stand in a file; nothing is guessed: `true` is no number, `"1"` neither.

        Args:
            value: dicts, lists, texts, numbers, truth values and None.

        Raises:
            ValidationError: of pydantic, with every error.
        """
        # pydantic's JSON mode takes lists for tuples and texts for addresses, and nothing else that is not of the type.
        return cls.model_validate_json(json.dumps(value), strict=True)

    def profile(self, wanted: str) -> Profile:
        """The profile of that id.

        Raises:
            LeerlabError: there is none; `leerlab check` finds that first.
        """
        for profile in self.profiles:
            if profile.id == wanted:
                return profile
        raise LeerlabError(f"The profile {wanted} does not exist.", do="Run leerlab check.")


def load(path: Path) -> Site:
    """Read a site.yaml that `hub_config.check` has found right: types only, no look at other files.

    Args:
        path: the file.

    Raises:
        InputError: the file is not a site.yaml.
    """
    document = yaml_source.read(path)
    for fault in document.faults[:1]:
        raise InputError(f"{path}:{fault.line}: {fault.message}.", do="Run leerlab check.")
    try:
        return Site.of_plain(document.root.plain() if document.root else None)
    except ValidationError as error:
        raise InputError(
            f"{path} does not describe a site: {error.error_count()} errors.", do="Run leerlab check."
        ) from error
