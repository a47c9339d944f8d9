"""Publishing that is broken off, crowded, or has no room: complete or not at all, and the next one puts it right."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from press import Office, office

from base.errors import LeerlabError
from base.in_force import FILE, InForce
from courses.packages import Packages
from grading.release import Done
from hub_config.courses import release_courses

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(180)]
HERE, CODE = Path(__file__).parent, Path(__file__).resolve().parents[3]
PUBLISH = """
import os, resource, signal, sys
from pathlib import Path
sys.path.insert(0, {here!r})
import press
from base.paths import Installation, State
from hub_config.publishing import Press, Wishes
from hub_config.site import load
site, state, course = (Path(word) for word in sys.argv[1:4])
deadly, most = sys.argv[4:]
if most != "-":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(most),) * 2)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def step(phrase):
    if phrase == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
try:
    print(Press(load(site), State(state), Installation.current()).publish(course, Wishes(), None, step).version)
except Exception as error:
    print(f"{{type(error).__name__}}: {{error}}")
"""


@pytest.fixture
def desk() -> Iterator[Office]:
    with office() as made:
        yield made


def in_a_process(desk: Office, deadly: str = "", most: str = "-") -> subprocess.CompletedProcess[str]:
    """Publish in a process of its own, which kills itself at a step, or may write no file larger than so many bytes."""
    site = desk.state.root.parent / "site.yaml"
    return subprocess.run(
        [sys.executable, "-c", PUBLISH.format(here=str(HERE)), str(site), str(desk.state.root),
         str(desk.course.folder), deadly, most],
        env={**os.environ, "PYTHONPATH": str(CODE)}, cwd="/", capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def test_killed_before_it_is_in_force_nothing_has_changed(desk: Office) -> None:
    """The course was read in by then; killed as `kill -9` does."""
    killed = in_a_process(desk, "reading the course")
    assert killed.returncode == -9
    assert desk.in_force() == {} and [name for name in desk.left() if name.startswith(".staging-")]
    assert desk.publish().version == 1
    assert desk.left() == ["in-force.json", "klein"], "what was broken off is cleared"


def test_killed_after_it_was_put_in_force_the_next_start_completes_it(desk: Office) -> None:
    desk.publish()
    desk.course.append("titel", "Een betere zin.")
    assert in_a_process(desk, "bringing its assignments").returncode == -9
    assert desk.in_force()["klein"].version == 2 and "Een betere zin" not in desk.released()
    problems = release_courses(desk.press.site, desk.state, desk.press.installation)
    assert problems == [] and "Een betere zin" in desk.released()


def test_killed_after_that_the_next_publishing_completes_it_too(desk: Office) -> None:
    assert in_a_process(desk, "bringing its assignments").returncode == -9
    done = desk.publish()
    assert (done.version, done.results[0].done) == (1, Done.RELEASED)


def test_two_at_once_do_not_undo_each_other(desk: Office) -> None:
    desk.publish()
    with (desk.state.published / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(LeerlabError, match="Somebody else is publishing"):
            desk.publish()
    assert desk.publish().version == 1


def test_without_room_on_the_disk_it_is_said_and_what_was_in_force_stays(desk: Office) -> None:
    desk.publish()
    before = desk.released()
    (desk.course.folder / "source" / "rekenen" / "gegevens.csv").write_text("1,2,3\n" * 100_000)
    said = in_a_process(desk, most="200000").stdout
    assert "cannot be written" in said, said
    assert desk.in_force()["klein"].version == 1 and desk.released() == before
    assert Packages(desk.state.published).versions("klein") == [1]
    assert desk.publish().version == 2, "control: with room it is published"


def test_a_file_of_what_is_in_force_that_cannot_be_read_keeps_what_was_read_before(desk: Office) -> None:
    desk.publish()
    reader = InForce(desk.state.published)
    assert list(reader.now()) == ["klein"]
    (desk.state.published / FILE).write_text('{"courses": {"klein": ')
    assert list(reader.now()) == ["klein"], "a portal that runs goes on with what it knew"
    with pytest.raises(LeerlabError, match="cannot be read"):
        InForce(desk.state.published).now()


def test_a_published_course_that_is_broken_on_the_disk_does_not_keep_the_site_from_starting(desk: Office) -> None:
    desk.publish()
    (desk.state.published / "klein" / "1" / "course" / "source" / "rekenen" / "rekenen.ipynb").unlink()
    (desk.state.published / "klein" / "1" / "course" / "source" / "rekenen").rmdir()
    (desk.state.courses / "klein" / "source" / "rekenen").rename(desk.state.root / "weg")
    (problem,) = release_courses(desk.press.site, desk.state, desk.press.installation)
    assert "Version 1 of the course klein could not be brought in" in problem


def test_a_hub_that_is_gone_but_left_its_socket_is_no_hub(desk: Office) -> None:
    (desk.state.run / "hub.sock").touch()
    (desk.state.secrets / "portal-token").write_text("aa")
    assert desk.publish().live is False
    assert json.loads((desk.state.published / FILE).read_text())["courses"]["klein"]["version"] == 1
