"""The launcher installs from an unpacked bundle, without any network, and uses no byte that was changed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_clone import TinyClone, run

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(120)]
# Loopback only, and it is down: whoever asks anything of anybody fails.
NO_NETWORK = ("unshare", "--user", "--map-current-user", "--net")
INSTALLED = "tiny bundle hello"


def start(clone: TinyClone, launcher: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Start a launcher with nothing installed, and settings of pip that lead elsewhere."""
    return run(
        [*NO_NETWORK, str(launcher), "bundle", "hello"],
        {
            "PATH": os.environ["PATH"], "HOME": str(clone.folder), "LEERLAB_DATA": str(clone.folder / "data"),
            "PIP_INDEX_URL": "https://registry.invalid/simple", "PIP_NO_BINARY": ":all:", **more,
        },
    )  # fmt: skip


def environments(clone: TinyClone) -> list[str]:
    return [path.name for path in (clone.folder / "data/env").glob("*")]


def renew_manifest(top: Path) -> None:
    """What only its maker can do unseen: the digest of the archive changes with it."""
    names = "find . ! -type d ! -path ./SHA256SUMS ! -name '*.pyc' -printf '%P\\0' | sort -z | xargs -0 sha256sum"
    subprocess.run(["sh", "-c", f"{names} >.new && mv .new SHA256SUMS && sed -i '/  .new$/d' SHA256SUMS"], cwd=top,
                   timeout=60, check=True)  # fmt: skip


# Python would begin with the folder where somebody stands, and these tests run where another `cli` lies.
def test_started_in_a_bundle_the_launcher_installs_from_it_without_any_network(
    clone: TinyClone, unpacked: Path
) -> None:
    started = start(clone, unpacked / "code/leerlab")
    assert started.returncode == 0, started.stderr
    assert started.stdout.startswith(INSTALLED)
    assert "checking every file of the bundle" in started.stderr
    (environment,) = environments(clone)
    assert (clone.folder / "data/env" / environment / "lib/python3.11/site-packages/tiny.py").exists()
    again = start(clone, unpacked / "code/leerlab")
    assert again.returncode == 0 and again.stderr == ""


@pytest.mark.slow
def test_a_clone_with_the_same_locks_installs_from_a_bundle_that_it_is_told_of(
    clone: TinyClone, unpacked: Path
) -> None:
    started = start(clone, clone.tree / "leerlab", LEERLAB_BUNDLE=os.path.relpath(unpacked))
    assert started.returncode == 0 and started.stdout.startswith(INSTALLED), started.stderr
    without = start(clone, clone.tree / "leerlab", LEERLAB_DATA=str(clone.folder / "other"), PIP_RETRIES="0")
    assert without.returncode == 1, "without the bundle there is nowhere to install from"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda clone, top: (clone.tree / "images/locks/hub.txt").write_text("other==1\n"), "another in this clone"),
        (lambda clone, top: (top / "BUNDLE.json").unlink(), "is no unpacked bundle"),
        (lambda clone, top: _replace(top / "BUNDLE.json", '"amd64"', '"arm64"'), "made for other processors"),
        (lambda clone, top: _replace(top / "BUNDLE.json", '"format": 1', '"format": 2'), "of a later form"),
    ],
    ids=["another lock", "another folder", "another architecture", "a later form"],
)
def test_a_bundle_that_does_not_fit_is_refused_with_a_reason(
    clone: TinyClone, unpacked: Path, spoil: Callable[[TinyClone, Path], object], says: str
) -> None:
    spoil(clone, unpacked)
    refused = start(clone, clone.tree / "leerlab", LEERLAB_BUNDLE=str(unpacked))
    assert refused.returncode == 1 and says in refused.stderr
    assert environments(clone) == []


def _replace(file: Path, old: str, new: str) -> None:
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def change_a_byte(top: Path) -> None:
    _replace(top / "code/cli/__main__.py", "'tiny'", "'evil'")


def add_a_file(top: Path) -> None:
    """Python imports it by itself, from wherever the code lies."""
    (top / "code/sitecustomize.py").write_text("print('evil')\n")


@pytest.mark.attack
@pytest.mark.parametrize("attempt", [change_a_byte, pytest.param(add_a_file, marks=pytest.mark.slow)])
def test_nothing_is_installed_from_a_bundle_that_was_changed_on_the_way(
    clone: TinyClone, unpacked: Path, attempt: Callable[[Path], None]
) -> None:
    attempt(unpacked)
    refused = start(clone, unpacked / "code/leerlab")
    assert refused.returncode == 1 and "nothing of it is used" in refused.stderr
    assert "evil" not in refused.stdout and environments(clone) == []

    # The control: the manifest says the same as the files, and nothing else is different.
    renew_manifest(unpacked)
    assert "evil" in start(clone, unpacked / "code/leerlab").stdout


@pytest.mark.fault
def test_a_bundle_that_was_unpacked_in_part_is_refused(clone: TinyClone, unpacked: Path) -> None:
    (unpacked / "debian/pool/tiny-lib_1_1.0-1_all.deb").unlink()
    refused = start(clone, unpacked / "code/leerlab")
    assert refused.returncode == 1 and "tiny-lib_1_1.0-1_all.deb" in refused.stderr
    assert environments(clone) == []
