"""`nbgrader submit`: hand an assignment in, and keep the receipt with it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from nbgrader.exchange.abc import ExchangeSubmit

from leerlab_lab.exchange.base import RECEIPTS, ServiceExchange
from leerlab_lab.tree import PlainFile


class ServiceSubmit(ServiceExchange, ExchangeSubmit):
    """Hands in the assignment's folder. The time that counts is the service's, not this machine's."""

    def init_src(self) -> None:
        """The folder must be there."""
        self.src_path = self.local(self.course, self.assignment)
        if not self.src_path.is_dir():
            self.fail(f"Assignment not found at: {self.src_path}. Fetch it first, or check its name.")

    def init_dest(self) -> None:
        """The assignment must be released to this person."""
        released = self.service.ask("GET", "/exchange/assignments", course=self.course)
        self.release = next((item for item in released if item["assignment"] == self.assignment), None)
        if self.release is None:
            self.fail(f"{self.course} has no released assignment {self.assignment}. Your files here are safe.")

    def copy_files(self) -> None:
        """Send the files and keep the receipt."""
        files = self.files_of(self.src_path)
        self._compare_notebooks(files)
        receipt: dict[str, Any] = self.service.send("POST", self.of_assignment("submissions"), files)
        self.timestamp = receipt["timestamp"]
        folder = self.src_path / RECEIPTS
        folder.mkdir(exist_ok=True)
        kept = folder / f"{receipt['submission']}.json"
        kept.write_text(json.dumps(receipt, indent=1) + "\n", encoding="utf-8")
        self.log.info("Submitted as: %s %s %s", self.course, self.assignment, self.timestamp)
        self.log.info("Receipt: %s (sha256 %s)", kept, receipt["sha256"])
        if receipt["late_seconds"]:
            self.log.warning(
                "Late by %s: %g%% of the points is taken off.",
                timedelta(seconds=receipt["late_seconds"]),
                receipt["percent_off"],
            )
        if receipt["attempts"]:
            self.log.info("Attempt %d of %d; the last one counts.", receipt["attempt"], receipt["attempts"])

    def _compare_notebooks(self, files: list[PlainFile]) -> None:
        expected = {path for path in self.release["files"] if path.endswith(".ipynb")}
        sent = {file.path for file in files if file.path.endswith(".ipynb")}
        if expected == sent:
            return
        lines = [f"{path}: {'FOUND' if path in sent else 'MISSING'}" for path in sorted(expected)]
        lines += [f"{path}: EXTRA" for path in sorted(sent - expected)]
        said = "\n\t".join(["Expected and submitted notebooks differ:", *lines])
        if self.strict and expected - sent:
            self.fail(f"Assignment {self.assignment} not submitted. {said}")
        self.log.warning(said)
