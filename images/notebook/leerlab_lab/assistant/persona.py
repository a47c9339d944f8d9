"""Who answers in the chat: keeps the last few turns, streams the answer, and says under it what it took."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from jupyter_ai_persona_manager import BasePersona, PersonaDefaults
from jupyterlab_chat.models import Message

from leerlab_lab.assistant.door import Refused, Spent, Why, ask
from leerlab_lab.assistant.offer import Offer, language
from leerlab_lab.assistant.texts import EMPTY, NAME, STOPPED, SYSTEM, WAITING, WELCOME, footer, off, refusal

TURNS = 3
"""Earlier messages that go along with a question: the model reads little at a time."""
LONGEST = 1500
"""Characters of one message that go along."""
PATIENCE = 180.0
"""Seconds in which a model may start."""
AGAIN = 3.0
"""Seconds between two tries while it starts, where the gateway names none."""
FOOTER = "\n\n<small>"


def is_a_person(message: Message) -> bool:
    """Whether a message comes from somebody at the keyboard."""
    return not message.sender.startswith(("jupyter-ai-personas::", "hidden::"))


class Assistant(BasePersona):
    """The site's language model in a chat."""

    _asking: asyncio.Task[None] | None = None

    @property
    def defaults(self) -> PersonaDefaults:
        """Name and picture; the description is what a learner must know first."""
        spoken = language()
        return PersonaDefaults(
            name=NAME[spoken],
            description=WELCOME[spoken],
            avatar_path=str(Path(__file__).with_name("assistant.svg")),
            system_prompt=SYSTEM[spoken],
        )

    async def process_message(self, message: Message) -> None:
        """Answer a question, or say in one sentence why not."""
        offer, spoken = Offer.of_this_lab(), language()
        if not offer.on or not offer.models:
            self.send_message(off(offer, spoken))
            return
        self._asking = asyncio.ensure_future(self.stream_message(self._answer(offer, spoken)))
        try:
            await self._asking
        except asyncio.CancelledError:
            self.send_message(STOPPED[spoken])
        finally:
            self._asking = None

    async def cancel_response(self) -> None:
        """Stop; the gateway sees the connection close, and the model stops too."""
        if self._asking is not None:
            self._asking.cancel()

    async def _answer(self, offer: Offer, spoken: str) -> AsyncIterator[str]:
        said = False
        try:
            async for found in self._patiently(offer, spoken):
                if isinstance(found, str):
                    said = True
                    yield found
                else:
                    yield "" if said else EMPTY[spoken]
                    yield f"{FOOTER}{footer(found, offer, offer.models[0], spoken)}</small>"
        except Refused as reason:
            yield ("\n\n" if said else "") + refusal(reason, spoken)

    async def _patiently(self, offer: Offer, spoken: str) -> AsyncIterator[str | Spent]:
        """Ask again while the model starts; nothing was answered by then."""
        until, told = asyncio.get_running_loop().time() + PATIENCE, False
        while True:
            try:
                async for found in ask(offer.address, offer.models[0], self._so_far(), spoken):
                    yield found
                return
            except Refused as reason:
                if reason.why is not Why.STARTING or asyncio.get_running_loop().time() >= until:
                    raise
                if not told:
                    self.send_message(f"{WAITING[spoken]} {reason.said}".strip())
                    told = True
                await asyncio.sleep(reason.again or AGAIN)

    def _so_far(self) -> list[dict[str, str]]:
        """The last few turns: questions, and answers without what stands under them; no refusals, no welcome."""
        turns = []
        for one in self.chat.get_messages():
            body, footed, _ = one.body.partition(FOOTER)
            if body.strip() and not one.deleted and (footed or is_a_person(one)):
                role = "user" if is_a_person(one) else "assistant"
                turns.append({"role": role, "content": body.strip()[:LONGEST]})
        return [{"role": "system", "content": self.system_prompt}, *turns[-1 - TURNS :]]

    def welcome(self) -> None:
        """Say in an empty chat what this is, and what it is not."""
        if not self.chat.get_messages():
            self.send_message(WELCOME[language()])
