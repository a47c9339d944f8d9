"""The site's models by id: local ones, which are jobs, and remote ones, which something else serves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from assistant.errors import unreachable
from assistant.serving import Backend, LocalModel, Surroundings, end_leftovers
from assistant.settings import RemoteModel
from catalogue.card import ModelCard

LOOK_SECONDS = 2.0
"""Between two looks at whether a model is idle."""
STOP_SECONDS = 8.0

log = logging.getLogger("assistant")


class Models:
    """All models.

    Args:
        local: cards of those that run here.
        remote: those that run elsewhere, each with its key; empty for none.
        around: what all local models share.
    """

    def __init__(
        self, local: Sequence[ModelCard], remote: Sequence[tuple[RemoteModel, str]], around: Surroundings
    ) -> None:
        self._around = around
        self._local = {card.id: LocalModel(card, around) for card in local}
        self._remote = {model.id: Backend(model.url.rstrip("/"), model.name, key) for model, key in remote}
        self._does = {card.id: card.does for card in local} | {model.id: model.does for model, _ in remote}

    @property
    def ids(self) -> list[str]:
        """All of them."""
        return list(self._does)

    def does(self, model: str) -> str:
        """`chat` or `embeddings`."""
        return self._does[model]

    def cores(self, model: str) -> int | None:
        """Processor cores that compute while it answers; None where that is not known."""
        return self._local[model].cores if model in self._local else None

    async def backend(self, model: str) -> Backend:
        """Where it is asked now.

        Raises:
            Refused: it is not there, or not yet.
        """
        if (local := self._local.get(model)) is not None:
            return await local.backend()
        if (remote := self._remote.get(model)) is not None:
            return remote
        raise unreachable()

    def lost(self, model: str) -> None:
        """It did not answer where it was said to be."""
        if model in self._local:
            self._local[model].lost()

    def report(self, start: str, secret: str, port: int) -> bool:
        """A model's job reports its port; whether that counts."""
        return any(local.report(start, secret, port) for local in self._local.values())

    async def look_after(self) -> None:
        """End what an earlier gateway left, and models that nobody asks; until cancelled."""
        if self._local:
            await end_leftovers(self._around)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for local in self._local.values():
                try:
                    await local.stop_if_idle()
                except Exception:
                    log.exception("An idle model could not be ended; the next turn tries again")

    async def close(self) -> None:
        """End all local models' jobs."""
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await asyncio.gather(*(local.stop() for local in self._local.values()))
        except TimeoutError:
            log.warning("Slurm is slow: jobs of models may run until the next start")
