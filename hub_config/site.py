"""The whole of site.yaml as one typed model, composed of each folder's own section."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field

from base.errors import LeerlabError
from base.settings import Section, SiteSettings
from cluster.settings import EmbeddedCluster, ExistingCluster
from confinement.settings import ConfinementSettings
from courses.settings import CourseSettings
from grading.settings import GradingSettings
from hub_config.settings import DemoLoginSettings, HubSettings
from ledger.settings import LedgerSettings
from spawners.settings import Profile


class Site(Section):
    """Everything that a site is."""

    site: SiteSettings
    hub: HubSettings = HubSettings()
    login: DemoLoginSettings
    cluster: Annotated[EmbeddedCluster | ExistingCluster, Field(discriminator="kind")]
    profiles: tuple[Profile, ...] = Field(min_length=1)
    confinement: ConfinementSettings = ConfinementSettings()
    courses: tuple[CourseSettings, ...] = ()
    grading: GradingSettings
    ledger: LedgerSettings = LedgerSettings()

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
    """Read a site.yaml."""
    return Site.model_validate(yaml.safe_load(path.read_text()))
