"""`./leerlab` started by root in a clone that only root can read: an account, a wheel, a site that is not root's."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from base.ports import free_ports

pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]
CODE = Path(__file__).resolve().parents[2]
NAME = "roottest"
PACKAGES = (
    "base", "cluster", "confinement", "ledger", "spawners", "grading", "courses", "portal", "hub_config", "cli",
    "bench", "images", "sandboxes", "assistant", "catalogue",
)  # fmt: skip


@dataclass(frozen=True)
class Clone:
    """A clone with a space in its path, readable by root alone.

    Args:
        tree: the clone.
        open: a folder that everybody can read.
    """

    tree: Path
    open: Path

    def leerlab(self, *arguments: str, cwd: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [str(self.tree / "leerlab"), *arguments],
            cwd=cwd or self.open,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert not check or result.returncode == 0, result.stdout + result.stderr
        return result


@pytest.fixture(scope="module")
def clone() -> Iterator[Clone]:
    """A clone and an open folder, both removed afterwards; the state folder of the site in it as well."""
    assert os.geteuid() == 0, "these tests are for root: ./leerlab test started by root runs them"
    closed = Path(tempfile.mkdtemp(prefix="only root ", dir="/root"))
    opened = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    opened.chmod(0o755)
    shutil.copytree(CODE, closed / "clone", symlinks=True, ignore=shutil.ignore_patterns(".git", "build", ".*_cache"))
    made = Clone(closed / "clone", opened)
    description = yaml.safe_load((CODE / "hub_config/demo.yaml").read_text())
    description["site"]["name"] = NAME
    description["hub"]["port"] = free_ports(1)[0]
    (opened / "site.yaml").write_text(yaml.safe_dump(description))
    try:
        yield made
    finally:
        made.leerlab("down", "--site", "site.yaml", check=False)
        shutil.rmtree(closed)
        shutil.rmtree(opened)
        shutil.rmtree(Path(pwd.getpwnam("leerlab").pw_dir) / ".local/state/leerlab" / NAME, ignore_errors=True)


def processes_of_the_site() -> list[dict[str, Any]]:
    """What is told of processes that name the site's state folder, with all that descends from them.

    A command that asks Slurm comes and goes at any moment; what has ended meanwhile is left out.
    """
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        try:
            if any(f"/leerlab/{NAME}" in word for word in (*process.cmdline(), *process.environ().values())):
                found |= {process, *process.children(recursive=True)}
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # kernel threads and process 1 of a container
            continue
    told = []
    for process in sorted(found, key=lambda process: process.pid):
        with suppress(psutil.NoSuchProcess):
            one = process.as_dict(["pid", "username", "uids", "gids", "cmdline", "environ"])
            told.append({**one, "environ": None, "code": (one["environ"] or {}).get("LEERLAB_CODE")})
    return told


def test_a_site_started_by_root_runs_from_the_wheel_and_nothing_of_it_is_root(clone: Clone) -> None:
    started = json.loads(clone.leerlab("up", "--json", "--site", "site.yaml").stdout)
    assert not started["already_running"]
    running = processes_of_the_site()
    assert len(running) >= 8
    assert {process["username"] for process in running} == {"leerlab"}
    assert all(0 not in (*process["uids"], *process["gids"]) for process in running)
    code = next(process["code"] for process in running if process["code"])
    assert code.startswith("/var/lib/leerlab/code/")
    assert Path(code).owner() == "root", "the account cannot change the code that it runs"

    assert json.loads(clone.leerlab("status", "--json", "--site", "site.yaml").stdout)["healthy"]
    findings = json.loads(clone.leerlab("doctor", "--json", "--site", "site.yaml").stdout)
    assert all(finding["ok"] for finding in findings)

    stopped = json.loads(clone.leerlab("down", "--json", "--site", "site.yaml").stdout)
    assert stopped["was_running"]
    assert processes_of_the_site() == []


def test_the_wheel_holds_every_file_of_the_packages(clone: Clone) -> None:
    clone.leerlab("check", "site.yaml")
    newest = max(Path("/var/lib/leerlab/code").iterdir(), key=lambda path: (path / ".complete").stat().st_mtime)
    for package in PACKAGES:
        files = [path for path in (clone.tree / package).rglob("*") if path.is_file() and path.suffix != ".pyc"]
        assert files
        for path in files:
            installed = newest / path.relative_to(clone.tree)
            assert installed.is_file(), f"not in the wheel: {path.relative_to(clone.tree)}"
            assert installed.read_bytes() == path.read_bytes()
            assert os.access(installed, os.X_OK) == os.access(path, os.X_OK)


@pytest.fixture
def stable() -> Iterator[Path]:
    """The path that leads to what was installed last; it leads where it led before, afterwards."""
    path = Path("/var/lib/leerlab/bin/leerlab")
    before = path.readlink() if path.is_symlink() else None
    yield path
    path.unlink(missing_ok=True)
    if before is not None:
        path.symlink_to(before)


def test_install_starts_nothing_and_leads_one_path_to_what_it_installed(clone: Clone, stable: Path) -> None:
    installed = json.loads(clone.leerlab("install", "--json").stdout)
    assert all(Path(path).exists() for path in installed.values()), installed
    assert installed["command"] == str(stable)
    assert stable.resolve().parent == Path(installed["code"])
    assert stable.resolve().owner() == "root"
    assert json.loads(clone.leerlab("install", "--json").stdout) == installed
    assert processes_of_the_site() == []

    # By root and by the account, without the clone and without installing anything.
    for before in ([], ["/usr/bin/setpriv", "--reuid=leerlab", "--regid=leerlab", "--init-groups", "--"]):
        done = subprocess.run(
            [*before, str(stable), "check", "site.yaml"],
            cwd=clone.open, env={"SECRET": "of-roots-shell"}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    refused = subprocess.run(
        ["/usr/bin/setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--", str(stable), "check", "x"],
        cwd="/", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert refused.returncode == 2 and "account leerlab" in refused.stderr

    # Another clone's command changes nothing for the site that runs.
    clone.leerlab("check", "site.yaml")
    assert stable.resolve().parent == Path(installed["code"])
    node = json.loads(clone.leerlab("install", "--node", "--json").stdout)
    assert (node["code"], node["notebook_env"]) == (installed["code"], installed["notebook_env"])
    assert clone.leerlab("install", "--all", check=False).returncode == 2


def test_a_site_file_that_only_root_can_read_is_refused_with_a_reason(clone: Clone) -> None:
    shutil.copy(clone.open / "site.yaml", clone.tree.parent / "site.yaml")
    result = clone.leerlab("up", "--site", "site.yaml", cwd=clone.tree.parent, check=False)
    assert result.returncode == 2
    assert str(clone.tree.parent / "site.yaml") in result.stderr and "account leerlab may not read it" in result.stderr


@pytest.mark.slow
def test_root_runs_the_tests_of_a_clone_that_the_account_cannot_read_as_the_account(clone: Clone) -> None:
    probe = clone.tree / "tests/unit/test_probe.py"
    probe.write_text(
        "import os\nfrom pathlib import Path\n"
        "def test_who_and_where():\n"
        "    assert os.geteuid() != 0\n"
        "    build = Path(os.environ['LEERLAB_BUILD']) / 'screenshots'\n"
        "    build.mkdir(parents=True)\n"
        "    (build / 'seen.png').write_text(os.getcwd())\n"
        "    assert 'fail' not in os.environ.get('PYTEST_ADDOPTS', '')\n"
    )
    result = clone.leerlab("test", "tests/unit/test_probe.py")
    assert "1 passed" in result.stdout
    worked_in = (clone.tree / "build/screenshots/seen.png").read_text()
    assert worked_in.startswith("/var/lib/leerlab/") and not Path(worked_in).exists()

    probe.write_text("def test_fails():\n    assert False\n")
    failed = clone.leerlab("test", "tests/unit/test_probe.py", check=False)
    assert failed.returncode == 1
    assert "1 failed" in failed.stdout


@pytest.mark.slow
def test_old_wheels_that_nobody_uses_do_not_pile_up(clone: Clone) -> None:
    code = Path("/var/lib/leerlab/code")
    made = [code / f"test-{number}" for number in range(6)]
    try:
        for number, folder in enumerate(made):
            folder.mkdir()
            (folder / ".complete").touch()
            os.utime(folder / ".complete", (number, number))
        broken_off = code / "test-broken-off"
        broken_off.mkdir()
        with subprocess.Popen(["/bin/sleep", "120"], env={"LEERLAB_CODE": str(made[0])}) as user:
            try:
                clone.leerlab("check", "site.yaml")
                assert made[0].exists(), "a process uses it"
            finally:
                user.terminate()
        assert not broken_off.exists()
        assert not any(folder.exists() for folder in made[1:4])
        clone.leerlab("check", "site.yaml")
        assert not made[0].exists()
    finally:
        for folder in made:
            shutil.rmtree(folder, ignore_errors=True)
