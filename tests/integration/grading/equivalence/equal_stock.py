"""Stock nbgrader's marks: how they are made, in a wall of their own with its own settings, and where they are kept."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from equal_sources import write_source
from equal_work import Work

from base.paths import Installation, State
from confinement.run import start
from confinement.settings import ConfinementSettings
from confinement.wall import HOME, Bind, Wall
from grading.plans import COMMANDS, OFFLINE, notebook_binds, seccomp_of

RECORD = Path(__file__).with_name("stock.json")
SCRIPTS = Path("/opt/scripts")
CELL_SECONDS = 15
"""As the tests' own site has it (`grading_site.make_site`)."""
LOCKS = ("notebook.txt", "torch-cpu.txt", "torch-cuda.txt")


def lock_of(installation: Installation) -> str:
    """The notebook environment's lock, as the launcher names the environment after it."""
    text = b"".join((installation.code / "images" / "locks" / lock).read_bytes() for lock in LOCKS)
    return hashlib.sha256(text).hexdigest()[:12]


def graded_by_stock(
    works: Iterable[Work], home: Path, state: State, installation: Installation, seconds: float
) -> dict[str, dict[str, Any]]:
    """What nbgrader 0.9.6 makes of work, with its own settings but the time that a cell may take.

    Args:
        works: what is graded.
        home: an empty folder for its course.
        state: of a site, for the wall.
        installation: whose notebook environment it runs in.
        seconds: most that all may take.

    Returns:
        By the work's name: `marks`, None where nbgrader gave none, and `outputs`.
    """
    works = list(works)
    (home / "nbgrader_config.py").write_text(
        f"c = get_config()\nc.CourseDirectory.course_id = 'vergelijking'\nc.Execute.timeout = {CELL_SECONDS}\n"
    )
    for assignment in sorted({work.assignment for work in works}):
        write_source(home, assignment)
    for work in works:
        work.write(home)
    wall = Wall(
        command=("/opt/notebook/bin/python", f"{SCRIPTS}/stock_driver.py", *(work.name for work in works)),
        home=home, seccomp=seccomp_of(state),
        binds=(*notebook_binds(installation, state), Bind(Path(__file__).parent, SCRIPTS)),
        environment={"PATH": COMMANDS, **OFFLINE, "OMP_NUM_THREADS": "1", "HOME": HOME},
        **ConfinementSettings().sizes(),
    )  # fmt: skip
    with start(wall) as walled:
        code = walled.wait(seconds)
        assert code == 0, walled.output.decode(errors="replace")[-4000:]
    told = [json.loads(line) for line in (home / "marks.jsonl").read_text().splitlines()]
    shutil.rmtree(home)
    return {one.pop("name"): one for one in told}


def recorded() -> dict[str, Any]:
    """What was recorded: `lock`, `cell_seconds`, and `work` by name with `digest` and `marks`."""
    return dict(json.loads(RECORD.read_text()))
