"""An assignment in two languages: one in the gradebook, the learner's own in the lab."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from base.paths import Installation, State
from confinement import seccomp
from confinement.settings import ConfinementSettings
from grading.release import Done, Result, release
from grading.tree import TreeLimits

CODE = Path(__file__).resolve().parents[3]
COURSE = CODE / "courses" / "llo" / "ai-geletterdheid"
NAME = "risicoklasse"
pytestmark = pytest.mark.integration


@pytest.fixture
def state() -> Iterator[State]:
    root = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    made = State(root / "s")
    made.make()
    seccomp.write_filters(made.generated)
    yield made
    shutil.rmtree(root)


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    return Path(shutil.copytree(COURSE, tmp_path / "ai-geletterdheid"))


def released(state: State, catalogue: Path) -> list[Result]:
    return release(
        "ai-geletterdheid", catalogue, [NAME], state=state, installation=Installation.current(),
        confinement=ConfinementSettings(), limits=TreeLimits(total=10**8, files=100),
    )  # fmt: skip


def chosen(folder: Path, language: str) -> str:
    """What a lab in that language keeps of a fetched release."""
    program = (
        "import sys; from pathlib import Path; from leerlab_lab import english; "
        "english.choose(Path(sys.argv[1]), sys.argv[2])"
    )
    subprocess.run(
        [Installation.current().notebook_env / "bin/python", "-c", program, str(folder), language],
        env={"PYTHONPATH": str(CODE / "images" / "notebook"), "PATH": "/usr/bin"}, check=True, timeout=60,
    )  # fmt: skip
    assert sorted(path.name for path in folder.iterdir()) == ["beslisboom.py", f"{NAME}.ipynb"]
    return (folder / f"{NAME}.ipynb").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_release_carries_both_languages_and_a_lab_keeps_its_own(
    state: State, catalogue: Path, tmp_path: Path
) -> None:
    assert [one.done for one in released(state, catalogue)] == [Done.RELEASED]
    folder = state.courses / "ai-geletterdheid" / "release" / NAME
    texts = {}
    for language in ("nl", "en"):
        fetched = Path(shutil.copytree(folder, tmp_path / language))
        texts[language] = chosen(fetched, language)
    assert "Welke AI hebben wij in huis" in texts["nl"] and "TYP HIER JE CODE" in texts["nl"]
    assert "Which AI do we have" in texts["en"] and "TYPE YOUR CODE HERE" in texts["en"]
    for text in texts.values():
        assert "BEGIN SOLUTION" not in text and "HIDDEN TESTS" not in text and 'HOOG, \\"gezichten\\"' not in text
    cells = {
        language: {
            cell["metadata"]["nbgrader"]["grade_id"]: cell["source"]
            for cell in json.loads(text)["cells"]
            if cell["metadata"].get("nbgrader", {}).get("grade") and cell["cell_type"] == "code"
        }
        for language, text in texts.items()
    }
    assert cells["nl"] == cells["en"] and len(cells["nl"]) == 7
    assert [one.done for one in released(state, catalogue)] == [Done.UNCHANGED]


@pytest.mark.slow
def test_other_words_are_released_again_and_words_that_do_not_fit_are_not(state: State, catalogue: Path) -> None:
    released(state, catalogue)
    words = catalogue / "english" / f"{NAME}.ipynb"
    words.write_text(words.read_text().replace("Which AI do we have", "Which AI have we"), encoding="utf-8")
    assert [one.done for one in released(state, catalogue)] == [Done.RELEASED]
    english = state.courses / "ai-geletterdheid" / "release" / NAME / "english" / f"{NAME}.ipynb"
    assert "Which AI have we" in english.read_text()
    notebook = json.loads(words.read_text())
    del notebook["cells"][4]
    words.write_text(json.dumps(notebook), encoding="utf-8")
    assert [one.done for one in released(state, catalogue)] == [Done.RELEASED]
    assert not english.exists()
