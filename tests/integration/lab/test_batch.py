"""Many notebooks of one graded execution: none of them costs the others their result."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import nbformat
import pytest
from walled_lab import Lab

from base.paths import Installation
from confinement import seccomp
from confinement.run import start
from confinement.settings import ConfinementSettings
from grading.plans import EXECUTED, FILES, NOTEBOOK, OUTCOME, RunBounds, execution_wall

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

Batch = Callable[..., tuple[int, list[list[dict[str, Any]] | None]]]


@pytest.fixture
def batch(lab: Lab) -> Batch:
    """Runs notebooks, each given as its cells, and gives the exit code and each one's outputs; None: no result."""

    def batch(*notebooks: list[str], files: Mapping[str, str] | None = None, without: int | None = None) -> Any:
        seccomp.write_filters(lab.state.generated)
        home = lab.state.homes / "batch"
        shutil.rmtree(home, ignore_errors=True)
        for number, cells in enumerate(notebooks):
            folder = home / str(number)
            folder.mkdir(parents=True)
            book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
            nbformat.write(book, folder / NOTEBOOK)
            if number == without:
                continue
            (folder / FILES).mkdir()
            for name, text in (files or {}).items():
                (folder / FILES / name).write_text(text)
        bounds = RunBounds(10, 60, 2**29, 2)
        wall = execution_wall(home, bounds, lab.state, Installation.current(), ConfinementSettings())
        with start(wall) as walled:
            code = walled.wait(150)
            # For the report of a test that fails.
            print(walled.output.decode(errors="replace"))  # noqa: T201
        shown = []
        for number in range(len(notebooks)):
            folder = home / str(number)
            if not (folder / OUTCOME).exists():
                shown.append(None)
                continue
            assert json.loads((folder / OUTCOME).read_text())["outcome"] == "done"
            ran = nbformat.read(folder / EXECUTED, 4)
            shown.append([output for cell in ran.cells for output in cell.outputs])
        return code, shown

    return batch


HALVES = {
    "printed": "print('half \\ud800')",
    "in an error": "raise ValueError('half \\ud800')",
    "as a result": "class Half:\n    def __repr__(self): return 'half \\udcff'\nHalf()",
    "shown": "display({'text/html': 'half \\ud800'}, raw=True)",
}


@pytest.mark.fault
def test_half_letters_that_no_file_can_hold_cost_nobody_a_result(batch: Batch) -> None:
    code, shown = batch(*([cell] for cell in HALVES.values()), ["print('heel')"])
    assert code == 0
    assert ["half ?" in json.dumps(outputs) for outputs in shown] == [True] * len(HALVES) + [False]
    assert shown[-1] == [{"output_type": "stream", "name": "stdout", "text": "heel\n"}]


@pytest.mark.fault
def test_a_notebook_that_cannot_be_run_leaves_the_others_theirs(batch: Batch) -> None:
    code, shown = batch(["1"], ["2"], ["3"], without=1)
    assert code == 1, "its job says that not all have a result"
    assert shown[1] is None
    assert [shown[place][0]["data"]["text/plain"] for place in (0, 2)] == ["1", "3"]


def test_a_module_beside_the_notebooks_comes_after_pythons_own_and_before_a_package_of_its_name(batch: Batch) -> None:
    cells = ["import key_value, sched, colorsys", "print(key_value.whose, sched.scheduler.__name__)"]
    whose = "whose = 'of the teacher'\n"
    code, shown = batch(cells, cells, files={"key_value.py": whose, "sched.py": whose})
    assert code == 0
    assert [outputs[0]["text"] for outputs in shown if outputs] == ["of the teacher scheduler\n"] * 2
