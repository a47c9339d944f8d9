"""The chat's part of the server: jupyter-ai's own, with one persona, ours, and none from anywhere else."""

from __future__ import annotations

from typing import Any

from jupyter_ai_persona_manager import BasePersona
from jupyter_ai_persona_manager.extension import PersonaManagerExtension
from jupyter_ai_persona_manager.persona_manager import PersonaManager
from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from jupyterlab_chat.models import Message
from traitlets import Type, default

from leerlab_lab.assistant.persona import Assistant, is_a_person

PERSONA = "jupyter-ai-personas::leerlab_lab::Assistant"


class OnlyOurs(PersonaManager):
    """One persona in each chat: no packages' own, none from a folder `.jupyter/personas`, and no server of tools."""

    @default("default_persona_id")
    def _ours(self) -> str:
        return PERSONA

    @default("builtin_mcp_servers")
    def _no_tools(self) -> list[dict[str, Any]]:
        return []

    def _init_persona_classes(self) -> None:
        PersonaManager._ep_persona_classes = [
            {"module": "leerlab_lab.assistant", "persona_class": Assistant, "traceback": None}
        ]

    def _init_personas(self) -> dict[str, BasePersona]:
        made = super()._init_personas()
        for one in made.values():
            if isinstance(one, Assistant):
                one.welcome()
        return made

    def on_chat_message(self, chat_id: str, message: Message) -> None:
        """Every message of a person is a question to the one who is there."""
        assistant = self.personas.get(PERSONA)
        if assistant is not None and is_a_person(message):
            self.event_loop.create_task(assistant.on_message(message))


class AssistantExtension(PersonaManagerExtension):
    """jupyter-ai's persona manager under a name of ours, so that its own stays off."""

    name = "leerlab_lab.assistant"
    persona_manager_class = Type(klass=PersonaManager, default_value=OnlyOurs)

    def _default_persona_id(self) -> str:
        return PERSONA

    def _link_jupyter_server_extension(self, server_app: ServerApp) -> None:
        """As any extension, without the parent's wish to show hidden files."""
        ExtensionApp._link_jupyter_server_extension(self, server_app)
