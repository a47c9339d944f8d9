"""A small image that walls can run from: this machine's Python and no more, packed and signed as a build does."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from images.manifest import ImageFiles, Manifest
from images.signature import public_key, sign

MARK = "usr/share/leerlab-image"
PROGRAMS = ("python3.11", "sh", "cat", "true")
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


def _run(*words: str | Path) -> str:
    done = subprocess.run(
        [str(word) for word in words], env=_ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def small_tree(tree: Path) -> Path:
    """A root file system with Python's interpreter, its library and what it loads."""
    for folder in ("usr/bin", "usr/lib", "usr/lib64", "usr/local", "usr/share", "etc/ssl", "opt/notebook/bin"):
        (tree / folder).mkdir(parents=True)
    programs = [Path("/usr/bin", name) for name in PROGRAMS]
    for program in programs:
        shutil.copy(program, tree / "usr/bin" / program.name)
    told = _run("/usr/bin/ldd", *programs, *Path("/usr/lib/python3.11/lib-dynload").glob("_[cs]*.so")).split()
    for library in {word for word in told if word.startswith("/") and not word.endswith(":")}:
        place = library.removeprefix("/usr").lstrip("/")
        target = tree / "usr" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    (tree / "usr/bin/python3").symlink_to("python3.11")
    shutil.copytree(
        "/usr/lib/python3.11",
        tree / "usr/lib/python3.11",
        ignore=shutil.ignore_patterns("__pycache__", "test", "lib2to3", "pydoc_data", "unittest", "config-*"),
    )
    (tree / "opt/notebook/bin/python").symlink_to("/usr/bin/python3")
    (tree / MARK).write_text("of the image\n")
    (tree / "etc/ssl/openssl.cnf").write_text("# of the image\n")
    return tree


@dataclass(frozen=True)
class Key:
    """A pair of keys without a password."""

    secret: Path
    public: str

    @classmethod
    def make(cls, folder: Path, name: str) -> Key:
        secret, pub = folder / f"{name}.key", folder / f"{name}.pub"
        _run("/usr/bin/minisign", "-G", "-W", "-s", secret, "-p", pub)
        return cls(secret, public_key(pub))


def pack(tree: Path, squashfs: Path, pseudo: Sequence[str] = ()) -> Path:
    """Pack a tree; `pseudo` adds what an ordinary account cannot make (see mksquashfs)."""
    further = [word for line in pseudo for word in ("-p", line)]
    _run(
        "/usr/bin/mksquashfs", tree, squashfs, "-noappend", "-no-progress", "-quiet", "-all-root", "-no-xattrs",
        "-comp", "zstd", "-Xcompression-level", "1", "-mkfs-time", "0", *further,
    )  # fmt: skip
    return squashfs


def manifest_of(squashfs: Path, name: str, version: str, unpacked: int = 2**20) -> Manifest:
    content = squashfs.read_bytes()
    return Manifest(
        name=name, version=version, architecture="amd64", suite="bookworm", sha256=hashlib.sha256(content).hexdigest(),
        size=len(content), unpacked=unpacked, epoch=0, locks={}, debian=(), python=(), tools={}, beside={},
    )  # fmt: skip


def seal(folder: Path, squashfs: Path, version: str, key: Key, unpacked: int = 2**20) -> ImageFiles:
    """Give a squashfs file a signed manifest, as `small-<version>`."""
    manifest = manifest_of(squashfs, "small", version, unpacked)
    files = ImageFiles(folder, manifest.label)
    shutil.copy(squashfs, files.squashfs)
    text = manifest.to_json().encode()
    files.manifest.write_bytes(text)
    files.signature.write_bytes(sign(text, key.secret, "test"))
    return files
