"""`nbgrader release_assignment`: give the student version of an assignment to the exchange."""

from __future__ import annotations

from pathlib import Path

from nbgrader.exchange.abc import ExchangeReleaseAssignment

from leerlab_lab import english
from leerlab_lab.exchange.base import ServiceExchange


class ServiceReleaseAssignment(ServiceExchange, ExchangeReleaseAssignment):
    """Releases what `nbgrader generate_assignment` made; the service allows it to the course account only."""

    def init_src(self) -> None:
        """The student version must exist."""
        directory = self.coursedir.format_path(self.coursedir.release_directory, ".", self.assignment)
        self.src_path = Path(directory)
        if not self.src_path.is_dir():
            source = Path(self.coursedir.format_path(self.coursedir.source_directory, ".", self.assignment))
            hint = "run `nbgrader generate_assignment` first" if source.is_dir() else "there is no such assignment"
            self.fail(f"No student version at {self.src_path}: {hint}.")

    def init_dest(self) -> None:
        """The course must be named."""
        self.dest_path = self.of_assignment()

    def copy_files(self) -> None:
        """Send the files."""
        english.make(Path(self.coursedir.root), self.assignment)
        files = self.files_of(self.src_path)
        self.service.send("PUT", self.dest_path, files, **({"force": "1"} if self.force else {}))
        self.log.info("Released as: %s %s", self.course, self.assignment)
