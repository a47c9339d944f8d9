"""Labs and graded runs from a notebook image: built twice with the same bytes, then the first story on it."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from root_site import site_of_root
from steps import (
    autograde,
    collect,
    hand_in,
    open_assignment,
    open_formgrader,
    run_all_cells,
    save,
    solve_first_exercises,
)

CODE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CODE / "tests/root"))
from image_builds import build, make_key  # noqa: E402

from images.signature import public_key  # noqa: E402

pytestmark = [pytest.mark.journey, pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(8000)]
VERSION = "2026.11.1"
NAME = "imagejourney"


@dataclass(frozen=True)
class Built:
    """The notebook image, in the first of the folders in which it was built."""

    folder: Path
    key: str
    digests: tuple[str, ...]


@pytest.fixture(scope="module")
def built() -> Iterator[Built]:
    folder = Path(tempfile.mkdtemp(prefix="ll-", dir="/var/tmp"))
    folder.chmod(0o755)
    secret, public = make_key(folder)
    digests = tuple(build("notebook", folder / name, secret, VERSION, 3000)["sha256"] for name in ("one", "two"))
    yield Built(folder / "one", public_key(public), digests)
    shutil.rmtree(folder)


def roots_of(word: str) -> dict[str, list[str]]:
    """What stands at /usr and /opt/notebook for processes inside walls that have this word in their command."""
    found: dict[str, list[str]] = {}
    for process in psutil.process_iter():
        try:
            if any(word in each for each in process.cmdline()) and process.cmdline()[0].startswith("/opt/notebook"):
                lines = Path(f"/proc/{process.pid}/mountinfo").read_text().splitlines()
                mounts = [line.split()[3:5] for line in lines]
                # Other sites may run on this machine: this one's homes and courses lie in its own state folder.
                ours = any(at == "/home/nb" and f"/leerlab/{NAME}/" in root for root, at in mounts)
                for root, at in mounts:
                    if ours and at in ("/usr", "/opt/notebook"):
                        found.setdefault(at, []).append(root)
        except (psutil.NoSuchProcess, psutil.AccessDenied, IndexError, OSError):
            continue
    return found


def test_two_builds_of_the_notebook_image_are_the_same(built: Built) -> None:
    assert built.digests[0] == built.digests[1]


@pytest.fixture(scope="module")
def image_login(built: Built) -> Iterator[Callable[[], str]]:
    images = {"folder": str(built.folder), "key": built.key, "notebook": f"notebook-{VERSION}"}
    yield from site_of_root(NAME, images=images)


def test_a_student_works_and_is_graded_in_the_image(built: Built, image_login: Callable[[], str], person: Any) -> None:
    student = person("Sanne")
    student.log_in(image_login())
    open_assignment(student)
    solve_first_exercises(student.page)
    run_all_cells(student.page)
    save(student.page)
    roots = roots_of("jupyterhub.singleuser")
    image = f"/images/{built.digests[0]}"
    assert roots["/usr"] and all(root.endswith(f"{image}/usr") for root in roots["/usr"]), roots
    assert all(root.endswith(f"{image}/opt/notebook") for root in roots["/opt/notebook"]), roots
    hand_in(student)

    teacher = person("Docent")
    teacher.log_in(image_login())
    open_formgrader(teacher)
    collect(teacher)
    roots = roots_of("leerlab_lab.formgrader")
    assert roots["/usr"] and all(root.endswith(f"{image}/usr") for root in roots["/usr"]), roots
    # Three points of ten, from a graded run on Slurm.
    autograde(teacher, "Sanne")
