"""A bare Debian 12 that reaches nobody: made, installed and run from a bundle alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(6000)]
CODE = Path(__file__).resolve().parents[2]
BARE_MACHINE = Path(__file__).with_name("bare_machine.py")
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
OWN_NAMESPACES = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--ipc", "--uts")
# Each answer on a line of its own.
DAY = """
set -eu
leerlab=/srv/bundle/code/leerlab
$leerlab up --json | tr -d '\\n'; echo
$leerlab doctor --json | tr -d '\\n'; echo
$leerlab down --json | tr -d '\\n'; echo
wc -l </proc/net/route
ls /var/lib/apt/lists
"""


def run(argv: list[str | Path], seconds: float) -> str:
    done = subprocess.run(
        [str(word) for word in argv], env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=seconds, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{argv} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="bare-", dir="/var/tmp"))
    yield made
    shutil.rmtree(made)


def committed(target: Path) -> Path:
    """A clone of this tree as it lies here, with all of it in a commit."""
    shutil.copytree(
        CODE, target, symlinks=True, ignore=shutil.ignore_patterns(".git", "build", "__pycache__", ".*_cache")
    )
    git = ["git", "-C", target, "-c", "user.name=Test", "-c", "user.email=test@example.org"]
    for words in (("init", "-q"), ("add", "--all"), ("commit", "-q", "-m", "as it lies here")):
        run([*git, *words], 60)
    return target


def test_a_bare_machine_without_a_route_installs_runs_and_stops_a_site_from_a_bundle(folder: Path) -> None:
    assert os.geteuid() == 0, "this test is for root: ./leerlab test started by root runs it"
    made = json.loads(run([committed(folder / "clone") / "leerlab", "bundle", folder / "bundle.tar", "--json"], 2400))
    assert made["bytes"] == (folder / "bundle.tar").stat().st_size
    run(["tar", "-xf", folder / "bundle.tar", "-C", folder], 120)
    (folder / "bundle.tar").unlink()
    (bundle,) = folder.glob("leerlab-*")
    root = folder / "root"
    run(
        ["unshare", "--net", "mmdebstrap", "--mode=root", "--variant=apt", "--format=directory", "bookworm", root,
         f"deb [trusted=yes] copy:{bundle}/debian ./"], 900,
    )  # fmt: skip
    sources = (root / "etc/apt/sources.list").read_text()

    said = run([*OWN_NAMESPACES, "/usr/bin/python3", BARE_MACHINE, root, bundle, "sh", "-c", DAY], 2400)
    started, found, stopped, routes, *lists = said.splitlines()
    assert not json.loads(started)["already_running"]
    findings = json.loads(found)
    assert [finding for finding in findings if not finding["ok"]] == []
    assert json.loads(stopped)["was_running"]
    assert routes == "1", "the line of headings"
    # What apt knew before, it knows now.
    assert (root / "etc/apt/sources.list").read_text() == sources
    assert [name for name in lists if "debian" in name and "Packages" in name] == []
