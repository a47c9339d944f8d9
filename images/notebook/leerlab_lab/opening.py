"""One click from the portal to the notebook: fetches an assignment if need be, then opens it in the lab."""

from __future__ import annotations

import asyncio
import html
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from nbgrader.apps import NbGrader
from nbgrader.auth import Authenticator
from nbgrader.coursedir import CourseDirectory
from nbgrader.exchange import ExchangeError, ExchangeFactory
from tornado import web

IDENTIFIER = r"[a-z][a-z0-9-]{1,30}"
_PAGE = (
    "<!doctype html><html lang=nl><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    "<title>Leerlab</title>"
    "<body style='font:1.1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem'>"
    "<h1>De opdracht kan niet worden geopend</h1><p>{sentence}</p>"
    "<p lang=en>The assignment cannot be opened.</p>"
    "<p><a href='{lab}'>Naar je werkplek / To your workplace</a></p>"
)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Jupyter Server's way to find the extension."""
    return [{"module": "leerlab_lab.opening"}]


def _load_jupyter_server_extension(server: ServerApp) -> None:
    """Add the address `leerlab/open/<course>/<assignment>`."""
    route = url_path_join(server.web_app.settings["base_url"], f"leerlab/open/({IDENTIFIER})/({IDENTIFIER})")
    server.web_app.add_handlers(".*$", [(route, OpenHandler, {"home": Path(server.root_dir)})])


class OpenHandler(JupyterHandler):
    """Fetches once and redirects to the first notebook; a second call only redirects, so no work is touched."""

    def initialize(self, home: Path) -> None:
        """Take the folder in which nbgrader puts assignments."""
        self._home = home

    @web.authenticated
    async def get(self, course: str, assignment: str) -> None:
        """Redirect to the notebook, or say why that cannot be."""
        folder = self._home / course / assignment
        if not folder.is_dir():
            try:
                await asyncio.to_thread(fetch, self._home, course, assignment)
            except ExchangeError as error:
                self.set_status(409)
                lab = url_path_join(self.base_url, "lab")
                await self.finish(_PAGE.format(sentence=html.escape(str(error)), lab=html.escape(lab)))
                return
        notebooks = sorted(path.name for path in folder.glob("*.ipynb"))
        place = "/".join(quote(part) for part in (course, assignment, *notebooks[:1]))
        self.redirect(url_path_join(self.base_url, "lab/tree", place))


def fetch(home: Path, course: str, assignment: str) -> None:
    """Fetch an assignment as nbgrader's own button does.

    Args:
        home: folder in which to put `<course>/<assignment>`.
        course: the course's id.
        assignment: the assignment's id.

    Raises:
        ExchangeError: the exchange does not give it.
    """
    application = NbGrader()
    application.load_config_file()
    config: Any = application.config
    config.CourseDirectory.course_id = course
    config.CourseDirectory.assignment_id = assignment
    config.Exchange.assignment_dir = str(home)
    course_folder = CourseDirectory(config=config)
    ExchangeFactory(config=config).FetchAssignment(
        coursedir=course_folder, authenticator=Authenticator(config=config), config=config
    ).start()
