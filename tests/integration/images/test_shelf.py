"""An image that was signed is known again, listed, and unpacked once; a changed one is refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Place
from small_image import MARK

from confinement.run import start
from confinement.wall import Bind, Wall
from images.errors import ImageRefused
from images.shelf import images_in, verify
from images.unpack import forget_others, unpack

pytestmark = pytest.mark.integration


def test_an_image_is_verified_listed_and_unpacked_once(place: Place) -> None:
    files = place.sealed()
    key = place.source.key.public
    manifest = verify(files, key)
    assert [(each.label, each.problem) for each in images_in(place.shelf, key)] == [("small-1", "")]
    root = place.unpack(files)
    assert root == place.unpacked / manifest.sha256
    assert (root / MARK).read_text() == "of the image\n"
    assert place.left() == [manifest.sha256], "nothing else is left"
    marked = (root / MARK).stat().st_ino
    assert place.unpack(files) == root and (root / MARK).stat().st_ino == marked, "not unpacked again"


@pytest.mark.parametrize("at", [0, 97, 4096, -1])
def test_one_changed_byte_is_refused(place: Place, at: int) -> None:
    files = place.sealed()
    content = bytearray(files.squashfs.read_bytes())
    content[at] ^= 1
    files.squashfs.write_bytes(content)
    with pytest.raises(ImageRefused, match="not the file that was signed: its SHA-256 is"):
        verify(files, place.source.key.public)
    with pytest.raises(ImageRefused, match="not the file that was signed"):
        place.unpack(files)
    assert place.left() == []


def test_a_part_of_a_copy_and_a_missing_file_are_told(place: Place) -> None:
    files = place.sealed()
    files.squashfs.write_bytes(files.squashfs.read_bytes()[:-1])
    with pytest.raises(ImageRefused, match=r"it has \d+ bytes, the signed one \d+"):
        place.unpack(files)
    files.squashfs.unlink()
    with pytest.raises(ImageRefused, match="cannot be read"):
        place.unpack(files)
    assert place.left() == []


def test_what_is_not_an_image_is_refused_as_such(place: Place) -> None:
    junk = place.shelf / "junk"
    junk.write_bytes(b"no squashfs" * 500)
    with pytest.raises(ImageRefused, match=r"cannot be unpacked: .*unsquashfs ended with"):
        place.unpack(place.sealed(squashfs=junk))
    assert place.left() == []


def test_images_that_nothing_runs_from_go_and_the_site_s_own_stays(place: Place) -> None:
    root = place.unpack(place.sealed())
    old = place.unpacked / ("0" * 64)
    (old / "usr").mkdir(parents=True)
    (old / "usr").chmod(0o500)
    forget_others(place.unpacked, [root])
    assert place.left() == [root.name]
    forget_others(place.unpacked, [])
    assert place.left() == []


def test_a_wall_runs_from_the_image_and_sees_nothing_of_the_machine_s_software(place: Place, tmp_path: Path) -> None:
    root = place.unpack(place.sealed())
    home = tmp_path / "home"
    home.mkdir()
    looks = (
        "import os, sys; text = lambda name: open(name).read().strip(); print(text('/usr/share/leerlab-image'),"
        " text('/etc/ssl/openssl.cnf'), os.path.exists('/usr/bin/bwrap'), os.path.exists('/usr/bin/apt'),"
        " os.path.realpath(sys.executable), sorted(os.listdir('/etc')), os.access('/usr', os.W_OK),"
        " os.path.exists('/opt/notebook/bin/python'))"
    )
    wall = Wall(("/opt/notebook/bin/python", "-I", "-c", looks), home, place.source.seccomp, root=root)
    walled = start(wall)
    assert walled.wait(60) == 0, walled.output
    said = walled.output.decode().strip()
    expected = "of the image # of the image False False /usr/bin/python3.11 "
    assert said.startswith(expected) and said.endswith("False True"), said
    # Of the machine's /etc only the time zone; the rest the wall writes itself.
    here = ["group", "hostname", "hosts", "nsswitch.conf", "passwd", "ssl"]
    assert any(str(names) in said for names in (here, sorted([*here, "localtime"]))), said

    # The same look without an image sees the machine's own.
    environment = Bind(root / "opt/notebook", Path("/opt/notebook"))
    walled = start(Wall(("/usr/bin/test", "-e", "/usr/bin/apt"), home, place.source.seccomp, binds=(environment,)))
    assert walled.wait(60) == 0


def test_the_space_is_looked_at_first(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    files = place.sealed()
    monkeypatch.setattr("images.unpack._ROOM", 1e12)
    with pytest.raises(ImageRefused, match=r"No space left.*Make \d+ MiB of room"):
        unpack(place.unpacked, files, place.source.key.public, place.source.seccomp)
    assert place.left() == []
