"""What the gateway is told at its start: one JSON file, written by `up`, that holds no secrets."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assistant.settings import AssistantSettings
from base.errors import InputError
from base.paths import State
from catalogue.card import ModelCard
from confinement.settings import ConfinementSettings
from spawners.settings import Profile

VARIABLE = "LEERLAB_ASSISTANT_GATEWAY"
SOCKET = "assistant.sock"


class GatewayConfiguration(BaseModel):
    """Everything that the gateway needs beside its installation.

    Args:
        state: the site's state folder.
        hub_id: id of this hub, the first part of its jobs' comments.
        hub: the hub's API: `unix:/path`, or a URL.
        token_file: file with the gateway's own token for the hub.
        language: the site's first language.
        courses: titles of the site's courses, by id and language.
        settings: the section of site.yaml.
        cards: of the local models.
        profile: resources of a local model's job.
        confinement: the section of site.yaml.
        slurm_conf: the slurm.conf that Slurm's commands use.
        slurm_answer: seconds that one command of Slurm may take.
        slurm_interval: seconds between two looks at a job that somebody waits for.
        account: what models' jobs are charged to in Slurm; None where there is no accounting.
        ledger: URL of the ledger's database.
        ledger_key: file with the ledger's key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: Path
    hub_id: str = Field(pattern=r"^[0-9a-f]{12}$")
    hub: str = Field(pattern=r"^(unix:/|http://|https://).+")
    token_file: Path
    language: str
    courses: dict[str, dict[str, str]]
    settings: AssistantSettings
    cards: tuple[ModelCard, ...]
    profile: Profile
    confinement: ConfinementSettings = ConfinementSettings()
    slurm_conf: Path
    slurm_answer: float = 10.0
    slurm_interval: float = 0.5
    account: str | None = None
    ledger: str
    ledger_key: Path

    @property
    def folders(self) -> State:
        """The state folder's layout."""
        return State(self.state)

    @classmethod
    def current(cls) -> GatewayConfiguration:
        """The configuration that `$LEERLAB_ASSISTANT_GATEWAY` names.

        Raises:
            InputError: it is not set, or the file is not such a configuration.
        """
        name = os.environ.get(VARIABLE)
        if not name:
            raise InputError(f"{VARIABLE} is not set.", "The gateway is started by `leerlab up`.")
        try:
            return cls.model_validate_json(Path(name).read_bytes())
        except (OSError, ValidationError) as error:
            raise InputError(f"{name} is not a configuration of the gateway.", str(error)) from error
