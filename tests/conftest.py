"""A whole site for the tests that need one: real Slurm, hub, proxy and grading, with a port and a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings as hypothesis_settings

from base.paths import State
from base.ports import free_ports
from hub_config.site import Site, load

# Hypothesis keeps no files in the tree, and a slow shared machine is no failure.
hypothesis_settings.register_profile("leerlab", database=None, deadline=None)
hypothesis_settings.load_profile("leerlab")

CODE = Path(__file__).resolve().parent.parent
UP_SECONDS = 600
# Of each log of a site, in the report of a test that failed on it.
LOG_END = 3000


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails on a whole site tells how the site's logs end: the site is gone when somebody reads of it."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            state = getattr(value, "state", None) or getattr(getattr(value, "site", None), "state", None)
            if isinstance(state, State):
                # A hub of the tests' own writes its logs beside its state.
                for log in sorted([*state.logs.glob("*.log"), *state.root.parent.glob("*.log")]):
                    report.sections.append((f"end of {log.name}", log.read_text(errors="replace")[-LOG_END:]))
    return report


@dataclass(frozen=True)
class RunningSite:
    """A site that `up` started.

    Args:
        file: its site.yaml.
        home: XDG_STATE_HOME of its state folder.
        site: its settings.
        state: its state folder.
    """

    file: Path
    home: Path
    site: Site
    state: State

    @property
    def address(self) -> str:
        return self.site.hub.address

    def leerlab(
        self, *arguments: str, timeout: float = UP_SECONDS, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run the command against this site."""
        return leerlab(*arguments, "--site", str(self.file), home=self.home, timeout=timeout, check=check)

    def login_link(self) -> str:
        """An address with a fresh one-time key."""
        return str(json.loads(self.leerlab("key", "--json").stdout)["login_link"])


def leerlab(
    *arguments: str, home: Path, timeout: float = UP_SECONDS, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run `leerlab` as `./leerlab` would, with its state below `home`."""
    result = subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=CODE,
        env={**os.environ, "XDG_STATE_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if check and result.returncode:
        raise AssertionError(
            f"leerlab {' '.join(arguments)} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}"
        )
    return result


def small_demo() -> dict[str, Any]:
    """The demo site's description with one course and no assistant, which is ready sooner."""
    description: dict[str, Any] = yaml.safe_load((CODE / "hub_config/demo.yaml").read_text())
    kept, *others = description["courses"]
    description["courses"] = [kept]
    del description["assistant"]
    left_out = {f"{role}-{course['id']}" for course in others for role in ("nbgrader", "formgrade")}
    for person in description["login"]["people"]:
        person["groups"] = [group for group in person.get("groups", []) if group not in left_out]
    return description


def site_file(home: Path, **changes: object) -> Path:
    """The demo site's description with one course, a free port and the given sections replaced."""
    description = small_demo()
    description.setdefault("hub", {})["port"] = free_ports(1)[0]
    description.update(changes)
    file = home / "site.yaml"
    file.write_text(yaml.safe_dump(description, allow_unicode=True))
    return file


def make_site(home: Path, **changes: object) -> RunningSite:
    """Describe a site without starting it."""
    file = site_file(home, **changes)
    site = load(file)
    return RunningSite(file, home, site, State(home / "leerlab" / site.site.name))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Any]:
    """A PostgreSQL for all tests that only use it (`tests/postgresql.py`)."""
    sys.path.insert(0, str(Path(__file__).parent))
    import postgresql

    with postgresql.running() as server:
        yield server


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A private folder with a path short enough for unix sockets."""
    folder = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def running_site() -> Iterator[RunningSite]:
    """The demo site, started once for all tests that only use it."""
    home = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    site = make_site(home)
    try:
        site.leerlab("up")
        yield site
    finally:
        site.leerlab("down")
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def site_of_module() -> Iterator[Callable[..., RunningSite]]:
    """Starts a site that all tests of a module use; at its end nothing of it runs."""
    made: list[tuple[Path, RunningSite]] = []

    def make(**changes: object) -> RunningSite:
        home = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
        made.append((home, make_site(home, **changes)))
        made[-1][1].leerlab("up")
        return made[-1][1]

    yield make
    for home, site in made:
        site.leerlab("down")
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def new_site(short_folder: Path) -> Iterator[Callable[..., RunningSite]]:
    """Describes a site of the test's own, not yet started; at the end nothing of it runs."""
    made: list[RunningSite] = []

    def make(**changes: object) -> RunningSite:
        made.append(make_site(short_folder, **changes))
        return made[-1]

    yield make
    for site in made:
        site.leerlab("down")
