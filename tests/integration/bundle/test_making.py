"""`leerlab bundle`: one archive with exactly the commit and what it locks, or none at all."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import psutil
import pytest
from tiny_clone import CODE, TinyClone

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(120)]


def left_over(file: Path) -> list[str]:
    """What is beside the bundle and was not there before."""
    return [path.name for path in file.parent.iterdir()]


def test_a_bundle_holds_the_commit_its_packages_with_what_they_need_and_a_manifest_of_every_file(
    clone: TinyClone, unpacked: Path
) -> None:
    (clone.tree / "untracked").touch()
    assert (unpacked / "code/a link").readlink() == Path("pyproject.toml")
    assert not (unpacked / "code/untracked").exists() and not (unpacked / "code/.git").exists()
    pool = sorted(path.name for path in (unpacked / "debian/pool").iterdir())
    assert pool == [
        "apt_2_all.deb",
        "git_9_all.deb",
        "tiny-base_1_all.deb",
        "tiny-lib_1_1.0-1_all.deb",
        "tiny-tool_3_all.deb",
    ]
    assert [path.name for path in (unpacked / "wheels").iterdir()] == ["tiny-1.0-py3-none-any.whl"]
    about = json.loads((unpacked / "BUNDLE.json").read_text())
    assert about["packages"]["tiny-lib"] == "1:1.0-1" and about["torch"] == "cpu" and not about["development"]
    named = {line[66:] for line in (unpacked / "SHA256SUMS").read_text().splitlines()}
    files = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_symlink() or path.is_file()}
    assert named == files - {"SHA256SUMS"}
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=unpacked, timeout=60, check=True)


@pytest.mark.slow
def test_the_same_commit_and_packages_give_the_same_bytes(clone: TinyClone) -> None:
    first, second = clone.folder / "first", clone.folder / "second"
    digests = [json.loads(clone.bundle(file).stdout)["sha256"] for file in (first, second)]
    assert digests[0] == digests[1] and first.read_bytes() == second.read_bytes()


def test_changes_that_are_in_no_commit_are_refused(clone: TinyClone) -> None:
    (clone.tree / "pyproject.toml").write_text("changed")
    refused = clone.bundle(clone.folder / "out" / "bundle.tar")
    assert refused.returncode == 2
    (clone.folder / "out").mkdir()
    refused = clone.bundle(clone.folder / "out" / "bundle.tar")
    assert refused.returncode == 2 and "in no commit" in refused.stderr
    assert left_over(clone.folder / "out" / "bundle.tar") == []


@pytest.mark.fault
def test_a_package_that_no_source_has_ends_it_with_a_reason_and_nothing_left(clone: TinyClone) -> None:
    out = clone.folder / "out"
    out.mkdir()
    (clone.folder / "wheels/tiny-1.0-py3-none-any.whl").unlink()
    failed = clone.bundle(out / "bundle.tar")
    assert failed.returncode == 1
    assert re.search(r"The Python packages of [a-z-]+\.txt could not be fetched", failed.stderr)
    assert "tiny==1.0" in failed.stderr
    assert left_over(out / "bundle.tar") == []


@pytest.mark.fault
def test_a_full_disk_ends_it_with_a_reason_and_nothing_left(clone: TinyClone) -> None:
    out = clone.folder / "out"
    out.mkdir()
    # The mount is gone with its namespace, so what is left is looked at inside.
    script = 'mount -t tmpfs -o size=300k tmpfs "$1"; shift; "$@"; code=$?; ls -A "$OUT" >&2; exit $code'
    failed = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", str(out),
         *clone.argv(out / "bundle.tar")],
        env={**clone.environment, "OUT": str(out)}, cwd=CODE, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert failed.returncode == 1, failed.stderr
    assert "No space left on device" in failed.stderr or "is full" in failed.stderr
    assert ".making" not in failed.stderr.splitlines()[-1] and "bundle.tar" not in failed.stderr.splitlines()[-1]


@pytest.mark.fault
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, *(pytest.param(one, marks=pytest.mark.slow) for one in (signal.SIGINT, signal.SIGKILL))]
)
def test_interrupted_it_leaves_nothing_and_the_next_run_clears_what_a_kill_left(
    clone: TinyClone, number: signal.Signals
) -> None:
    out = clone.folder / "out"
    out.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        here = (clone.folder / "sources.list").read_text()
        port = silent.getsockname()[1]
        (clone.folder / "sources.list").write_text(f"deb [trusted=yes] http://127.0.0.1:{port} ./\n")
        with subprocess.Popen(
            clone.argv(out / "bundle.tar"), env=clone.environment, cwd=CODE, stderr=subprocess.PIPE, text=True
        ) as making:
            silent.settimeout(30)
            waiting, _ = silent.accept()  # apt asks, and nobody answers
            children = psutil.Process(making.pid).children(recursive=True)
            assert children and left_over(out / "bundle.tar")
            os.kill(making.pid, number)
            _, said = making.communicate(timeout=30)
        waiting.close()
        for child in children if number is signal.SIGKILL else ():
            if child.is_running():
                child.kill()  # nobody but the kernel could have done that
    (clone.folder / "sources.list").write_text(here)
    if number is not signal.SIGKILL:
        assert making.returncode == 1 and "nothing of it is left" in said
        _, alive = psutil.wait_procs(children, timeout=5)
        assert alive == [] and left_over(out / "bundle.tar") == []
    made = clone.bundle(out / "bundle.tar")
    assert made.returncode == 0, made.stderr
    assert left_over(out / "bundle.tar") == ["bundle.tar"]


@pytest.mark.slow
def test_two_at_once_of_one_file_are_kept_apart(clone: TinyClone) -> None:
    out = clone.folder / "out"
    out.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        (clone.folder / "sources.list").write_text(f"deb [trusted=yes] http://127.0.0.1:{port} ./\n")
        with subprocess.Popen(clone.argv(out / "bundle.tar"), env=clone.environment, cwd=CODE) as making:
            silent.settimeout(30)
            waiting, _ = silent.accept()
            second = clone.bundle(out / "bundle.tar")
            making.terminate()
            making.wait(30)
            waiting.close()
    assert second.returncode == 1 and "Another leerlab bundle is making" in second.stderr
    assert left_over(out / "bundle.tar") == []
