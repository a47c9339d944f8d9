"""A course's server: nbgrader's formgrader and nothing else, in a JupyterHub single-user server.

Started as `python -m leerlab_lab.formgrader` behind a wall, with the course folder as home. No code of anybody runs in
it: no kernels, terminals, contents API, files, conversion, lab or further extensions. It is the only writer of the
course's gradebook.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyter_server.serverapp import ServerApp
from jupyter_server.services.contents.filemanager import AsyncFileContentsManager
from jupyter_server.utils import url_path_join
from jupyterhub.singleuser.extension import JupyterHubSingleUser
from nbgrader.server_extensions.formgrader import apihandlers, handlers
from nbgrader.server_extensions.formgrader.formgrader import FormgradeExtension
from tornado import web

from leerlab_lab.formgrader.access import REFUSED, ROLE_SECONDS, Guard
from leerlab_lab.formgrader.actions import Assignment, ClassRuns, Grading
from leerlab_lab.formgrader.again import gone_on
from leerlab_lab.formgrader.again_routes import Decision, DifferencesFile, DifferencesPage, GradingAgain
from leerlab_lab.formgrader.comments import Comments, CommentUse, OneComment
from leerlab_lab.formgrader.course_pages import (
    AssignmentsPage,
    HandedInPage,
    Home,
    LanguageSwitch,
    MarkingPage,
    NotebooksPage,
    NotebookWorkPage,
    RefusedPage,
    StudentPage,
    StudentsPage,
)
from leerlab_lab.formgrader.export import ExportFile, ExportPage
from leerlab_lab.formgrader.hand_in import (
    Deadline,
    Extensions,
    ExtensionsPage,
    HandInPage,
    HandInRules,
    begin_telling_old_deadlines,
)
from leerlab_lab.formgrader.look import PAGES, STATIC, Surroundings
from leerlab_lab.formgrader.marks import Comment, Grade, WorkPage
from leerlab_lab.formgrader.names import Names
from leerlab_lab.formgrader.overview import AssignmentOverviewPage, OverviewPage
from leerlab_lab.gradebook import do_once
from leerlab_lab.pages import SafePages

EXTENSION = "leerlab_lab.formgrader"
NOTEBOOKS = Path(__file__).parent / "notebooks"
# No script stands in a page's text, so that none that a student wrote could run even if the cleaning failed. Nothing
# can be loaded from or sent to another address.
PAGE_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
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
        extensions = {**kwargs.pop("jpserver_extensions", {}), EXTENSION: True, "leerlab_lab.cookies": True}
        server = super().make_serverapp(jpserver_extensions=extensions, **kwargs)
        config = server.config.ServerApp
        config.contents_manager_class = NoContents
        config.terminals_enabled = False
        config.default_url = "/formgrader"
        # How long the hub's word on a person's groups is kept.
        server.config.HubOAuth.cache_max_age = ROLE_SECONDS
        config.tornado_settings = {
            "headers": {
                "Content-Security-Policy": PAGE_POLICY,
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "same-origin",
            }
        }
        server.update_config(server.config)
        return server


class Kept(web.StaticFileHandler):
    """A style, script or picture; its address changes with it."""

    def get_cache_time(self, path: str, modified: Any, mime_type: str) -> int:
        """A day for an address that changes with the file; a module that a script imports is asked for anew."""
        return 86_400 if "v" in self.request.arguments else 0


class Submissions(handlers.SubmissionFilesHandler):
    """Files of a submission, which a student made: never with the rights of the page."""

    def set_extra_headers(self, path: str) -> None:
        """Images are shown; everything else is offered for keeping."""
        super().set_extra_headers(path)
        self.set_header("Content-Security-Policy", FILE_POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        if not path.lower().endswith((".png", ".jpg", ".jpeg", ".gif")):
            self.set_header("Content-Disposition", "attachment")


_ASSIGNMENT = r"/formgrader/api/assignment/([^/]+)/"
_STUDENT = r"/formgrader/api/assignment/([^/]+)/([^/]+)/"


def own_handlers(surroundings: Surroundings) -> list[Any]:
    """All that a course's server answers beside nbgrader's answers in JSON.

    Args:
        surroundings: the site around the course.
    """
    around = {"surroundings": surroundings}
    page = {**around, "names": Names(surroundings.id)}
    return [
        (r"/formgrader/?", Home, page),
        (r"/formgrader/language", LanguageSwitch, page),
        (REFUSED, RefusedPage, page),
        (r"/formgrader/portal/([a-z-]+\.(?:css|svg))", Kept, {"path": str(PAGES / "static")}),
        (r"/formgrader/own/([a-z-]+\.(?:css|js))", Kept, {"path": str(STATIC)}),
        (r"/formgrader/manage_assignments/?", AssignmentsPage, page),
        (r"/formgrader/manage_submissions/([^/]+)/?", HandedInPage, page),
        (r"/formgrader/differences/([^/]+)/?", DifferencesPage, page),
        (r"/formgrader/differences/([^/]+)/([0-9a-f]{16})/?", DifferencesPage, page),
        (r"/formgrader/differences/([^/]+)/([0-9a-f]{16})\.csv", DifferencesFile, page),
        (r"/formgrader/gradebook/?", MarkingPage, page),
        (r"/formgrader/gradebook/([^/]+)/?", NotebooksPage, page),
        (r"/formgrader/gradebook/([^/]+)/([^/]+)/?", NotebookWorkPage, page),
        (r"/formgrader/hand_in/?", HandInPage, page),
        (r"/formgrader/extensions/([^/]+)/?", ExtensionsPage, page),
        (r"/formgrader/manage_students/?", StudentsPage, page),
        (r"/formgrader/manage_students/([^/]+)/?", StudentPage, page),
        (r"/formgrader/manage_students/([^/]+)/([^/]+)/?", StudentPage, page),
        (r"/formgrader/overview/?", OverviewPage, page),
        (r"/formgrader/overview/([^/]+)/?", AssignmentOverviewPage, page),
        (r"/formgrader/export/?", ExportPage, page),
        (r"/formgrader/export/file", ExportFile, page),
        (r"/formgrader/submissions/([^/]+)/?", WorkPage, page),
        (r"/formgrader/submissions/(.*)", Submissions),
        (r"/formgrader/api/assignment/([^/]+)", Assignment),
        (r"/formgrader/api/grade/([^/]+)", Grade),
        (r"/formgrader/api/comment/([^/]+)", Comment),
        (r"/formgrader/api/comment_library", Comments),
        (r"/formgrader/api/comment_library/([^/]+)", OneComment),
        (r"/formgrader/api/comment_library/([^/]+)/used", CommentUse),
        (_ASSIGNMENT + "class_run", ClassRuns),
        (_ASSIGNMENT + "again", GradingAgain),
        (_ASSIGNMENT + "again/([^/]+)", Decision),
        (_ASSIGNMENT + "deadline", Deadline, around),
        (_STUDENT + "extension", Extensions, around),
        (r"/formgrader/api/hand_in", HandInRules, around),
        (_ASSIGNMENT + "assign", Grading, {"action": "generate_assignment"}),
        (_ASSIGNMENT + "unrelease", Grading, {"action": "unrelease"}),
        (_ASSIGNMENT + "release", Grading, {"action": "release_assignment"}),
        (_ASSIGNMENT + "collect", Grading, {"action": "collect"}),
        (_ASSIGNMENT + "generate_feedback", Grading, {"action": "generate_feedback"}),
        (_ASSIGNMENT + "release_feedback", Grading, {"action": "release_feedback"}),
        (_STUDENT + "generate_feedback", Grading, {"action": "generate_feedback"}),
        (_STUDENT + "release_feedback", Grading, {"action": "release_feedback"}),
        (r"/formgrader/api/submission/([^/]+)/([^/]+)/autograde", Grading, {"action": "autograde"}),
    ]


class CourseFormgrader(FormgradeExtension):
    """nbgrader's formgrader behind pages of our own: its gradebook, its steps and its answers in JSON."""

    def build_extra_config(self) -> Any:
        """Students' work is drawn with our template for notebooks."""
        config = super().build_extra_config()
        config.HTMLExporter.template_name = "marking"
        config.HTMLExporter.extra_template_basedirs = [str(NOTEBOOKS), handlers.template_path]
        return config

    def init_tornado_settings(self, webapp: web.Application) -> None:
        """As nbgrader's, with cleaned notebooks."""
        super().init_tornado_settings(webapp)
        webapp.settings["nbgrader_exporter"] = SafePages(config=self.config)

    def init_handlers(self, webapp: web.Application) -> None:
        """Our pages and actions before nbgrader's answers in JSON; its own pages and scripts are not served."""
        base = webapp.settings["base_url"]
        routes = [
            *own_handlers(Surroundings.given()),
            *apihandlers.default_handlers,
            (r"/formgrader/.*", handlers.Template404),
        ]
        webapp.add_handlers(".*$", [(url_path_join(base, pattern), *rest) for pattern, *rest in routes])


def _load_jupyter_server_extension(server: ServerApp) -> None:
    """Jupyter's entry point for an extension: add the course's formgrader to the server."""
    do_once()
    formgrader = CourseFormgrader(parent=server)
    formgrader.root_dir = server.root_dir
    formgrader.log = server.log
    formgrader.initialize([])
    formgrader.init_tornado_settings(server.web_app)
    formgrader.init_handlers(server.web_app)
    around = Surroundings.given()
    Guard(around, server.base_url).stand_before(server.web_app)
    begin_telling_old_deadlines(around.id, formgrader.coursedir.db_url)
    ClassRuns.take_up(formgrader)
    Decision.running.update({one.plan.assignment: one for one in gone_on(formgrader, Grading._threads)})


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": EXTENSION}]
