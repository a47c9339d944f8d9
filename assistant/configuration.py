"""What the gateway is told at its start: one JSON file, written by `up`, that holds no secrets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assistant.settings import AssistantSettings
from base.errors import InputError
from base.paths import State
from base.ports import LOOPBACK
from base.settings import BothLanguages
from cluster.command import COMMANDS
from confinement.settings import ConfinementSettings
from spawners.settings import Profile

VARIABLE = "LEERLAB_ASSISTANT_GATEWAY"
SERVICE = "assistant"
SOCKET = "assistant.sock"
"""The relays of labs lead to it, below the state folder's `run`."""


class LocalWeights(BaseModel):
    """A local model's part of the catalogue.

    Args:
        does: what it is asked for.
        file: the weights, below the catalogue's shelf.
        context: most tokens that it looks at.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    does: Literal["chat", "embeddings"]
    file: str
    context: int


class GatewayConfiguration(BaseModel):
    """Everything that the gateway needs beside its installation.

    Args:
        state: the site's state folder.
        hub_id: id of this hub, the first part of its jobs' comments.
        hub: the hub's API, `unix:/path` or a URL.
        token_file: file with the gateway's own token for the hub.
        assistant: the section of site.yaml.
        local: what the catalogue says of each local model, by its id.
        profiles: the site's profiles.
        confinement: the section of site.yaml.
        titles: of the site's courses, by id.
        sandboxes: whether the site has sandboxes.
        language: for who asks in no language of ours.
        slurm_conf: the slurm.conf that Slurm's commands use.
        slurm_commands: the folder that holds sbatch, squeue and the others.
        slurm_answer: seconds that one command of Slurm may take.
        publish_on: IP address on which jobs offer models, or the network in which their node has one.
        account: what models' jobs are charged to in Slurm; None where there is no accounting.
        silence: seconds in which a model must say its next word; less than a lab waits for one.
        body_seconds: seconds in which a question must have come in.
        ledger: URL of the ledger's database.
        ledger_key: file with the ledger's key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: Path
    hub_id: str = Field(pattern=r"^[0-9a-f]{12}$")
    hub: str = Field(pattern=r"^(unix:/|http://|https://).+")
    token_file: Path
    assistant: AssistantSettings
    local: dict[str, LocalWeights]
    profiles: tuple[Profile, ...]
    confinement: ConfinementSettings = ConfinementSettings()
    titles: dict[str, BothLanguages] = {}
    sandboxes: bool = False
    language: Literal["nl", "en"] = "nl"
    slurm_conf: Path
    slurm_commands: Path = COMMANDS
    slurm_answer: float = 10.0
    publish_on: str = LOOPBACK
    account: str | None = None
    silence: float = 110.0
    body_seconds: float = 10.0
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
            raise InputError(f"{VARIABLE} is not set.", "The assistant's gateway is started by `leerlab up`.")
        try:
            return cls.model_validate_json(Path(name).read_bytes())
        except (OSError, ValidationError) as error:
            raise InputError(f"{name} is not a configuration of the assistant's gateway.", str(error)) from error
