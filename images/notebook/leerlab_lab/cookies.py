"""On a site with TLS, the server's own `_xsrf` cookie is Secure as well; JupyterHub's cookies are already."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Jupyter Server's way to find the extension."""
    return [{"module": "leerlab_lab.cookies"}]


def _load_jupyter_server_extension(server: ServerApp) -> None:
    """Browsers send the cookie by TLS alone where the hub's public address is one of TLS."""
    if os.environ.get("JUPYTERHUB_PUBLIC_URL", "").startswith("https:"):
        server.web_app.settings.setdefault("xsrf_cookie_kwargs", {})["secure"] = True
