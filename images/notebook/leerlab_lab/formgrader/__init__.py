"""A course's server: nbgrader's formgrader and nothing else, in a JupyterHub single-user server.

Started as `python -m leerlab_lab.formgrader` behind a wall, with the course folder as home. No code of anybody runs in
it: no kernels, terminals, contents API, files, conversion, lab or further extensions. It is the only writer of the
course's gradebook.
"""

from __future__ import annotations

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader
from jupyter_server.serverapp import ServerApp
from jupyter_server.services.contents.filemanager import AsyncFileContentsManager
from jupyter_server.utils import url_path_join
from jupyterhub.singleuser.extension import JupyterHubSingleUser
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from nbgrader.server_extensions.formgrader import handlers
from nbgrader.server_extensions.formgrader.base import BaseApiHandler, BaseHandler
from nbgrader.server_extensions.formgrader.formgrader import FormgradeExtension
from tornado import web

from leerlab_lab.formgrader.scripts import CHANGES, Script
from leerlab_lab.pages import SafePages

EXTENSION = "leerlab_lab.formgrader"
TEMPLATES = Path(__file__).parent / "templates"
# nbgrader's pages have scripts in their text, so that these must be allowed; what students made is cleaned before it is
# shown. Nothing can be loaded from or sent to another address.
PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# A file that a student handed in is shown as if it came from nowhere: no scripts, none of the page's rights.
FILE_POLICY = "sandbox; default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'"


class NoContents(AsyncFileContentsManager):
    """Only there because the server wants one: serves no files at all."""

    def get_extra_handlers(self) -> list[Any]:
        """No routes below `/files/`."""
        return []


class CourseServer(ServerApp):
    """A Jupyter server with nothing but its own identity and version: `/api`, `/api/me`, login and logout."""

    default_services = ("api", "auth", "security")

    def find_server_extensions(self) -> None:
        """Load what this class names and nothing that the environment has installed."""


class CourseSingleUser(JupyterHubSingleUser):
    """JupyterHub's identity around the course's server."""

    name = "jupyterhub-singleuser"
    serverapp_class = CourseServer
    load_other_extensions = False

    @classmethod
    def get_extension_package(cls) -> str:
        """JupyterHub's own extension, not this module, gives the server its identity."""
        return "jupyterhub"

    @classmethod
    def make_serverapp(cls, **kwargs: Any) -> ServerApp:
        """The server with its fixed settings, which no file overrides."""
        extensions = {**kwargs.pop("jpserver_extensions", {}), EXTENSION: True}
        server = super().make_serverapp(jpserver_extensions=extensions, **kwargs)
        config = server.config.ServerApp
        config.contents_manager_class = NoContents
        config.terminals_enabled = False
        config.default_url = "/formgrader"
        config.tornado_settings = {
            "headers": {
                "Content-Security-Policy": PAGE_POLICY,
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "same-origin",
            }
        }
        server.update_config(server.config)
        return server


class Grading(BaseApiHandler):
    """One of nbgrader's long actions, in a thread of its own, so that other pages answer meanwhile."""

    # One at a time: nbgrader's converters change the process's folder and environment.
    _threads: ClassVar = ThreadPoolExecutor(max_workers=1, thread_name_prefix="grading")

    def initialize(self, action: str) -> None:
        """Args:
        action: name of the method of `nbgrader.apps.api.NbGraderAPI`.
        """
        self._action = action

    @web.authenticated
    async def post(self, *names: str) -> None:
        """Run the action for an assignment, or for an assignment and a student; answers nbgrader's own result."""
        result = await asyncio.get_running_loop().run_in_executor(self._threads, self._run, names)
        self.write(json.dumps(result))

    def _run(self, names: tuple[str, ...]) -> Any:
        # A course directory of its own: nbgrader changes it while it works, and other requests read the shared one.
        app = self.coursedir.parent
        api = NbGraderAPI(CourseDirectory(parent=app), self.authenticator, parent=app)
        return getattr(api, self._action)(*names)


class Submissions(handlers.SubmissionFilesHandler):
    """Files of a submission, which a student made: never with the rights of the page."""

    def set_extra_headers(self, path: str) -> None:
        """Images are shown; everything else is offered for keeping."""
        super().set_extra_headers(path)
        self.set_header("Content-Security-Policy", FILE_POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        if not path.lower().endswith((".png", ".jpg", ".jpeg", ".gif")):
            self.set_header("Content-Disposition", "attachment")


class Home(BaseHandler):
    """The first page. Unlike nbgrader's, it never loads settings from a folder that the address names."""

    @web.authenticated
    def get(self) -> None:
        """Go to the list of assignments."""
        self.redirect(f"{self.base_url}/formgrader/manage_assignments")


_ASSIGNMENT = r"/formgrader/api/assignment/([^/]+)/"
_STUDENT = r"/formgrader/api/assignment/([^/]+)/([^/]+)/"
OWN_HANDLERS: list[Any] = [
    (r"/formgrader/?", Home),
    *((rf"/formgrader/static/js/{re.escape(name)}", Script, {"name": name}) for name in CHANGES),
    (_ASSIGNMENT + "assign", Grading, {"action": "generate_assignment"}),
    (_ASSIGNMENT + "unrelease", Grading, {"action": "unrelease"}),
    (_ASSIGNMENT + "release", Grading, {"action": "release_assignment"}),
    (_ASSIGNMENT + "collect", Grading, {"action": "collect"}),
    (_ASSIGNMENT + "generate_feedback", Grading, {"action": "generate_feedback"}),
    (_ASSIGNMENT + "release_feedback", Grading, {"action": "release_feedback"}),
    (_STUDENT + "generate_feedback", Grading, {"action": "generate_feedback"}),
    (_STUDENT + "release_feedback", Grading, {"action": "release_feedback"}),
    (r"/formgrader/api/submission/([^/]+)/([^/]+)/autograde", Grading, {"action": "autograde"}),
    # Their more particular routes go before ours for files.
    *(
        route
        for route in handlers.default_handlers
        if route[0].startswith("/formgrader/submissions/") and route[1] is not handlers.SubmissionFilesHandler
    ),
    (r"/formgrader/submissions/(.*)", Submissions),
]


class CourseFormgrader(FormgradeExtension):
    """nbgrader's formgrader with escaped pages, long actions in a thread and students' files kept harmless."""

    def init_tornado_settings(self, webapp: web.Application) -> None:
        """As nbgrader's, with our templates before its own; what pages show is escaped."""
        super().init_tornado_settings(webapp)
        webapp.settings["nbgrader_exporter"] = SafePages(config=self.config)
        theirs = FileSystemLoader([handlers.template_path])
        webapp.settings["nbgrader_jinja2_env"] = Environment(
            loader=ChoiceLoader([FileSystemLoader([TEMPLATES]), PrefixLoader({"nbgrader": theirs}), theirs]),
            autoescape=True,
        )

    def init_handlers(self, webapp: web.Application) -> None:
        """Ours first: the first that fits answers."""
        base = webapp.settings["base_url"]
        webapp.add_handlers(".*$", [(url_path_join(base, pattern), *rest) for pattern, *rest in OWN_HANDLERS])
        super().init_handlers(webapp)


def _load_jupyter_server_extension(server: ServerApp) -> None:
    """Jupyter's entry point for an extension: add the course's formgrader to the server."""
    formgrader = CourseFormgrader(parent=server)
    formgrader.root_dir = server.root_dir
    formgrader.log = server.log
    formgrader.initialize([])
    formgrader.init_tornado_settings(server.web_app)
    formgrader.init_handlers(server.web_app)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": EXTENSION}]
