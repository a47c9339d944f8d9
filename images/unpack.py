"""Makes a verified image a folder that walls run from: complete and checked, or not there at all.

The image's file is copied into a private folder while its digest is taken, and only the copy is used: whoever may write
to the folder of images can exchange nothing between the check and the unpacking. unsquashfs runs in a wall of its own.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

from confinement.errors import WallRefused
from confinement.root import check_root
from confinement.run import start
from confinement.wall import Bind, Limits, Wall
from images.errors import ImageRefused
from images.manifest import ImageFiles, Manifest
from images.shelf import differs, digest, open_file, signed_manifest

UNSQUASHFS = "/usr/bin/unsquashfs"
_NEW = ".new-"
_COPY, _HOME, _TREE = "image.squashfs", "home", "tree"
_INSIDE = Path("/srv/image.squashfs")
_SECONDS = 900.0
_LARGEST_FILE = 16 * 2**30
# Folders, their entries and ends of blocks take room that the sum of the files' lengths does not show.
_ROOM = 1.15
Step = Callable[[str], None]


def root_of(images: Path, files: ImageFiles, key: str) -> tuple[Path, Manifest]:
    """Where a signed image stands or will stand unpacked.

    Args:
        images: the site's folder of unpacked images.
        files: the image.
        key: the public key, base64.

    Raises:
        ImageRefused: its manifest is not signed by the key, or is another image's.
    """
    manifest = signed_manifest(files, key)
    return images / manifest.sha256, manifest


def unpack(images: Path, files: ImageFiles, key: str, seccomp: Path, step: Step = lambda phrase: None) -> Path:
    """The folder of an image, verified and unpacked once.

    Only one process at a time may do this for one folder of images: `hub_config.run.lock.only_one`.

    Args:
        images: the site's folder of unpacked images, private to this account.
        files: the image.
        key: the public key, base64.
        seccomp: the compiled system call filter.
        step: called with one English phrase at each step.

    Raises:
        ImageRefused: the image is not what its signature says, holds what no image may hold, or there is no room.
    """
    root, manifest = root_of(images, files, key)
    for left in images.glob(f"{_NEW}*"):
        _remove(left)
    if root.is_dir():
        return root
    new = images / f"{_NEW}{secrets.token_hex(8)}"
    try:
        _room(images, manifest)
        new.mkdir(mode=0o700)
        step(f"checking the image {manifest.label}")
        _copy(files, manifest, new / _COPY)
        step(f"unpacking the image {manifest.label}")
        (new / _HOME).mkdir(mode=0o700)
        tree = unsquash(new / _COPY, new / _HOME, manifest.label, seccomp)
        (new / _COPY).unlink()
        _inspect(tree, manifest)
        # After a power cut a folder with the image's name is whole: all of it is on the disk before it gets the name.
        os.sync()
        tree.rename(root)
    except OSError as error:
        raise _no_room(images, manifest, error) from error
    finally:
        _remove(new)
    return root


def forget_others(images: Path, roots: Collection[Path]) -> None:
    """Remove unpacked images that no wall runs from any more.

    Args:
        images: the site's folder of unpacked images.
        roots: those that stay.
    """
    for entry in images.iterdir():
        if entry not in roots:
            _remove(entry)


def _room(images: Path, manifest: Manifest) -> None:
    found = os.statvfs(images)
    needed = int(manifest.unpacked * _ROOM) + manifest.size
    if found.f_bavail * found.f_frsize < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _no_room(images: Path, manifest: Manifest, error: OSError) -> ImageRefused:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    needed = (int(manifest.unpacked * _ROOM) + manifest.size) // 2**20
    return ImageRefused(
        f"The image {manifest.label} cannot be unpacked in {images}: {error.strerror}.",
        "Nothing of it was left there.",
        f"Make {needed} MiB of room on the disk." if full else "See that this account may write there.",
    )


def _copy(files: ImageFiles, manifest: Manifest, to: Path) -> None:
    """A private copy of the squashfs file, once it is known to be the one that was signed."""
    with open_file(files.squashfs) as source, to.open("xb") as target:
        if (size := os.fstat(source.fileno()).st_size) != manifest.size:
            raise differs(files, manifest, ("", size))
        found = digest(source, target.write)
    if found != (manifest.sha256, manifest.size):
        raise differs(files, manifest, found)


def unsquash(copy: Path, home: Path, label: str, seccomp: Path) -> Path:
    """Unpack a squashfs file in a wall, which sees nothing but the file and the folder.

    Args:
        copy: the file, which nobody else can change.
        home: an empty folder.
        label: what to call the image in messages.
        seccomp: the compiled system call filter.

    Returns:
        The folder in `home` that has what was in it.

    Raises:
        ImageRefused: it cannot be unpacked completely.
        OSError: the disk is full.
    """
    if not os.access(UNSQUASHFS, os.X_OK):
        raise ImageRefused(
            f"{UNSQUASHFS} is not there.", "Images are unpacked with it.", "Install Debian's package squashfs-tools."
        )
    wall = Wall(
        command=(UNSQUASHFS, "-no-progress", "-no-xattrs", "-strict-errors", "-d", _TREE, str(_INSIDE)),
        home=home,
        seccomp=seccomp,
        binds=(Bind(copy, _INSIDE),),
        limits=Limits(file_size=_LARGEST_FILE),
        umask=0o022,
    )
    with start(wall) as walled:
        try:
            code = walled.wait(_SECONDS)
        except TimeoutError:
            walled.terminate()
            raise ImageRefused(
                f"Unpacking the image {label} took longer than {_SECONDS:.0f} seconds.",
                "Nothing of it was left.",
            ) from None
        said = walled.output.decode(errors="replace")
    if code:
        if os.strerror(errno.ENOSPC) in said:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        lines = [line for line in said.split("\n") if line.strip()] or ["it gave no reason"]
        why = next((line for line in lines if line.startswith("FATAL ERROR")), lines[-1])
        raise ImageRefused(
            f"The image {label} cannot be unpacked: {why.strip()} (unsquashfs ended with {code}).",
            "Nothing of it was left.",
            "It holds what an ordinary account may not make, or it is no squashfs file: ask who built it.",
        )
    return home / _TREE


def _entries(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    with os.scandir(folder) as found:
        for entry in found:
            about = entry.stat(follow_symlinks=False)
            yield Path(entry.path), about
            if stat.S_ISDIR(about.st_mode):
                yield from _entries(Path(entry.path))


def _inspect(tree: Path, manifest: Manifest) -> None:
    """Refuse what no image of ours holds: files that give rights, and links where walls take folders from."""

    def refused(path: Path, what: str) -> ImageRefused:
        return ImageRefused(
            f"The image {manifest.label} holds {what}: /{path.relative_to(tree)}.",
            "No image that Leerlab builds does. Nothing of it was left.",
            "It is signed, so ask who built it, and take their key out of site.yaml until it is explained.",
        )

    for path, about in _entries(tree):
        kind = stat.S_IFMT(about.st_mode)
        if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            raise refused(path, "a device, a pipe or a socket")
        if kind != stat.S_IFLNK and about.st_mode & (stat.S_ISUID | stat.S_ISGID):
            raise refused(path, "a file that gives its owner's or group's rights")
    try:
        check_root(tree)
    except WallRefused as error:
        raise ImageRefused(
            f"No wall can run from the image {manifest.label}: {error.what}", "Nothing of it was left.", error.do
        ) from error


def _remove(folder: Path) -> None:
    """Remove a folder, those inside that nobody may write to as well."""
    if not folder.is_dir():
        folder.unlink(missing_ok=True)
        return
    for path, about in _entries_to_remove(folder):
        if stat.S_ISDIR(about.st_mode):
            path.chmod(0o700)
    shutil.rmtree(folder)


def _entries_to_remove(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """As `_entries`, each folder made readable before it is read."""
    folder.chmod(0o700)
    with suppress(FileNotFoundError):
        yield from _entries(folder)
