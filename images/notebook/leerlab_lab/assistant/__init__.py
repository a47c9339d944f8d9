"""The assistant in the lab: one persona of our own in jupyter-ai's chat, and `%%ai`, both through the site's gateway.

The gateway decides each question anew (docs/explanation/assistant.md); what is here only asks, shows and explains.
"""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Jupyter Server's way to find the chat's part; loaded only where the assistant is on."""
    from leerlab_lab.assistant.extension import AssistantExtension  # noqa: PLC0415 - heavy, and magics need none of it

    return [{"module": "leerlab_lab.assistant", "app": AssistantExtension}]
