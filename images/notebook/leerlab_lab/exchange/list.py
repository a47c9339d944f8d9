"""`nbgrader list` and the lists in Assignment List and formgrader, in the structures of nbgrader's own exchange."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from nbgrader.exchange.abc import ExchangeList

from leerlab_lab.exchange.base import ServiceExchange

Info = dict[str, Any]


class ServiceList(ServiceExchange, ExchangeList):
    """Released assignments; with `inbound`, what was handed in to a course; with `cached`, what oneself handed in."""

    def init_src(self) -> None:
        """There is no source folder."""

    def init_dest(self) -> None:
        """There is no destination folder."""

    def copy_files(self) -> None:
        """A list copies nothing."""

    def list_files(self) -> list[Info]:
        """Log the list and return it."""
        return self._submitted() if self.inbound or self.cached else self._released()

    def remove_files(self) -> list[Info]:
        """Take releases back. What was handed in can never be removed through the exchange."""
        if self.inbound or self.cached:
            self.fail("What was handed in is kept and cannot be removed.")
        found = self._released()
        for info in found:
            self.coursedir.course_id, self.coursedir.assignment_id = info["course_id"], info["assignment_id"]
            self.service.ask("DELETE", self.of_assignment())
            info["status"] = "removed"
            self.log.info("Taken back: %s %s", info["course_id"], info["assignment_id"])
        return found

    def _chosen(self, value: str) -> str:
        return "" if value in {"", "*"} else value

    def _released(self) -> list[Info]:
        course = self._chosen(self.coursedir.course_id)
        query = {"course": course} if course else {}
        assignment = self._chosen(self.coursedir.assignment_id)
        found = [
            self._released_info(item)
            for item in self.service.ask("GET", "/exchange/assignments", **query)
            if assignment in {"", item["assignment"]}
        ]
        self.log.info("Released assignments:")
        for info in found:
            fetched = " (already downloaded)" if info["status"] == "fetched" else ""
            self.log.info("%s %s%s", info["course_id"], info["assignment_id"], fetched)
        return found

    def _released_info(self, item: Info) -> Info:
        local = self.local(item["course"], item["assignment"])
        fetched = local.exists()
        names = sorted(path.stem for path in local.glob("*.ipynb")) if fetched else item["notebooks"]
        return {
            "course_id": item["course"],
            "assignment_id": item["assignment"],
            "status": "fetched" if fetched else "released",
            "path": str(local),
            "notebooks": [{"notebook_id": name, "path": str(local / f"{name}.ipynb")} for name in names],
        }

    def _submitted(self) -> list[Info]:
        query = {"course": self.coursedir.course_id, "assignment": self.coursedir.assignment_id}
        if self.inbound:
            query |= {"everybody": "1", "student": self.coursedir.student_id}
        query = {name: self._chosen(value) for name, value in query.items()}
        items = self.service.ask(
            "GET", "/exchange/submissions", **{name: value for name, value in query.items() if value}
        )
        groups: dict[tuple[str, str, str], list[Info]] = {}
        for item in items:
            groups.setdefault((item["course"], item["student"], item["assignment"]), []).append(self._info(item))
        self.log.info("Submitted assignments:")
        found = []
        for (course, student, assignment), submissions in sorted(groups.items()):
            submissions.sort(key=lambda info: str(info["timestamp"]))
            found.append(
                {
                    "course_id": course,
                    "student_id": student,
                    "assignment_id": assignment,
                    "status": "submitted",
                    "submissions": submissions,
                }
            )
            for info in submissions:
                self.log.info("%s %s %s %s (%s)", course, student, assignment, info["timestamp"], _feedback_said(info))
        return found

    def _info(self, item: Info) -> Info:
        local = self.local(item["course"], item["assignment"])
        folder = local / "feedback" / item["timestamp"]
        notebooks = [self._notebook_info(name, item, local, folder) for name in item["notebooks"]]
        has_local = bool(notebooks) and all(notebook["has_local_feedback"] for notebook in notebooks)
        return {
            "course_id": item["course"],
            "student_id": item["student"],
            "assignment_id": item["assignment"],
            "timestamp": item["timestamp"],
            "status": "submitted",
            "path": str(local),
            "submission": item["submission"],
            "notebooks": notebooks,
            "has_local_feedback": has_local,
            "has_exchange_feedback": bool(notebooks)
            and all(notebook["has_exchange_feedback"] for notebook in notebooks),
            "feedback_updated": any(notebook["feedback_updated"] for notebook in notebooks),
            "local_feedback_path": str(folder) if has_local else None,
        }

    def _notebook_info(self, name: str, item: Info, local: Path, folder: Path) -> Info:
        page = folder / f"{name}.html"
        given = item["feedback"].get(f"{name}.html")
        has_local = page.is_file()
        return {
            "notebook_id": name,
            "path": str(local / f"{name}.ipynb"),
            "has_local_feedback": has_local,
            "has_exchange_feedback": given is not None,
            "local_feedback_path": str(page) if has_local else None,
            "feedback_updated": has_local
            and given is not None
            and hashlib.sha256(page.read_bytes()).hexdigest() != given,
        }


def _feedback_said(info: Info) -> str:
    if info["has_local_feedback"] and not info["feedback_updated"]:
        return "feedback already fetched"
    return "feedback ready to be fetched" if info["has_exchange_feedback"] else "no feedback available"
