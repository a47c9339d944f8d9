"""Images built by root: the same bytes twice, nothing left of a broken build, the reason when a lock is old."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from image_builds import ENVIRONMENT, LEERLAB, build, leerlab, make_key, small_recipe

from images.manifest import BESIDE, ImageFiles

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(3000)]
BEGIN_SECONDS = 600.0
STORE = Path(os.environ.get("LEERLAB_DATA", "/var/lib/leerlab"), "image-store")


@dataclass(frozen=True)
class Bench:
    """A folder with a recipe and keys."""

    folder: Path
    recipe: Path
    secret: Path
    public: Path


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    folder = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    folder.chmod(0o755)
    yield Bench(folder, small_recipe(folder), *make_key(folder))
    shutil.rmtree(folder)


def builds_left() -> list[str]:
    return sorted(entry.name for entry in STORE.glob("build-*"))


@pytest.fixture(scope="module")
def twice(bench: Bench) -> tuple[str, str]:
    """Digests of two builds of one lock, in the folders `one` and `two`."""
    one, two = (build(bench.recipe, bench.folder / name, bench.secret)["sha256"] for name in ("one", "two"))
    return one, two


@contextmanager
def begun(bench: Bench, out: Path) -> Iterator[subprocess.Popen[str]]:
    """A build that has begun with the root file system."""
    command = [
        LEERLAB, "image", "build", str(bench.recipe), "--version", "9", "--out", str(out), "--key", str(bench.secret)
    ]  # fmt: skip
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        deadline = time.monotonic() + BEGIN_SECONDS
        while not list(STORE.glob("build-*/rootfs/tmp/mmdebstrap.*/usr")):
            assert process.poll() is None and time.monotonic() < deadline, "the root file system is not begun"
            time.sleep(0.05)
        yield process


def wait_until_free(folder: Path) -> None:
    """Until no process holds the lock of a build's folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    deadline = time.monotonic() + BEGIN_SECONDS
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                assert time.monotonic() < deadline, f"{folder} is in use"
                time.sleep(0.2)
            else:
                return
    finally:
        os.close(descriptor)


def old_lock_fails(bench: Bench) -> tuple[str, str]:
    """A build of a lock that names a version that never was: what it says, and the version there is."""
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        old = Path(folder)
        shutil.copy(bench.recipe, old)
        lock = json.loads((bench.folder / "tiny.debian.json").read_text())
        package = next(each for each in lock["packages"] if each["name"] == "python3")
        now, package["version"], package["sha256"] = package["version"], "3.11.2-0", "0" * 64
        (old / "tiny.debian.json").write_text(json.dumps(lock))
        said = leerlab(
            "image", "build", old / "tiny.toml", "--version", "1", "--out", old, "--key", bench.secret, code=1
        )  # fmt: skip
        return said, now


def test_two_builds_of_one_lock_are_the_same_byte_for_byte(bench: Bench, twice: tuple[str, str]) -> None:
    assert twice[0] == twice[1]
    for end in (".squashfs", ".json", *BESIDE):
        one, two = (ImageFiles(bench.folder / name, "tiny-1").beside(end) for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes(), end
    files = ImageFiles(bench.folder / "one", "tiny-1")
    assert builds_left() == []
    assert sorted(path.name for path in (bench.folder / "one").iterdir()) == sorted(path.name for path in files.all)
    # Whoever may read it, may verify it: the account of a site does.
    where = ("--folder", bench.folder / "one", "--public-key", bench.public)
    assert "is what was signed" in leerlab("image", "verify", "tiny-1", *where)
    assert "The same" in leerlab("image", "diff", *(bench.folder / name / "tiny-1.squashfs" for name in ("one", "two")))
    # What is in it gives nobody rights, and the bill of materials names it.
    listed = subprocess.run(
        ["/usr/bin/unsquashfs", "-lln", str(files.squashfs)], capture_output=True, text=True, timeout=60, check=True
    ).stdout.splitlines()
    modes = [line.split()[0] for line in listed if line[:1] in "-dlbcps"]
    assert len(modes) > 1000 and {mode[0] for mode in modes} <= set("-dl")
    assert not any("s" in mode[1:] for mode in modes), "no file gives its owner's or group's rights"
    names = {part["name"] for part in json.loads(files.beside(".cdx.json").read_text())["components"]}
    assert {"bash", "libc6", "python3.11-minimal"} <= names
    licences = json.loads(files.beside(".licences.json").read_text())["licences"]
    assert any("GPL" in name for name in licences)
    # The definition for Apptainer names the same file and the same locks as the manifest that is signed.
    manifest = json.loads(files.manifest.read_text())
    lines = files.beside(".def").read_text().splitlines()
    assert f'    echo "{manifest["sha256"]}  tiny-1.squashfs" | sha256sum -c -' in lines
    assert set(manifest["locks"]) == {"tiny.debian.json"}
    assert all(f"    leerlab.lock.{lock} {sha256}" in lines for lock, sha256 in manifest["locks"].items())


def test_one_changed_byte_in_any_file_of_an_image_is_refused(bench: Bench, twice: tuple[str, str]) -> None:
    shelf = bench.folder / "changed"
    shutil.copytree(bench.folder / "two", shelf)
    where = ("--folder", shelf, "--public-key", bench.public)
    for end in (".squashfs", *BESIDE, ".json"):
        file = ImageFiles(shelf, "tiny-1").beside(end)
        content = bytearray(file.read_bytes())
        content[-20] ^= 1
        file.write_bytes(content)
        said = leerlab("image", "verify", "tiny-1", *where, code=1)
        assert "is not by the key" in said if end == ".json" else "not the file that was signed" in said, said
        if end != ".json":
            content[-20] ^= 1
            file.write_bytes(content)
    (listed,) = json.loads(leerlab("image", "list", "--json", *where))
    assert "is not by the key" in listed["problem"]


@pytest.mark.fault
def test_a_build_that_is_interrupted_leaves_nothing(bench: Bench) -> None:
    out = bench.folder / "broken-off"
    out.mkdir()
    with begun(bench, out) as process:
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=300)[0]
    assert process.returncode == 1 and "Interrupted." in said, said
    assert builds_left() == [] and list(out.iterdir()) == []
    assert "image-store" not in Path("/proc/self/mounts").read_text()


@pytest.mark.fault
def test_clearing_up_behind_a_killed_build_removes_nothing_of_the_machine(bench: Bench) -> None:
    """mmdebstrap has the machine's own /dev/shm in the new system while it works."""
    out = bench.folder / "killed"
    out.mkdir()
    with tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="ll-") as somebodys:
        with begun(bench, out) as process:
            assert "image-store" not in Path("/proc/self/mounts").read_text(), "nobody else has its mounts"
            process.kill()
        (left,) = STORE.glob("build-*")
        # What it has started goes on for a while, and holds the folder.
        wait_until_free(left)
        old_lock_fails(bench)
        assert builds_left() == []
        assert Path(somebodys.name).exists()


def test_a_lock_that_the_archive_has_left_behind_is_told_by_package(bench: Bench) -> None:
    said, now = old_lock_fails(bench)
    assert f"python3: locked 3.11.2-0, now {now}" in said and "Renew the lock" in said
    assert builds_left() == []
