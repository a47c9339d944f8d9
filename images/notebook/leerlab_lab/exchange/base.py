"""What all exchange classes share: the service, where an assignment lies on disk, and nbgrader's own error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

from nbgrader.exchange import ExchangeError
from nbgrader.exchange.abc import Exchange
from nbgrader.utils import ignore_patterns
from traitlets import Bool

from leerlab_lab.service import Service, ServiceError
from leerlab_lab.tree import PlainFile, collect

# Never part of what is handed in or released: made by the exchange itself.
OWN_FILES = ("timestamp.txt", "submission_secret.txt")
RECEIPTS = "receipts"


class ServiceExchange(Exchange):
    """Base of the exchange classes. Who is asking is never said: the service knows it from the server's token."""

    path_includes_course = Bool(
        False, help="Whether an assignment lies in ./<course>/<assignment> instead of ./<assignment>."
    ).tag(config=True)

    @property
    def service(self) -> Service:
        """The grading service, with this server's token."""
        return Service()

    @property
    def course(self) -> str:
        """The course at hand.

        Raises:
            ExchangeError: none is named.
        """
        if not self.coursedir.course_id or self.coursedir.course_id == "*":
            self.fail("No course id specified. Re-run with --course flag.")
        return str(self.coursedir.course_id)

    @property
    def assignment(self) -> str:
        """The assignment at hand."""
        return str(self.coursedir.assignment_id)

    def of_assignment(self, *rest: str) -> str:
        """The service's path for the assignment at hand, with more parts behind it."""
        parts = ("exchange", "courses", self.course, "assignments", self.assignment, *rest)
        return "/" + "/".join(quote(part, safe="") for part in parts)

    def local(self, course: str, assignment: str) -> Path:
        """Where an assignment lies, or will lie, on this machine."""
        place = Path(self.assignment_dir).absolute()
        return place / course / assignment if self.path_includes_course else place / assignment

    def files_of(self, folder: Path) -> list[PlainFile]:
        """The files of a folder that may travel; links and special files stay behind, and the log says so."""
        ignored = ignore_patterns(
            exclude=[*self.coursedir.ignore, RECEIPTS],
            include=self.coursedir.include,
            max_file_size=self.coursedir.max_file_size,
            log=self.log,
        )
        found = collect(folder, ignored)
        for path in found.left_out:
            self.log.warning("Left out, because it is a link or a special file: %s", path)
        return [file for file in found.files if file.path not in OWN_FILES]

    @contextlib.contextmanager
    def failing_as_exchange(self) -> Iterator[None]:
        """Turn what the service or the disk says into nbgrader's own error, with the sentence for the person."""
        try:
            yield
        except ServiceError as error:
            self.fail(str(error))
        except OSError as error:
            self.fail(f"Your files cannot be read or written: {error}.")

    def fail(self, msg: str) -> NoReturn:
        """Log why it failed and raise nbgrader's error."""
        self.log.critical(msg)
        raise ExchangeError(msg)

    def start(self) -> Any:
        """Run the steps, as nbgrader's own classes do; there is no exchange folder to check."""
        with self.failing_as_exchange():
            return super().start()
