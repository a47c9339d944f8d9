"""`nbgrader collect`: bring what students handed in into the course folder, each submission complete or not at all."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from nbgrader.exchange.abc import ExchangeCollect
from nbgrader.utils import parse_utc

from leerlab_lab.exchange.base import ServiceExchange
from leerlab_lab.late import Standings, standings_of
from leerlab_lab.service import ServiceError


class ServiceCollect(ServiceExchange, ExchangeCollect):
    """Collects the newest submission of every student, or the newest before the due date with `before_duedate`."""

    def init_src(self) -> None:
        """Choose one submission per student."""
        query = {"course": self.course, "assignment": self.assignment, "everybody": "1"}
        if self.coursedir.student_id not in {"", "*"}:
            query["student"] = self.coursedir.student_id
        by_student: dict[str, list[dict[str, Any]]] = {}
        for item in self.service.ask("GET", "/exchange/submissions", **query):
            by_student.setdefault(item["student"], []).append(item)
        standings = standings_of(self.course, self.assignment) if self.before_duedate else None
        self.chosen = [_choose(items, standings) for _, items in sorted(by_student.items())]

    def init_dest(self) -> None:
        """Each student has a folder of their own."""

    def copy_files(self) -> None:
        """Collect one student after the other; one that fails does not keep the others waiting.

        Raises:
            ExchangeError: after all, if some could not be collected.
        """
        self.log.info("Processing %d submissions of %s for %s", len(self.chosen), self.assignment, self.course)
        failed = []
        for item in self.chosen:
            try:
                self._collect(item)
            except (ServiceError, OSError) as error:
                self.log.error("Not collected: %s: %s", item["student"], error)
                failed.append(item["student"])
        if failed:
            self.fail(f"Not collected: {', '.join(failed)}. All others were. Collect again.")

    def _collect(self, item: dict[str, Any]) -> None:
        student = item["student"]
        target = Path(self.coursedir.format_path(self.coursedir.submitted_directory, student, self.assignment))
        if target.is_dir():
            existing = self.coursedir.get_existing_timestamp(str(target))
            new = parse_utc(item["timestamp"])
            newer = self.update and (existing is None or new > existing)
            if not newer and not (self.before_duedate and existing != new):
                self.log.info("Nothing newer to collect: %s %s", student, self.assignment)
                return
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".collect-", dir=target.parent) as scratch:
            fresh = Path(scratch, "fresh")
            self.service.take(self.of_assignment("submissions", student, item["submission"]), fresh)
            # The service's own time; whatever a student sent under this name is overwritten.
            stamp = fresh / "timestamp.txt"
            if stamp.is_dir():
                shutil.rmtree(stamp)
            stamp.write_text(item["timestamp"], encoding="ascii")
            if target.is_dir():
                target.rename(Path(scratch, "old"))
            fresh.rename(target)
        self.log.info("Collected submission: %s %s %s", student, self.assignment, item["timestamp"])


def _choose(items: list[dict[str, Any]], standings: Standings | None) -> dict[str, Any]:
    """The newest; with standings, the newest that was in time for the student's own deadline, if there is one."""
    items = sorted(items, key=lambda item: str(item["submission"]))
    of_student = standings["students"].get(items[0]["student"], {}) if standings else {}
    in_time = [item for item in items if of_student.get(item["timestamp"], {}).get("late_seconds") == 0]
    return (in_time or items)[-1]
