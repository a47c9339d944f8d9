"""The Slurm job of a local model: its wall, with the weights read-only and no way out, and what its wrapper must do."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from assistant.model_server import VARIABLE, Served
from base.paths import Installation, State
from base.ports import LOOPBACK
from cluster.request import JobRequest
from cluster.script import job_script
from confinement.settings import ConfinementSettings
from confinement.wall import Bind, Wall
from grading.plans import CATALOGUE, OFFLINE, SERVER_PORT, seccomp_of
from ledger.use import Place, Purpose
from spawners import use
from spawners.job import VARIABLE as TASK
from spawners.job import Task
from spawners.settings import Profile

PYTHON = "/usr/bin/python3"
ENVIRONMENT = Path("/opt/assistant")
CODE = Path("/opt/model")
REPORTS = "assistant-jobs.sock"
"""Where wrappers report; no relay of any wall leads there."""
_LOG_LIMIT = 2**20
_FOLDER = "assistant-"
_START = re.compile(r"[0-9a-f]{24}")


@dataclass(frozen=True)
class ModelJob:
    """How one local model is run.

    Args:
        id: the model's id.
        does: `chat` or `embeddings`.
        weights: the file's path below the catalogue's shelf.
        context: most tokens of one question with its answer.
        at_once: questions that it answers at one time.
        profile: resources of its job.
        state: the site's state folder.
        installation: the environments to use.
        confinement: the section of site.yaml.
        account: what the job is charged to; None where there is no accounting.
        publish_on: IP address on which the job offers the model, or the network in which its node has one.
    """

    id: str
    does: str
    weights: str
    context: int
    at_once: int
    profile: Profile
    state: State
    installation: Installation
    confinement: ConfinementSettings
    account: str | None = None
    publish_on: str = LOOPBACK

    def folder(self, start: str) -> Path:
        """Where a start's log and its wall's home are."""
        return self.state.jobs / f"{_FOLDER}{self.id}-{start}"

    def clear(self, but: str | None) -> None:
        """Remove the folders of this model's starts.

        Args:
            but: a start whose folder stays, because somebody may want to know why it failed.
        """
        for folder in self.state.jobs.glob(f"{_FOLDER}{self.id}-*"):
            # Ids of models may begin alike: what follows must be a start's id.
            if _START.fullmatch(folder.name.removeprefix(f"{_FOLDER}{self.id}-")) and folder.name[-24:] != but:
                shutil.rmtree(folder, ignore_errors=True)

    def request(self, start: str, comment: str, key: str, secret: str) -> JobRequest:
        """The job; makes its folder.

        Args:
            start: the start's id.
            comment: the first part of the job's comment; the start's id is the rest.
            key: that the model's server asks for.
            secret: with which its wrapper reports the port.
        """
        folder = self.folder(start)
        folder.mkdir(mode=0o700)
        (folder / "home").mkdir(mode=0o700)
        purpose = Purpose("", Place.ASSISTANT, self.id)
        counted = use.begin(self.state, folder.name, comment + start, purpose, self.profile)
        task = Task(
            wall=self._wall(folder / "home", key),
            report_to=f"unix:{self.state.run / REPORTS}",
            report_path=f"/starts/{start}",
            secret=secret,
            base="/",
            publish_on=self.publish_on,
            log=folder / "model.log",
            log_limit=_LOG_LIMIT,
            use=counted,
        )
        return JobRequest(
            name="assistant",
            comment=comment + start,
            **self.profile.resources,
            script=job_script([PYTHON, "-I", "-S", str(self.installation.code / "spawners" / "job.py")]),
            output=folder / "job.log",
            environment={TASK: task.to_json()},
            account=self.profile.account or self.account,
        )

    def _wall(self, home: Path, key: str) -> Wall:
        served = Served(
            id=self.id, does=self.does, weights=str(CATALOGUE / self.weights), key=key, port=SERVER_PORT,
            cores=self.profile.cpus, context=self.context, at_once=self.at_once,
        )  # fmt: skip
        return Wall(
            command=(f"{ENVIRONMENT}/bin/python", "-m", "assistant.model_server"),
            home=home,
            seccomp=seccomp_of(self.state),
            binds=(
                Bind(self.installation.assistant_env, ENVIRONMENT),
                *(Bind(self.installation.code / name, CODE / name) for name in ("assistant", "base")),
                Bind(self.state.catalogue, CATALOGUE),
            ),
            publish=SERVER_PORT,
            environment={**OFFLINE, "PYTHONPATH": str(CODE), VARIABLE: served.to_json()},
            **self.confinement.sizes(),
        )
