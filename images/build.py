"""Builds one image from its locks: packages, root file system, bill of materials, signature; whole or not at all."""

from __future__ import annotations

import datetime
import fcntl
import hashlib
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from images import debian, rootfs, sbom, wheels
from images.apptainer import definition
from images.errors import BuildFailed
from images.manifest import DEFINITION, LICENCES, SBOM, ImageFiles, Manifest, split_label
from images.recipe import Ingredients
from images.shelf import digest
from images.signature import sign

Step = Callable[[str], None]
_WORK = "build-"


@dataclass(frozen=True)
class Order:
    """What to build, and with what.

    Args:
        ingredients: recipe and locks.
        version: the image's.
        out: folder that gets the image's files.
        key: file of minisign's secret key.
        store: folder of packages that are kept between builds: `debian/` and `wheels/`.
        offline: whether only the store is looked at.
        syft: the program that writes the bill of materials.
        mirror: address of Debian's archive.
        security: address of Debian's security archive.
    """

    ingredients: Ingredients
    version: str
    out: Path
    key: Path
    store: Path
    syft: Path
    offline: bool = False
    mirror: str = debian.MIRROR
    security: str = debian.SECURITY

    @property
    def files(self) -> ImageFiles:
        return ImageFiles(self.out, f"{self.ingredients.recipe.name}-{self.version}")


@dataclass(frozen=True)
class Built:
    """What was built.

    Args:
        label: `<name>-<version>`.
        manifest: the signed manifest.
        seconds: how long each step took.
    """

    label: str
    manifest: Manifest
    seconds: dict[str, float]


def build(order: Order, step: Step = lambda phrase: None) -> Built:
    """Build an image. What was made so far is gone when it fails or is interrupted.

    Args:
        order: what to build.
        step: called with one English phrase at each step.

    Raises:
        BuildFailed: something needed is missing, or a step failed.
    """
    files, recipe = order.files, order.ingredients.recipe
    split_label(files.label)
    if there := next((file for file in files.all if file.exists()), None):
        raise BuildFailed(
            f"{there} is there already.",
            "An image's name means one image, for ever, so nothing was built.",
            "Give the new image another version, or build into another folder and compare: leerlab image diff.",
        )
    if not order.out.is_dir():
        raise BuildFailed(f"{order.out} is no folder.", "The image's files belong there.", "Make it first.")
    lock = order.ingredients.debian()
    tools = {**rootfs.versions(), "syft": _syft_version(order.syft)}
    # Whoever cannot sign learns it now, and not after minutes.
    sign(b"leerlab", order.key, "trial")
    clock = _Clock(step)
    with _work_folder(order.store) as (work, held):
        clock("fetching Debian packages")
        archive = debian.Archive(work / "apt", recipe.suite, order.mirror, order.security)
        packages, _ = debian.fetch(lock, order.store / "debian", None if order.offline else archive)
        (work / "repository").mkdir()
        source = debian.repository(packages, lock, work / "repository")
        clock("fetching Python wheels")
        (work / "wheels").mkdir()
        inside = wheels.fetch(
            order.ingredients.python_files, order.store / "wheels", work / "wheels", offline=order.offline
        )
        clock("making the root file system")
        squashfs = work / "image.squashfs"
        (work / "rootfs").mkdir()
        parts = rootfs.Parts(lock, source, work / "wheels", order.ingredients.python_files)
        rootfs.make(parts, squashfs, work / "rootfs", held)
        clock("writing the bill of materials")
        bom = _bill(order, squashfs, lock.epoch, work)
        if unnamed := sbom.missing(bom, lock.packages, inside):
            raise BuildFailed(f"The bill of materials does not name: {', '.join(unnamed[:12])}.", "Nothing was left.")
        clock("signing")
        with squashfs.open("rb") as opened:
            sha256, size = digest(opened)
        locks = {file.name: _sha256(file) for file in (order.ingredients.debian_file, *order.ingredients.python_files)}
        beside = {
            SBOM: sbom.to_json(bom),
            LICENCES: sbom.to_json(sbom.licences(bom)),
            DEFINITION: definition(recipe.name, order.version, sha256, locks).encode(),
        }
        manifest = Manifest(
            name=recipe.name, version=order.version, architecture=lock.architecture, suite=lock.suite, sha256=sha256,
            size=size, unpacked=_unpacked(squashfs), epoch=lock.epoch, locks=locks, debian=lock.packages, python=inside,
            tools=tools, beside={end: hashlib.sha256(content).hexdigest() for end, content in beside.items()},
        )  # fmt: skip
        text = manifest.to_json().encode()
        signature = sign(text, order.key, f"leerlab image {files.label}")
        contents = {files.beside(end): content for end, content in beside.items()}
        _put(files, squashfs, {**contents, files.manifest: text, files.signature: signature})
    clock("")
    return Built(files.label, manifest, clock.seconds)


class _Clock:
    """Tells the steps, and how long each took."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._current = ""
        self._begin = time.monotonic()
        self.seconds: dict[str, float] = {}

    def __call__(self, phrase: str) -> None:
        now = time.monotonic()
        if self._current:
            self.seconds[self._current] = round(now - self._begin, 1)
        self._current, self._begin = phrase, now
        if phrase:
            self._step(phrase)


@contextmanager
def _work_folder(store: Path) -> Iterator[tuple[Path, int]]:
    """A private folder that is gone afterwards, and its lock; folders of builds that were killed go too."""
    store.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        with (store / ".lock").open("w") as one:
            # One at a time: a folder that was just made must not be taken for one that was left.
            fcntl.flock(one, fcntl.LOCK_EX)
            for left in store.glob(f"{_WORK}*"):
                with _locked(left) as lock_of_left:
                    if lock_of_left is not None:
                        shutil.rmtree(left)
            work = store / f"{_WORK}{secrets.token_hex(8)}"
            # Accounts of the new system pass through on the way to their own folder below; they cannot list this one.
            work.mkdir(mode=0o711)
            # Locked until it is gone, so that no other build takes it for one that was left.
            lock = held.enter_context(_locked(work))
            assert lock is not None, "nobody else knows its name"
            held.callback(shutil.rmtree, work)
        yield work, lock


@contextmanager
def _locked(folder: Path) -> Iterator[int | None]:
    """Hold a folder's lock while a build uses it; gives its descriptor, None where the folder is in use.

    The kernel frees it with the last process that holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock: int | None = descriptor
    except BlockingIOError:
        lock = None
    try:
        yield lock
    finally:
        os.close(descriptor)


def _put(files: ImageFiles, squashfs: Path, contents: dict[Path, bytes]) -> None:
    """Give the image's files their names, the signature's last: an image with a signature is whole."""
    done: list[Path] = []
    new = files.folder / f".new-{secrets.token_hex(8)}"
    try:
        shutil.copyfile(squashfs, new)
        for target, content in ((files.squashfs, None), *contents.items()):
            if content is not None:
                new.write_bytes(content)
            new.chmod(0o644)
            with new.open("rb") as written:
                os.fsync(written.fileno())
            done.append(target)
            new.rename(target)
    except BaseException:
        for target in done:
            target.unlink(missing_ok=True)
        raise
    finally:
        new.unlink(missing_ok=True)


def _bill(order: Order, squashfs: Path, epoch: int, work: Path) -> dict[str, object]:
    tree, home = work / "tree", work / "syft"
    home.mkdir()
    done = subprocess.run(
        ["/usr/bin/unsquashfs", "-no-progress", "-no-xattrs", "-d", str(tree), str(squashfs), *sbom.TOLD_BY],
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}, stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise BuildFailed(f"The new image cannot be read: {done.stderr.decode(errors='replace').strip()}.")
    when = datetime.datetime.fromtimestamp(epoch, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return sbom.bill_of_materials(tree, (order.ingredients.recipe.name, order.version), when, order.syft, home)


def _unpacked(squashfs: Path) -> int:
    """Bytes of all files of an image, as unsquashfs lists them (inode, mode, owner, size, date, time, name)."""
    listed = subprocess.run(
        ["/usr/bin/unsquashfs", "-lln", str(squashfs)], env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        raise BuildFailed("The new image cannot be listed.", "Nothing was left.")
    sizes = (
        line.split(maxsplit=3)[2] for line in listed.stdout.decode(errors="replace").split("\n") if line[:1] == "-"
    )
    return sum(map(int, sizes))


def _syft_version(syft: Path) -> str:
    done = subprocess.run([str(syft), "version", "-o", "json"], capture_output=True, timeout=60, check=False)
    found = [line for line in done.stdout.decode(errors="replace").split("\n") if '"version"' in line]
    if done.returncode or not found:
        raise BuildFailed(f"{syft} does not run.", "The bill of materials is written with it.", "Start with ./leerlab.")
    return found[0].split('"')[3]


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return digest(opened)[0]
