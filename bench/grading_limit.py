"""The bound of grading: forks of a warm process behind the product's walls that run the cells, and nothing else.

Behind the same outer wall that a Slurm job of the product builds, started without Slurm; see `bench.bare_forks`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.course_server import PROFILE
from bench.errors import BenchmarkFailed
from bench.graded_course import ASSIGNMENT, CHECKS, Work, code_cell, notebook_of, read_notebook, write_notebook
from bench.site import BenchSite
from confinement.run import start
from confinement.wall import HOME, Bind
from grading.plans import FILES, NOTEBOOK, RunBounds, execution_wall

_PROGRAM = Path(__file__).with_name("bare_forks.py")
_INSIDE = Path("/opt/bench/bare_forks.py")
_SECONDS = 600.0


@dataclass(frozen=True)
class BareForks:
    """What the forks took.

    Args:
        boot: seconds until the process that forks was warm.
        seconds: for all notebooks, from then on.
    """

    boot: float
    seconds: float


def bare_forks(site: BenchSite, course: Path, work: Sequence[Work], folder: Path) -> BareForks:
    """Run everybody's cells in bare forks.

    Args:
        site: whose limits, environment and wall are used.
        course: nbgrader's folder of the course, in which all of it was graded, so that its tests are all there.
        work: benign work; nothing here ends what loops.
        folder: an empty folder.

    Raises:
        BenchmarkFailed: the forks did not all run all cells.
    """
    cells = 0
    for number, one in enumerate(work):
        graded = read_notebook(course / "autograded" / one.student / ASSIGNMENT / f"{ASSIGNMENT}.ipynb")
        found = [cell["source"] for cell in graded["cells"] if cell["cell_type"] == "code"]
        code = [code_cell(f"cell-{place}", source) for place, source in enumerate(found)]
        cells += len(code)
        (folder / str(number) / FILES).mkdir(parents=True)
        write_notebook(notebook_of(code), folder / str(number) / NOTEBOOK)
    settings, profile = site.site.grading, site.site.profile(PROFILE)
    bounds = RunBounds(
        round(settings.cell_time.total_seconds()), round(settings.notebook_time.total_seconds()), int(profile.memory),
        profile.cpus,
    )  # fmt: skip
    wall = execution_wall(folder, bounds, site.state, site.installation, site.site.confinement)
    command = (
        wall.command[0], str(_INSIDE), HOME, "--slots", str(bounds.slots), "--memory", str(bounds.memory),
    )  # fmt: skip
    wall = replace(wall, command=command, binds=(*wall.binds, Bind(_PROGRAM, _INSIDE)))
    with start(wall) as walled:
        code_at_end = walled.wait(_SECONDS)
        output = walled.output.decode(errors="replace")
    shutil.rmtree(folder)
    said = json.loads(output.splitlines()[-1]) if code_at_end == 0 and output.strip() else {}
    if said.get("cells") != cells or len(CHECKS) * len(work) > cells:
        raise BenchmarkFailed(f"The bare forks did not run every cell: {output[-2000:]}")
    return BareForks(said["boot"], said["seconds"])
