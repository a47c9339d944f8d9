"""Puts the gateway together from its configuration, and gives it a beginning and an end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from assistant.answers import Desk
from assistant.backends import Backend, http_client
from assistant.configuration import GatewayConfiguration
from assistant.gateway import Gateway, application
from assistant.identity import Hub
from assistant.model_jobs import REPORTS, ModelJob
from assistant.reports import Reports
from assistant.serving import Cluster, LocalModel
from assistant.settings import LocalModel as LocalModelSettings
from assistant.settings import RemoteModel
from assistant.turns import Turns
from base.errors import LeerlabError
from base.paths import Installation
from grading.identity import hub_client
from ledger.answers import AnswerLedger
from ledger.sandboxes import SandboxLedger
from ledger.store import Ledger

DAY = 86_400.0

log = logging.getLogger("assistant")


def assistant_gateway(
    configuration: GatewayConfiguration, *, installation: Installation, cluster: Cluster, ledger: Ledger
) -> Starlette:
    """The whole gateway.

    Args:
        installation: the environments that models' jobs use.
        cluster: Slurm's commands.
        ledger: the site's ledger.

    Raises:
        OSError: the gateway's token cannot be read.
    """
    backends = [
        _local(configuration, model, installation, cluster) if isinstance(model, LocalModelSettings) else _remote(model)
        for model in configuration.assistant.models
    ]
    models = [backend.local for backend in backends if backend.local is not None]
    members = SandboxLedger(ledger)

    def sandboxes_of(person: str) -> Collection[str]:
        if not configuration.sandboxes:
            return ()
        return [sandbox for sandbox, member in members.memberships() if member == person]

    hub = Hub(
        hub_client(configuration.hub),
        configuration.token_file.read_text("ascii").strip(),
        configuration.assistant,
        sandboxes_of,
    )
    answers = AnswerLedger(ledger)
    desk = Desk(http_client(configuration.silence), answers)
    gateway = Gateway(
        hub,
        configuration.assistant,
        {backend.id: backend for backend in backends},
        desk,
        titles=configuration.titles,
        language=configuration.language,
        body_seconds=configuration.body_seconds,
    )
    listener = Reports(models, configuration.folders.run / REPORTS)
    keep = configuration.assistant.keep.total_seconds()

    @asynccontextmanager
    async def lifespan(_application: Starlette) -> AsyncIterator[None]:
        await listener.start()
        lost = await asyncio.to_thread(answers.lost)
        if lost:
            log.warning("%d answers were open when the gateway ended; each counts with the most it can take", lost)
        for model in models:
            model.resume()
        forgetting = asyncio.create_task(_forget(answers, keep))
        yield
        forgetting.cancel()
        await asyncio.gather(forgetting, return_exceptions=True)
        await desk.close()
        for model in models:
            await model.close()
        await listener.stop()
        await hub.close()

    return application(gateway, lifespan)


async def _forget(answers: AnswerLedger, keep: float) -> None:
    """Each day: what was asked longer ago than is kept goes."""
    while True:
        try:
            gone = await asyncio.to_thread(answers.forget, keep)
            if gone:
                log.info("%d answers are no longer kept", gone)
        except LeerlabError as error:
            log.error("%s", error)
        await asyncio.sleep(DAY)


def _remote(model: RemoteModel) -> Backend:
    return Backend(model.id, model.does, model.context, Turns(model.at_once), remote=model)


def _local(
    configuration: GatewayConfiguration, model: LocalModelSettings, installation: Installation, cluster: Cluster
) -> Backend:
    weights = configuration.local[model.id]
    wanted = model.profile or configuration.assistant.profile
    profile = next(profile for profile in configuration.profiles if profile.id == wanted)
    context = min(model.context, weights.context)
    job = ModelJob(
        id=model.id,
        does=weights.does,
        weights=weights.file,
        context=context,
        at_once=model.at_once,
        profile=profile,
        state=configuration.folders,
        installation=installation,
        confinement=configuration.confinement,
        account=configuration.account,
        publish_on=configuration.publish_on,
    )
    local = LocalModel(
        job, hub=configuration.hub_id, cluster=cluster, folder=configuration.folders.secrets,
        idle=configuration.assistant.idle.total_seconds(),
    )  # fmt: skip
    return Backend(
        model.id, weights.does, context, Turns(model.at_once), local=local, watts_per_core=model.watts_per_core
    )
