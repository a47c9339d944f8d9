"""Images in a folder: which there are, and whether one is what its signature says."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from images.errors import ImageRefused
from images.manifest import LARGEST_MANIFEST, ImageFiles, Manifest, split_label
from images.signature import check

CHUNK = 2**20
_LARGEST_SIGNATURE = 4096
_AGAIN = "Get the image again from who built it, or build it anew: leerlab image build."


def open_file(path: Path) -> BinaryIO:
    """An image's file, opened once: what is checked is what is used.

    Raises:
        ImageRefused: there is none, or something else stands there.
    """
    try:
        # Not blocking: a pipe that somebody put there would otherwise be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ImageRefused(f"{path} cannot be read: {error.strerror}.", "The image is not complete.", _AGAIN) from error
    opened = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        opened.close()
        raise ImageRefused(f"{path} is no ordinary file.", "The image is not complete.", _AGAIN)
    return opened


def _small(path: Path, most: int) -> bytes:
    with open_file(path) as opened:
        content = opened.read(most + 1)
    if len(content) > most:
        raise ImageRefused(f"{path} is larger than any that a build writes.", "Nothing of it was used.", _AGAIN)
    return content


def signed_manifest(files: ImageFiles, key: str) -> Manifest:
    """The manifest of an image, signed by the key and with the name and version that were asked for.

    Args:
        files: the image.
        key: the public key, base64.

    Raises:
        ImageRefused: it is not so. An older image under a newer one's name is refused here: both are signed.
    """
    name, version = split_label(files.label)
    content = _small(files.manifest, LARGEST_MANIFEST)
    check(content, _small(files.signature, _LARGEST_SIGNATURE), key, files.manifest)
    manifest = Manifest.from_json(content, files.manifest)
    if (manifest.name, manifest.version) != (name, version):
        raise ImageRefused(
            f"{files.manifest} is the signed manifest of {manifest.label}, not of {files.label}.",
            "Somebody gave one image the name of another, such as an old one that of a new one. Nothing was used.",
            _AGAIN,
        )
    return manifest


def digest(source: BinaryIO, taken: Callable[[bytes], object] = lambda piece: None) -> tuple[str, int]:
    """Digest and length of what an open file holds from where it stands.

    Args:
        source: the open file.
        taken: called with every piece that was counted.
    """
    known, size = hashlib.sha256(), 0
    while piece := source.read(CHUNK):
        known.update(piece)
        size += len(piece)
        taken(piece)
    return known.hexdigest(), size


def differs(files: ImageFiles, manifest: Manifest, found: tuple[str, int]) -> ImageRefused:
    """The refusal of a squashfs file that is not the one of its manifest."""
    what = f"its SHA-256 is {found[0]}, the signed one {manifest.sha256}"
    if found[1] != manifest.size:
        what = f"it has {found[1]} bytes, the signed one {manifest.size}"
    return ImageRefused(
        f"{files.squashfs} is not the file that was signed: {what}.",
        "It was changed, or is a part of a copy. Nothing of it was used.",
        _AGAIN,
    )


def verify(files: ImageFiles, key: str) -> Manifest:
    """See that every file of an image is what its signature says.

    Args:
        files: the image.
        key: the public key, base64.

    Raises:
        ImageRefused: one is not.
    """
    manifest = signed_manifest(files, key)
    with open_file(files.squashfs) as opened:
        found = digest(opened)
    if found != (manifest.sha256, manifest.size):
        raise differs(files, manifest, found)
    for end, wanted in manifest.beside.items():
        with open_file(files.beside(end)) as opened:
            got, _ = digest(opened)
        if got != wanted:
            raise ImageRefused(
                f"{files.beside(end)} is not the file that was signed.", "It was changed after the build.", _AGAIN
            )
    return manifest


@dataclass(frozen=True)
class Listed:
    """One image of a folder.

    Args:
        label: `<name>-<version>`.
        size: bytes of the squashfs file, 0 where it is missing.
        manifest: None where it is not to be trusted, or nobody asked.
        problem: what is wrong; empty where the signature was checked and holds.
    """

    label: str
    size: int
    manifest: Manifest | None
    problem: str


def images_in(folder: Path, key: str) -> list[Listed]:
    """All images of a folder, by name; each with whether its manifest is signed by the key.

    Args:
        folder: the folder.
        key: the public key, base64.

    Raises:
        ImageRefused: the folder cannot be read.
    """
    try:
        labels = sorted(entry.name.removesuffix(".json.minisig") for entry in folder.glob("*.json.minisig"))
    except OSError as error:
        raise ImageRefused(f"{folder} cannot be read: {error.strerror}.") from error
    if not folder.is_dir():
        raise ImageRefused(f"{folder} is no folder.", do="Name the folder that the images lie in.")
    found = []
    for label in labels:
        files = ImageFiles(folder, label)
        size = 0
        with suppress(OSError):
            size = files.squashfs.stat().st_size
        try:
            found.append(Listed(label, size, signed_manifest(files, key), ""))
        except ImageRefused as refused:
            found.append(Listed(label, size, None, refused.what))
    return found
