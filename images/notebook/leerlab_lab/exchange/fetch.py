"""`nbgrader fetch_assignment`: bring a released assignment into the student's own folder."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from nbgrader.exchange.abc import ExchangeFetchAssignment

from leerlab_lab import english
from leerlab_lab.exchange.base import ServiceExchange


class ServiceFetchAssignment(ServiceExchange, ExchangeFetchAssignment):
    """Fetches everything, or, with `replace_missing_files`, only what is no longer there."""

    def init_src(self) -> None:
        """The course must be named."""
        self.src_path = self.of_assignment()

    def init_dest(self) -> None:
        """The student's own work is never overwritten."""
        self.dest_path = self.local(self.course, self.assignment)
        if self.dest_path.is_dir() and not self.replace_missing_files:
            self.fail(f"You already have a copy of the assignment in this directory: {self.dest_path}")

    def copy_files(self) -> None:
        """Fetch, complete or not at all."""
        if not self.dest_path.is_dir():
            self.service.take(self.src_path, self.dest_path)
            english.choose(self.dest_path, english.wanted())
        else:
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=self.dest_path.parent) as scratch:
                paths = self.service.take(self.src_path, Path(scratch, "release"))
                release = Path(scratch, "release")
                english.choose(release, english.wanted())
                self._replace_missing([path for path in paths if not english.is_variant(path)], release)
        self.log.info("Fetched as: %s %s", self.course, self.assignment)

    def _replace_missing(self, paths: list[str], release: Path) -> None:
        for path in paths:
            target = self.dest_path / path
            if not target.exists():
                self.log.warning("Replacing missing file %s", path)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(release / path, target)
