"""Start the gateway: `python -m assistant`, with `$LEERLAB_ASSISTANT_GATEWAY` naming its configuration."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from assistant.answers import client
from assistant.budget import Budget
from assistant.configuration import SOCKET, GatewayConfiguration
from assistant.gateway import Gateway, application
from assistant.identity import Askers
from assistant.models import Models
from assistant.serving import Surroundings
from assistant.settings import RemoteModel
from base.errors import InputError, LeerlabError
from base.log import configure
from base.paths import Installation
from cluster.commands import Slurm
from grading.identity import hub_client
from ledger.answers import AnswerLedger
from ledger.sandboxes import SandboxLedger
from ledger.store import Ledger

KEEP_ALIVE_SECONDS = 30
STOP_SECONDS = 10


def gateway_of(configuration: GatewayConfiguration, installation: Installation, slurm: Slurm) -> Starlette:
    """The whole application, from its configuration.

    Raises:
        LeerlabError: the ledger or a key cannot be read.
    """
    settings, state = configuration.settings, configuration.folders
    ledger = Ledger.open(configuration.ledger, configuration.ledger_key)
    around = Surroundings(
        hub=configuration.hub_id,
        cluster=slurm,
        state=state,
        installation=installation,
        confinement=configuration.confinement,
        profile=configuration.profile,
        idle=settings.idle.total_seconds(),
        at_once=settings.at_once,
        report_to=f"unix:{state.run / SOCKET}",
        interval=configuration.slurm_interval,
        account=configuration.account,
    )
    remote = [(model, key_of(model)) for model in settings.models if isinstance(model, RemoteModel)]
    models = Models(configuration.cards, remote, around)
    answers = AnswerLedger(ledger)
    gateway = Gateway(
        settings,
        askers=Askers(
            hub_client(configuration.hub),
            configuration.token_file.read_text("ascii").strip(),
            frozenset(configuration.courses),
            SandboxLedger(ledger),
        ),
        models=models,
        budget=Budget(answers),
        answers=answers,
        titles=configuration.courses,
        http=client(),
        language=configuration.language,
    )
    return application(gateway, models)


def key_of(model: RemoteModel) -> str:
    """The key for a remote model's server; empty for none.

    Raises:
        InputError: its file cannot be read, or holds more than one line.
    """
    if model.key_file is None:
        return ""
    try:
        key = Path(model.key_file).read_text("ascii").strip()
    except (OSError, ValueError) as error:
        raise InputError(f"The key of the model {model.id} cannot be read: {model.key_file}.") from error
    if not key.isprintable() or not key:
        raise InputError(f"{model.key_file} holds no key.", "One line of plain characters is needed.")
    return key


def main() -> int:
    """Serve until SIGTERM."""
    log = configure("assistant")
    try:
        configuration = GatewayConfiguration.current()
        slurm = Slurm(configuration.slurm_conf, answer=configuration.slurm_answer)
        app = gateway_of(configuration, Installation.current(), slurm)
    except LeerlabError as error:
        log.error("%s", error)
        return 2
    uvicorn.run(
        app,
        uds=str(configuration.folders.run / SOCKET),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
