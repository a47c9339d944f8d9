"""How two images differ: which files, at which byte, and what they were made of that explains it."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from images.errors import ImageRefused
from images.manifest import ImageFiles, Manifest
from images.shelf import CHUNK, open_file
from images.unpack import unsquash


@dataclass(frozen=True)
class Difference:
    """How two images differ.

    Args:
        same: whether the squashfs files are the same, byte for byte.
        files: a phrase for each path that differs, at most as many as were asked for.
        more: how many further paths differ.
        reasons: what the images were made of that differs: packages, locks, programs. Empty where the same was used.
    """

    same: bool
    files: tuple[str, ...]
    more: int
    reasons: tuple[str, ...]


def compare(one: Path, other: Path, seccomp: Path, most: int = 50) -> Difference:
    """Compare two images. Neither has to be signed: nothing of them is used, and each is unpacked in a wall.

    Args:
        one: a squashfs file.
        other: another.
        seccomp: the compiled system call filter.
        most: most paths that are told.

    Raises:
        ImageRefused: one cannot be read.
    """
    reasons = tuple(_reasons(_manifest(one), _manifest(other)))
    if _same(one, other):
        return Difference(True, (), 0, reasons)
    with tempfile.TemporaryDirectory(prefix="leerlab-diff-", dir=os.environ.get("TMPDIR", "/var/tmp")) as place:  # noqa: S108
        trees = []
        for name, file in (("a", one), ("b", other)):
            home = Path(place, name)
            home.mkdir()
            copy = Path(place, f"{name}.squashfs")
            with open_file(file) as source, copy.open("xb") as target:
                shutil.copyfileobj(source, target, CHUNK)
            trees.append(unsquash(copy, home, file.name, seccomp))
        found = list(_differing(*trees))
    if not found:
        found = ["only the order or packing of the squashfs file differs, no file in it"]
    return Difference(False, tuple(found[:most]), max(0, len(found) - most), reasons)


def _manifest(squashfs: Path) -> Manifest | None:
    file = ImageFiles(squashfs.parent, squashfs.name.removesuffix(".squashfs")).manifest
    try:
        return Manifest.from_json(file.read_bytes(), file)
    except (OSError, ImageRefused):
        return None


def _same(one: Path, other: Path) -> bool:
    with open_file(one) as first, open_file(other) as second:
        while True:
            piece = first.read(CHUNK)
            if piece != second.read(CHUNK):
                return False
            if not piece:
                return True


def _differing(one: Path, other: Path) -> Iterator[str]:
    left, right = _listed(one), _listed(other)
    for name in sorted({*left, *right}):
        if name not in right:
            yield f"/{name}: only in the first"
        elif name not in left:
            yield f"/{name}: only in the second"
        elif what := _how(one / name, left[name], other / name, right[name]):
            yield f"/{name}: {what}"


def _listed(tree: Path) -> dict[str, os.stat_result]:
    found = {}
    for folder, folders, files in os.walk(tree):
        for name in (*folders, *files):
            path = Path(folder, name)
            found[str(path.relative_to(tree))] = path.lstat()
    return found


def _how(one: Path, left: os.stat_result, other: Path, right: os.stat_result) -> str:
    """All that differs in one path, the contents first; empty where it is the same."""
    if stat.S_IFMT(left.st_mode) != stat.S_IFMT(right.st_mode):
        return f"{stat.filemode(left.st_mode)} and {stat.filemode(right.st_mode)}"
    found = []
    if stat.S_ISREG(left.st_mode):
        sizes = f"{left.st_size} and {right.st_size} bytes" if left.st_size != right.st_size else ""
        found.append(sizes or _first_byte(one, other))
    elif stat.S_ISLNK(left.st_mode):
        first, second = one.readlink(), other.readlink()
        found.append("" if first == second else f"leads to {first} and to {second}")
    if left.st_mode != right.st_mode:
        found.append(f"mode {stat.filemode(left.st_mode)} and {stat.filemode(right.st_mode)}")
    if int(left.st_mtime) != int(right.st_mtime):
        found.append(f"time {int(left.st_mtime)} and {int(right.st_mtime)}")
    return ", ".join(filter(None, found))


def _first_byte(one: Path, other: Path) -> str:
    at = 0
    with one.open("rb") as first, other.open("rb") as second:
        while piece := first.read(CHUNK):
            also = second.read(CHUNK)
            if piece != also:
                offset = next(index for index, pair in enumerate(zip(piece, also, strict=True)) if pair[0] != pair[1])
                return f"byte {at + offset} is {piece[offset]:#04x} and {also[offset]:#04x}"
            at += len(piece)
    return ""


def _reasons(one: Manifest | None, other: Manifest | None) -> Iterator[str]:
    if one is None or other is None:
        yield "one of them has no manifest beside it, so what they were made of is not known"
        return
    for what, left, right in (
        ("lock", one.locks, other.locks),
        ("program", one.tools, other.tools),
        ("Debian package", _debian(one), _debian(other)),
        ("wheel", _wheels(one), _wheels(other)),
        ("setting", _settings(one), _settings(other)),
    ):
        for name in sorted({*left, *right}):
            if left.get(name) != right.get(name):
                yield f"{what} {name}: {left.get(name, 'none')} and {right.get(name, 'none')}"


def _debian(manifest: Manifest) -> Mapping[str, str]:
    return {each.name: f"{each.version} ({each.sha256[:12]})" for each in manifest.debian}


def _wheels(manifest: Manifest) -> Mapping[str, str]:
    return {each.file: each.sha256[:12] for each in manifest.python}


def _settings(manifest: Manifest) -> Mapping[str, str]:
    return {"suite": manifest.suite, "architecture": manifest.architecture, "epoch": str(manifest.epoch)}
