"""What would become of work that is handed in now: how late it is, what that costs, which attempt it is.

The lab's page asks before nbgrader's button hands anything in (labextensions/leerlab-hand-in).
"""

from __future__ import annotations

import asyncio
import json
import os
from urllib.parse import quote

from jupyter_server.base.handlers import APIHandler
from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from tornado import web

from leerlab_lab.opening import IDENTIFIER
from leerlab_lab.service import Service, ServiceError


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Jupyter Server's way to find the extension."""
    return [{"module": "leerlab_lab.handing_in"}]


def _load_jupyter_server_extension(server: ServerApp) -> None:
    """Add the address `leerlab/hand-in/<course>/<assignment>`."""
    place = url_path_join(server.web_app.settings["base_url"], f"leerlab/hand-in/({IDENTIFIER})/({IDENTIFIER})")
    server.web_app.add_handlers(".*$", [(place, HandInHandler)])


class HandInHandler(APIHandler):
    """GET tells what holds for this person; 503 when the exchange does not answer, 404 when it has nothing to say."""

    @web.authenticated
    async def get(self, course: str, assignment: str) -> None:
        """Tell."""
        place = f"/exchange/courses/{quote(course, safe='')}/assignments/{quote(assignment, safe='')}/terms"
        try:
            told = await asyncio.to_thread(Service().ask, "GET", place)
        except ServiceError as error:
            raise web.HTTPError(503 if error.status in {0, 503} else 404) from error
        self.finish(json.dumps({**told, "language": os.environ.get("LEERLAB_LANGUAGE", "nl")}))
