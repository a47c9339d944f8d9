"""What the portal is told at its start: one JSON file, written by `up`, that holds no secrets."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from base.energy import WATTS_PER_CORE
from base.errors import InputError
from base.paths import State
from base.settings import SiteSettings
from cluster.command import COMMANDS
from cluster.limits import GroupLimits
from grading.settings import GradingSettings
from grading.tree import TreeLimits
from sandboxes.settings import SandboxSettings
from spawners.settings import LessonSettings, Profile

VARIABLE = "LEERLAB_PORTAL"
SERVICE = "portal"
CLIENT = "service-portal"
CALLBACK = "/oauth_callback"


class AssistantShown(BaseModel):
    """What a page says of the assistant's policy.

    Args:
        on: whether people may ask it here.
        tokens_per_hour: how many tokens each hour may take.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    on: bool = False
    tokens_per_hour: int = Field(0, ge=0)


class PortalCourse(BaseModel):
    """One course of the site.

    Args:
        id: names it in groups and addresses.
        folder: its folder in the catalogue, absolute.
        profile: id of the profile that a student's server starts with from this course.
        assistant: what its page says of the assistant; None when the site has none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    folder: Path
    profile: str
    assistant: AssistantShown | None = None


class PortalConfiguration(BaseModel):
    """Everything that the portal needs beside its code.

    Args:
        state: the site's state folder.
        site: the section of site.yaml: title and first language.
        demo: whether every page says that this is a demonstration.
        domain: the site's host name.
        port: the proxy's public port.
        https: whether a TLS proxy stands in front, so that addresses have no port.
        listen: loopback port that the portal listens on, behind the proxy.
        hub: where the hub is reached: `unix:/path`, or a URL without a path.
        hub_id: id of this hub, the first part of its jobs' comments.
        token_file: file with the portal's own token for the hub.
        courses: the site's courses.
        profiles: the site's profiles, for how long a server may run.
        of_groups: the section `limits` of site.yaml: how many servers with a name somebody may have.
        lessons: the section of site.yaml.
        grading: the section of site.yaml: limits of the exchange.
        slurm_conf: the slurm.conf that Slurm's commands use.
        slurm_commands: the folder that holds sbatch, squeue and the others.
        slurm_answer: seconds that one command of Slurm may take.
        accounting: whether Slurm counts what sandboxes use.
        ledger: URL of the ledger's database.
        ledger_key: file with the ledger's key.
        sandboxes: the section of site.yaml; None when the site has no sandboxes.
        watts_per_core: with which the electricity of processors is reckoned.
        sandbox_assistant: what pages of sandboxes say of the assistant; None when the site has none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: Path
    site: SiteSettings
    demo: bool
    domain: str
    port: int
    https: bool = False
    listen: int
    hub: str = Field(pattern=r"^(unix:/|http://|https://).+")
    hub_id: str = Field(pattern=r"^[0-9a-f]{12}$")
    token_file: Path
    courses: tuple[PortalCourse, ...]
    profiles: tuple[Profile, ...]
    of_groups: tuple[GroupLimits, ...] = ()
    lessons: LessonSettings = LessonSettings()
    grading: GradingSettings
    slurm_conf: Path
    slurm_commands: Path = COMMANDS
    slurm_answer: float = 10.0
    accounting: bool = False
    ledger: str
    ledger_key: Path
    watts_per_core: float = WATTS_PER_CORE
    sandboxes: SandboxSettings | None = None
    sandbox_assistant: AssistantShown | None = None

    @property
    def folders(self) -> State:
        """The state folder's layout."""
        return State(self.state)

    @property
    def limits(self) -> TreeLimits:
        """How much one hand-in may hold."""
        return TreeLimits(total=int(self.grading.upload), files=self.grading.files)

    @property
    def host(self) -> str:
        """What a browser sends as `Host`."""
        return f"{SERVICE}.{self._hub_host}"

    @property
    def origin(self) -> str:
        """The portal's own origin, also what a browser sends as `Origin`."""
        return f"{self._scheme}://{self.host}"

    @property
    def hub_origin(self) -> str:
        """The hub's origin, where people log in and start servers."""
        return f"{self._scheme}://{self._hub_host}"

    @property
    def _scheme(self) -> str:
        return "https" if self.https else "http"

    @property
    def _hub_host(self) -> str:
        return self.domain if self.https else f"{self.domain}:{self.port}"

    @classmethod
    def current(cls) -> PortalConfiguration:
        """The configuration that `$LEERLAB_PORTAL` names.

        Raises:
            InputError: it is not set, or the file is not such a configuration.
        """
        name = os.environ.get(VARIABLE)
        if not name:
            raise InputError(f"{VARIABLE} is not set.", "The portal is started by `leerlab up`.")
        try:
            return cls.model_validate_json(Path(name).read_bytes())
        except (OSError, ValidationError) as error:
            raise InputError(f"{name} is not a configuration of the portal.", str(error)) from error
