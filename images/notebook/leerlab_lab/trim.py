"""What a lab switches off is not sent to the browser either.

JupyterLab leaves out the plugins of a disabled extension when it starts, but its page has loaded the extension's code
before: a sixth of all code that a browser has to read until somebody sees their notebook.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

SETTING = "page_config_hook"
Hook = Callable[[Any, dict[str, Any]], dict[str, Any]]


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Jupyter Server's way to find the extension."""
    return [{"module": "leerlab_lab.trim"}]


async def _start_jupyter_server_extension(server: ServerApp) -> None:
    """After whoever else looks at the page's settings: JupyterHub's part sets its own look when all are loaded."""
    before: Hook | None = server.web_app.settings.get(SETTING)

    def hook(handler: Any, page: dict[str, Any]) -> dict[str, Any]:
        return trimmed(before(handler, page) if before else page)

    server.web_app.settings[SETTING] = hook


def trimmed(page: Mapping[str, Any]) -> dict[str, Any]:
    """The page's settings without extensions that are disabled as a whole.

    Args:
        page: JupyterLab's `page_config`; `disabledExtensions` is a list of names, or an object of name and whether.
    """
    disabled = page.get("disabledExtensions") or []
    off = {name for name, is_off in disabled.items() if is_off} if isinstance(disabled, Mapping) else set(disabled)
    found = page.get("federated_extensions") or []
    return {**page, "federated_extensions": [each for each in found if each.get("name") not in off]}
