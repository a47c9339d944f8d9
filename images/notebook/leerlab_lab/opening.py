"""One click from the portal to the notebook or to the feedback: fetches it if need be, then opens it in the lab."""

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
    "<h1>Dit kan niet worden geopend</h1><p>{sentence}</p>"
    "<p lang=en>This cannot be opened.</p>"
    "<p><a href='{lab}'>Naar je werkplek / To your workplace</a></p>"
)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Jupyter Server's way to find the extension."""
    return [{"module": "leerlab_lab.opening"}]


def _load_jupyter_server_extension(server: ServerApp) -> None:
    """Add the addresses `leerlab/open/<course>/<assignment>` and `leerlab/feedback/<course>/<assignment>`."""
    base, home = server.web_app.settings["base_url"], {"home": Path(server.root_dir)}
    routes = [
        (url_path_join(base, f"leerlab/{what}/({IDENTIFIER})/({IDENTIFIER})"), handler, home)
        for what, handler in (("open", OpenHandler), ("feedback", FeedbackHandler))
    ]
    server.web_app.add_handlers(".*$", routes)


class _Opening(JupyterHandler):
    def initialize(self, home: Path) -> None:
        """Take the folder in which nbgrader puts assignments."""
        self._home = home

    async def _cannot(self, sentence: str) -> None:
        self.set_status(409)
        lab = url_path_join(self.base_url, "lab")
        await self.finish(_PAGE.format(sentence=html.escape(sentence), lab=html.escape(lab)))

    def _show(self, *parts: str) -> None:
        place = "/".join(quote(part) for part in parts)
        self.redirect(url_path_join(self.base_url, "lab/tree", place))


class OpenHandler(_Opening):
    """Fetches once and redirects to the first notebook; a second call only redirects, so no work is touched."""

    @web.authenticated
    async def get(self, course: str, assignment: str) -> None:
        """Redirect to the notebook, or say why that cannot be."""
        folder = self._home / course / assignment
        if not folder.is_dir():
            try:
                await asyncio.to_thread(fetch, self._home, course, assignment)
            except ExchangeError as error:
                await self._cannot(str(error))
                return
        notebooks = sorted(path.name for path in folder.glob("*.ipynb"))
        self._show(course, assignment, *notebooks[:1])


class FeedbackHandler(_Opening):
    """Fetches the feedback as it is now, and shows what is about the newest work handed in."""

    @web.authenticated
    async def get(self, course: str, assignment: str) -> None:
        """Redirect to the page with feedback, or say why that cannot be."""
        try:
            await asyncio.to_thread(fetch_feedback, self._home, course, assignment)
        except ExchangeError as error:
            await self._cannot(str(error))
            return
        folder = self._home / course / assignment / "feedback"
        pages = sorted(folder.glob("*/*.html"), key=lambda page: (page.parent.name, page.name))
        if not pages:
            await self._cannot("Er is nog geen feedback op je werk. / There is no feedback on your work yet.")
            return
        newest = next(page for page in pages if page.parent == pages[-1].parent)
        self._show(course, assignment, "feedback", newest.parent.name, newest.name)


def fetch(home: Path, course: str, assignment: str) -> None:
    """Fetch an assignment as nbgrader's own button does.

    Args:
        home: folder in which to put `<course>/<assignment>`.
        course: the course's id.
        assignment: the assignment's id.

    Raises:
        ExchangeError: the exchange does not give it.
    """
    config, common = _nbgrader(home, course, assignment)
    ExchangeFactory(config=config).FetchAssignment(**common).start()


def fetch_feedback(home: Path, course: str, assignment: str) -> None:
    """Fetch the feedback on an assignment as nbgrader's own button does; arguments and errors as of `fetch`."""
    config, common = _nbgrader(home, course, assignment)
    ExchangeFactory(config=config).FetchFeedback(**common).start()


def _nbgrader(home: Path, course: str, assignment: str) -> tuple[Any, dict[str, Any]]:
    application = NbGrader()
    application.load_config_file()
    config: Any = application.config
    config.CourseDirectory.course_id = course
    config.CourseDirectory.assignment_id = assignment
    config.Exchange.assignment_dir = str(home)
    authenticator = Authenticator(config=config)
    return config, {"coursedir": CourseDirectory(config=config), "authenticator": authenticator, "config": config}
