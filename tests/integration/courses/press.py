"""A site without a hub on which courses are published, and what of it can be seen."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from small_course import SmallCourse

from base.in_force import InForce, Publication
from base.paths import Installation, State
from confinement.seccomp import write_filters
from grading.tree import remove
from hub_config.publishing import Press, Published, Wishes
from hub_config.site import Site

DEMO = Path(__file__).resolve().parents[3] / "hub_config/demo.yaml"


def nothing(_phrase: str) -> None:
    """Says nothing of a step."""


@dataclass(frozen=True)
class Office:
    """A press, and a course to publish on it.

    Args:
        press: of a site that gives no course by itself.
        course: a small course that keeps every promise.
    """

    press: Press
    course: SmallCourse

    @property
    def state(self) -> State:
        return self.press.state

    def publish(self, source: Path | None = None, **wishes: object) -> Published:
        """Publish, without the proofs: what they find is tested elsewhere."""
        return self.press.publish(source or self.course.folder, Wishes(**wishes), None, nothing)  # type: ignore[arg-type]

    def in_force(self) -> dict[str, Publication]:
        """As another process reads it."""
        return dict(InForce(self.state.published).now())

    def left(self) -> list[str]:
        """What lies in the folder of published courses, but its lock."""
        return sorted(path.name for path in self.state.published.iterdir() if path.name != ".lock")

    def released(self, assignment: str = "rekenen") -> str:
        """What students fetch."""
        found = list(self.state.exchange.glob(f"**/{assignment}.ipynb"))
        return max(found, key=lambda path: path.stat().st_mtime).read_text() if found else ""


def description() -> dict[str, object]:
    """The demo site, without courses."""
    plain = yaml.safe_load(DEMO.read_text())
    del plain["assistant"]
    plain["courses"] = []
    return dict(plain)


@contextmanager
def office() -> Iterator[Office]:
    """A site and a course of the test's own."""
    place = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    state = State(place / "s")
    state.make()
    write_filters(state.generated)
    (place / "site.yaml").write_text(yaml.safe_dump(description()))
    try:
        press = Press(Site.of_plain(description()), state, Installation.current())
        yield Office(press, SmallCourse(place / "klein").write())
    finally:
        remove(place)
