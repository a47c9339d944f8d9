"""Where a site names an image, every wall that runs people's code runs from it, and none brings another environment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from base.paths import Installation, State
from confinement.settings import ConfinementSettings
from confinement.wall import Wall
from courses.toolkit.steps import Walls
from grading.plans import NOTEBOOK_ENV, RunBounds, execution_wall, formgrader_plan
from sandboxes.plans import sandbox_wall
from spawners.settings import Profile

PLAIN = Installation(*(Path("/x", name) for name in ("code", "hub", "notebook", "proxy", "catalogue", "assistant")))
IMAGE = replace(PLAIN, image=Path("/state/images/0"))
PROFILE = Profile.model_validate(
    {
        "id": "klein",
        "title": {"nl": "Klein", "en": "Small"},
        "partition": "cpu",
        "cpus": 1,
        "memory": "1G",
        "time": "1h",
    }
)


def walls(installation: Installation, state: State) -> dict[str, Wall]:
    settings = ConfinementSettings()
    check = Walls(state, installation, settings)
    return {
        "course page": formgrader_plan("les", PROFILE, state, installation, settings).wall,
        "graded run": execution_wall(Path("/home"), RunBounds(60, 60, 2**30), state, installation, settings),
        "sandbox": sandbox_wall(
            "box", "somebody", size=2**30, egress=None, state=state, installation=installation, confinement=settings
        ),
        "course check": check.step(Path("/home"), "run"),
        "course check, graded": check.real(Path("/home"), {"cell_seconds": 60, "case_seconds": 60, "memory": 2**30}),
    }


@pytest.mark.parametrize(("installation", "root"), [(IMAGE, IMAGE.image), (PLAIN, None)])
def test_every_wall_of_people_s_code_has_the_image_s_root(
    installation: Installation, root: Path | None, tmp_path: Path
) -> None:
    state = State(tmp_path / "s")
    state.make()
    for what, wall in walls(installation, state).items():
        assert wall.root == root, what
        brought = [bind for bind in wall.binds if bind.target == NOTEBOOK_ENV]
        assert bool(brought) == (root is None), what
        assert Wall.from_json(wall.to_json()) == wall
