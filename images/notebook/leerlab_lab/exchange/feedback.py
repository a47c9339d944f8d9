"""`nbgrader release_feedback` and `fetch_feedback`: pages of feedback, each bound to one submission of one student."""

from __future__ import annotations

import shutil
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from nbgrader.exchange.abc import ExchangeFetchFeedback, ExchangeReleaseFeedback
from nbgrader.utils import parse_utc

from leerlab_lab.exchange.base import ServiceExchange
from leerlab_lab.tree import PlainFile


class ServiceReleaseFeedback(ServiceExchange, ExchangeReleaseFeedback):
    """Gives the generated pages to the students whose submissions they are about."""

    def init_src(self) -> None:
        """Find the students who have generated feedback."""
        chosen = self.coursedir.student_id or "*"
        excluded = set((self.coursedir.student_id_exclude or "").split(","))
        root = Path(self.coursedir.format_path(self.coursedir.feedback_directory, ".", "."))
        self.folders = [
            folder
            for folder in sorted(root.glob(f"{chosen}/{self.assignment}"))
            if folder.is_dir() and folder.parent.name not in excluded
        ]

    def init_dest(self) -> None:
        """Find the submissions that the feedback can be about."""
        items = self.service.ask(
            "GET", "/exchange/submissions", course=self.course, assignment=self.assignment, everybody="1"
        )
        self.submissions = {(item["student"], parse_utc(item["timestamp"])): item for item in items}

    def copy_files(self) -> None:
        """Send each student's pages."""
        for folder in self.folders:
            student = folder.parent.name
            moment = self.coursedir.get_existing_timestamp(str(folder))
            item = self.submissions.get((student, moment)) if isinstance(moment, datetime) else None
            pages = [PlainFile(page.name, page) for page in sorted(folder.glob("*.html")) if not page.is_symlink()]
            if item is None or not pages:
                self.log.error("Feedback for %s is about no submission that is known here: not released.", student)
                continue
            self.service.send("PUT", self.of_assignment("submissions", student, item["submission"], "feedback"), pages)
            self.log.info("Feedback released to %s for %s (%s)", student, self.assignment, item["timestamp"])


class ServiceFetchFeedback(ServiceExchange, ExchangeFetchFeedback):
    """Fetches the pages that are about the student's own submissions, into `<assignment>/feedback/<timestamp>/`."""

    def init_src(self) -> None:
        """Find the own submissions with feedback."""
        query = {"course": self.course}
        if self.assignment not in {"", "*"}:
            query["assignment"] = self.assignment
        items: list[dict[str, Any]] = self.service.ask("GET", "/exchange/submissions", **query)
        self.given = [item for item in items if item["feedback"]]
        if not self.given:
            self.log.warning("There is no feedback on %s yet.", self.assignment)

    def init_dest(self) -> None:
        """Each submission's feedback has a folder of its own."""

    def copy_files(self) -> None:
        """Fetch the pages; newer pages replace older ones."""
        for item in self.given:
            self.coursedir.assignment_id = item["assignment"]
            target = self.local(self.course, item["assignment"]) / "feedback" / item["timestamp"]
            target.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".feedback-", dir=target.parent) as scratch:
                fresh = Path(scratch, "fresh")
                place = self.of_assignment("submissions", item["student"], item["submission"], "feedback")
                for path in self.service.take(place, fresh):
                    shutil.copyfile(fresh / path, target / path)
            self.log.info("Fetched feedback: %s", target)
