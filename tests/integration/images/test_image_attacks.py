"""What may be tried by who can write where images lie, or makes them; each with the same where one defence is gone."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Place
from small_image import MARK, pack

from confinement import run
from confinement import wall as walls
from confinement.errors import WallRefused
from confinement.run import start
from confinement.wall import Wall
from images import shelf, unpack
from images.errors import ImageRefused
from images.manifest import ImageFiles

pytestmark = [pytest.mark.attack, pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
def evil(place: Place) -> Path:
    """The squashfs file of an image with another program in it."""
    tree = place.shelf.parent / "evil"
    shutil.copytree(place.source.tree, tree, symlinks=True)
    (tree / MARK).write_text("of the attacker\n")
    return pack(tree, place.shelf.parent / "evil.squashfs")


def what_runs(place: Place, files: ImageFiles) -> str:
    return (place.unpack(files) / MARK).read_text()


def test_an_exchanged_image_file_is_not_run(place: Place, evil: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attacker puts another file, of the same length, in the image's place."""
    files = place.sealed()
    wanted = files.squashfs.stat().st_size
    content = evil.read_bytes()
    content = content[:wanted].ljust(wanted, b"\0") if len(content) <= wanted else content
    files.squashfs.write_bytes(content)
    with pytest.raises(ImageRefused, match="not the file that was signed"):
        what_runs(place, files)
    assert place.left() == []
    # Control: without the comparison with the signed digest the attacker's program is what runs.
    shutil.copy(evil, files.squashfs)
    monkeypatch.setattr(unpack, "_copy", lambda _files, _manifest, to: shutil.copy(files.squashfs, to))
    assert what_runs(place, files) == "of the attacker\n"


def test_an_image_signed_by_another_key_is_not_run(place: Place, evil: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attacker makes a whole image of their own: file, manifest and signature fit each other."""
    files = place.sealed(squashfs=evil, key=place.source.other_key)
    with pytest.raises(ImageRefused, match="not by the key"):
        what_runs(place, files)
    assert place.left() == []
    # Control: the same image, with any signature taken for the site's.
    monkeypatch.setattr(shelf, "check", lambda *_: None)
    assert what_runs(place, files) == "of the attacker\n"


def test_an_edited_manifest_is_not_believed(place: Place, evil: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attacker exchanges the file and writes its digest into the manifest, beside the real signature."""
    files = place.sealed()
    genuine = files.signature.read_bytes()
    place.sealed(squashfs=evil, key=place.source.other_key)
    files.signature.write_bytes(genuine)
    with pytest.raises(ImageRefused, match="not by the key"):
        what_runs(place, files)
    assert place.left() == []
    # Control: without the check of the signature over the manifest.
    monkeypatch.setattr(shelf, "check", lambda *_: None)
    assert what_runs(place, files) == "of the attacker\n"


def test_an_old_image_does_not_pass_for_a_new_one(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 1 has a hole; the attacker gives its files, all genuine, the name of version 2."""
    tree = place.shelf.parent / "old"
    shutil.copytree(place.source.tree, tree, symlinks=True)
    (tree / MARK).write_text("with the hole\n")
    old = place.sealed("1", pack(tree, place.shelf.parent / "old.squashfs"))
    new = place.sealed("2")
    for had, gets in zip(old.all[:3], new.all[:3], strict=True):
        shutil.copy(had, gets)
    with pytest.raises(ImageRefused, match="the signed manifest of small-1, not of small-2"):
        what_runs(place, new)
    assert place.left() == []
    # Control: without the comparison of the signed name and version.
    monkeypatch.setattr(shelf, "split_label", lambda _label: ("small", "1"))
    assert what_runs(place, new) == "with the hole\n"


def between_check_and_use(place: Place, files: ImageFiles, evil: Path, how: Callable[[], None]) -> str:
    """Do something at the moment when the digest is known and unpacking is about to begin."""
    real = unpack.unsquash

    def then(copy: Path, home: Path, label: str, seccomp: Path) -> Path:
        how()
        return real(copy, home, label, seccomp)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpack, "unsquash", then)
        return what_runs(place, files)


@pytest.mark.parametrize("way", ["another file", "the same file"])
def test_an_exchange_between_the_check_and_the_unpacking_changes_nothing(
    place: Place, evil: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The attacker renames another file to the image's name, or writes into the very file that was checked."""
    files = place.sealed()

    def exchange() -> None:
        if way == "another file":
            shutil.copy(evil, place.shelf / "new")
            (place.shelf / "new").rename(files.squashfs)
        else:
            files.squashfs.write_bytes(evil.read_bytes())

    assert between_check_and_use(place, files, evil, exchange) == "of the image\n"
    # Control: the file is checked where it lies and used from there, without a private copy.
    shutil.rmtree(place.unpacked)
    place.unpacked.mkdir()
    place.sealed()

    def in_place(files: ImageFiles, _manifest: object, to: Path) -> None:
        os.link(files.squashfs, to)
        shelf.verify(files, place.source.key.public)

    monkeypatch.setattr(unpack, "_copy", in_place)
    real = unpack.unsquash

    def from_there(copy: Path, home: Path, label: str, seccomp: Path) -> Path:
        exchange()
        return real(files.squashfs, home, label, seccomp)

    monkeypatch.setattr(unpack, "unsquash", from_there)
    assert what_runs(place, files) == "of the attacker\n"


@pytest.mark.parametrize("at", ["etc/fonts", "etc/ssl", "opt/notebook", "usr"])
def test_a_link_in_an_image_brings_no_folder_of_the_machine_into_a_wall(
    place: Place, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """A signed image has a link where walls take a folder from; bubblewrap would follow it on the machine."""
    secret = place.shelf.parent / "secret"
    secret.mkdir()
    (secret / "certs").write_text("of the machine\n")
    tree = place.shelf.parent / "linked"
    shutil.copytree(place.source.tree, tree, symlinks=True)
    moved = tree / at
    if moved.exists():
        moved.rename(tree / "moved")
    moved.symlink_to("/moved" if at == "usr" else secret)
    files = place.sealed(squashfs=pack(tree, place.shelf.parent / "linked.squashfs"))
    with pytest.raises(ImageRefused, match=r"other than a folder or a file stands at|is no root file system"):
        place.unpack(files)
    assert place.left() == []
    # The wall looks as well: the folder may have got there in another way.
    home = place.shelf.parent / "home"
    home.mkdir()
    where = {"etc/fonts": "/etc/fonts/certs", "etc/ssl": "/etc/ssl/certs", "opt/notebook": "/opt/notebook/certs"}
    wall = Wall(("/usr/bin/cat", where.get(at, "/nothing")), home, place.source.seccomp, root=tree)
    with pytest.raises(WallRefused, match=r"other than a folder or a file|no root file system"):
        start(wall)
    if at == "usr":
        return
    # Control: the same wall without the look shows what is the machine's.
    monkeypatch.setattr(run, "check_root", lambda _root: None)
    walled = start(wall)
    assert walled.wait(30) == 0 and walled.output == b"of the machine\n", walled.output


def test_an_image_that_holds_a_device_or_gives_rights_is_not_unpacked(place: Place) -> None:
    """A device of the whole disk, and a program with its owner's rights, in a signed image."""
    device = pack(place.source.tree, place.shelf.parent / "device.squashfs", ["disk b 666 root root 8 0"])
    with pytest.raises(ImageRefused, match=r"cannot be unpacked|a device"):
        place.unpack(place.sealed("3", device))
    tree = place.shelf.parent / "rights"
    shutil.copytree(place.source.tree, tree, symlinks=True)
    (tree / "usr/bin/cat").chmod(0o4755)
    with pytest.raises(ImageRefused, match=r"rights: /usr/bin/cat"):
        unpack._inspect(tree, shelf.verify(place.sealed("4"), place.source.key.public))
    # Control: the same tree without that program is taken.
    (tree / "usr/bin/cat").chmod(0o755)
    unpack._inspect(tree, shelf.verify(place.sealed("4"), place.source.key.public))
    assert place.left() == []


def test_a_fault_in_unsquashfs_reaches_nothing_outside_its_folder(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That a hostile image makes unsquashfs run the attacker's program is taken for granted. The wall holds it."""
    aim = place.shelf / "written"
    program = place.shelf / "program"
    program.write_text(f"#!/bin/sh\nmkdir tree\necho evil > {aim}\nexit 0\n")
    program.chmod(0o755)
    inside = Path("/srv/unsquashfs")
    real = unpack.Wall
    monkeypatch.setattr(
        unpack,
        "Wall",
        lambda **values: real(
            **{**values, "command": (str(inside),), "binds": (*values["binds"], walls.Bind(program, inside))}
        ),
    )
    home = place.shelf.parent / "home"
    home.mkdir()
    unpack.unsquash(place.source.squashfs, home, "small-1", place.source.seccomp)
    assert (home / "tree").is_dir(), "it did run"
    assert not aim.exists()
    # Control: the same program without the wall.
    subprocess.run([str(program)], cwd=place.shelf, check=True, timeout=10)
    assert aim.read_text() == "evil\n"
