"""What the grading service is told at its start: one JSON file, written by `up`, that holds no secrets."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from base.errors import InputError
from base.paths import State
from cluster.command import COMMANDS
from confinement.settings import ConfinementSettings
from grading.settings import GradingSettings
from grading.tree import TreeLimits
from grading.when import GradeRule
from spawners.settings import Profile

VARIABLE = "LEERLAB_GRADING"


class ServiceConfiguration(BaseModel):
    """Everything that the service needs beside its installation.

    Args:
        state: the site's state folder.
        hub_id: id of this hub, the first part of its jobs' comments; twelve hexadecimal digits.
        hub: the hub's API, `unix:/path` or a URL; it must serve `/hub/api/users/<name>`.
        token_file: file with the service's own token for the hub (scope `read:users:groups`).
        courses: ids of the site's courses.
        grade: when everything of a course is graded, by course: `courses[].grade` of site.yaml.
        grade_of: when assignments are graded, by course and assignment: what each course's own course.yaml says.
        time_zone: whose clock `grade` means.
        proxy: where the site's proxy listens, through which courses' servers are reached.
        host: the site's host as browsers name it.
        https: whether a TLS proxy of the site's own stands in front.
        grading: the section of site.yaml.
        profile: resources of one graded notebook's job.
        confinement: the section of site.yaml.
        slurm_conf: the slurm.conf that Slurm's commands use.
        slurm_commands: the folder that holds sbatch, squeue and the others.
        slurm_answer: seconds that one command of Slurm may take (`cluster.interval.answer`).
        slurm_interval: seconds between two looks at a job that somebody waits for (`cluster.interval.starting`).
        account: what graded runs are charged to in Slurm; None where there is no accounting.
        ledger: URL of the ledger's database.
        ledger_key: file with the ledger's key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: Path
    hub_id: str = Field(pattern=r"^[0-9a-f]{12}$")
    hub: str = Field(pattern=r"^(unix:/|http://|https://).+")
    token_file: Path
    courses: tuple[str, ...]
    grade: dict[str, GradeRule] = {}
    grade_of: dict[str, dict[str, GradeRule]] = {}
    time_zone: str = "Europe/Amsterdam"
    proxy: str = "http://127.0.0.1:8000"
    host: str = "leerlab.localhost:8000"
    https: bool = False
    grading: GradingSettings
    profile: Profile
    confinement: ConfinementSettings = ConfinementSettings()
    slurm_conf: Path
    slurm_commands: Path = COMMANDS
    slurm_answer: float = 10.0
    slurm_interval: float = 0.5
    account: str | None = None
    ledger: str
    ledger_key: Path

    @property
    def folders(self) -> State:
        """The state folder's layout."""
        return State(self.state)

    @property
    def limits(self) -> TreeLimits:
        """How much one submission may hold."""
        return TreeLimits(total=int(self.grading.upload), files=self.grading.files)

    @classmethod
    def current(cls) -> ServiceConfiguration:
        """The configuration that `$LEERLAB_GRADING` names.

        Raises:
            InputError: it is not set, or the file is not such a configuration.
        """
        name = os.environ.get(VARIABLE)
        if not name:
            raise InputError(f"{VARIABLE} is not set.", "The grading service is started by `leerlab up`.")
        try:
            return cls.model_validate_json(Path(name).read_bytes())
        except (OSError, ValidationError) as error:
            raise InputError(f"{name} is not a configuration of the grading service.", str(error)) from error
