"""Does a check's steps one after another where this runs: in a lab, which is behind a wall of its own already.

They share one process, started as `python -m leerlab_lab.coursecheck.local FOLDER`, since nbgrader takes two seconds to
import. The kernels in which the notebooks run are processes of their own here too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import leerlab_lab
from leerlab_lab.coursecheck.plan import ANSWERED, ASKED, EXECUTED, FIGURES, NOTEBOOK, RAN, REAL, RESULT, RUNS, Plan

_LAB = Path(leerlab_lab.__file__).parents[1]
_TOLD = ("JUPYTERHUB_", "LEERLAB_GRADING", "LEERLAB_COURSE")
_SECONDS = 1200
_MARGIN_SECONDS = 60


class StepFailed(Exception):
    """A step came to no result; its last words are the message."""


def run(folder: Path, plan: Plan, jobs: int) -> dict[str, object]:
    """Do all steps in a folder that holds `course/source/<assignment>`; gives what result.json says.

    Raises:
        StepFailed: a step came to no result.
    """
    plan.write(folder)
    _step(folder, "leerlab_lab.coursecheck.local", str(folder), "--jobs", str(jobs), seconds=_SECONDS)
    said: dict[str, object] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    return said


def _steps(folder: Path, jobs: int) -> None:
    from leerlab_lab.coursecheck import mark, prepare, run  # noqa: PLC0415 - the lab itself has no need of nbgrader

    prepare.main([str(folder)])
    run.main([str(folder), "--jobs", str(jobs), "--unwalled"])
    figures = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
    if (folder / RUNS / REAL).is_dir():
        figures[REAL] = _real(folder, Plan.read(folder))
    (folder / FIGURES).write_text(json.dumps(figures), encoding="utf-8")
    (folder / RUNS).mkdir(exist_ok=True)
    (folder / RUNS).rename(folder / RAN)
    (folder / FIGURES).rename(folder / RAN / FIGURES)
    mark.main([str(folder)])


def _real(folder: Path, plan: Plan) -> dict[str, object]:
    """The reference in a kernel that was started anew, as graded work is."""
    place = folder / RUNS / REAL
    took: list[tuple[float, str]] = []
    for source, target in ((NOTEBOOK, EXECUTED), (ASKED, ANSWERED)):
        if not (place / source).exists():
            continue
        work = folder / f"real-{source}"
        shutil.copytree(folder / "files", work)
        began = time.monotonic()
        limit = plan.bounds.case_seconds + _MARGIN_SECONDS
        arguments = (str(place / source), str(place / target), "--cell-time", str(plan.bounds.cell_seconds))
        try:
            _step(work, "leerlab_lab.execute", *arguments, seconds=limit)
            ended = "done"
        except StepFailed:
            ended = "lost" if time.monotonic() - began < limit else "time"
        took.append((round(time.monotonic() - began, 2), ended))
    ended = next((one for _, one in took if one != "done"), "done")
    return {"seconds": took[0][0], "memory": 0, "ended": ended}


def _step(folder: Path, module: str, *arguments: str, seconds: float) -> None:
    # What this lab was told about the exchange and the hub is not for the notebooks that run here.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_TOLD)}
    bin_folder = Path(sys.executable).parent
    environment = kept | {
        "PATH": f"{bin_folder}:{kept.get('PATH', '/usr/bin:/bin')}", "PYTHONPATH": str(_LAB),
        "JUPYTER_CONFIG_PATH": "", "JUPYTER_CONFIG_DIR": str(folder / ".jupyter"), "OMP_NUM_THREADS": "1",
        "JUPYTER_DATA_DIR": str(folder / ".jupyter"), "IPYTHONDIR": str(folder / ".ipython"),
    }  # fmt: skip
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments], cwd=folder, env=environment, capture_output=True, text=True,
            timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise StepFailed(f"{module}: not done within {seconds:.0f} seconds") from error
    if done.returncode:
        raise StepFailed((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:400])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, required=True, help="how many notebooks run side by side")
    given = parser.parse_args()
    _steps(given.folder, given.jobs)
