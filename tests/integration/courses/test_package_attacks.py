"""Packages from a stranger: each trick is refused, and each works where nobody looks (the control)."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from press import Office, office

from base.errors import InputError
from courses.packages import PackageRefused, pack

pytestmark = [pytest.mark.integration, pytest.mark.attack, pytest.mark.timeout(180)]
SECRET = "what another school's gradebook says"


@pytest.fixture(scope="module")
def one_desk() -> Iterator[Office]:
    with office() as made:
        yield made


@pytest.fixture
def desk(one_desk: Office) -> Iterator[Office]:
    """A desk on which nothing was published; the course is as it was at first."""
    shutil.rmtree(one_desk.course.folder)
    one_desk.course.write()
    yield one_desk
    assert one_desk.in_force() == {} and one_desk.left() == [], "something of an attack was kept"


def as_tar(desk: Office, file: Path, *, change: Callable[[tarfile.TarFile], None] = lambda _: None) -> Path:
    """The good course as a tar, with something added."""
    with tarfile.open(file, "w:gz") as tar:
        tar.add(desk.course.folder, arcname="klein")
        change(tar)
    return file


def entry(name: str, content: bytes = b"", **about: object) -> Callable[[tarfile.TarFile], None]:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        for key, value in about.items():
            setattr(info, key, value)
        tar.addfile(info, io.BytesIO(content))

    return add


def refused(desk: Office, package: Path, says: str) -> None:
    with pytest.raises(PackageRefused, match=says):
        desk.publish(package)


def naively(package: Path, into: Path) -> None:
    """Unpack as one does who trusts everybody."""
    into.mkdir(parents=True)
    with tarfile.open(package) as tar:
        tar.extractall(into)


@pytest.mark.slow
def test_control_the_same_course_without_a_trick_is_taken(tmp_path: Path) -> None:
    with office() as desk:
        assert desk.publish(as_tar(desk, tmp_path / "goed.tar.gz")).version == 1


@pytest.mark.parametrize("up", ["klein/../../../buiten.txt", "../../buiten.txt"])
def test_a_name_that_leads_out_of_the_folder(desk: Office, tmp_path: Path, up: str) -> None:
    package = as_tar(desk, tmp_path / "slip.tar.gz", change=entry(up, b"geschreven"))
    refused(desk, package, "would lie outside")
    naively(package, tmp_path / "a" / "b" / "c")
    assert list(tmp_path.rglob("buiten.txt")), "control: it writes outside where nobody looks"


def test_a_zip_with_an_absolute_name(desk: Office, tmp_path: Path) -> None:
    package, target = tmp_path / "abs.zip", tmp_path / "absoluut.txt"
    with zipfile.ZipFile(package, "w") as zipped:
        for path in desk.course.folder.rglob("*"):
            zipped.write(path, f"klein/{path.relative_to(desk.course.folder)}")
        zipped.writestr(str(target), "geschreven")
    refused(desk, package, "would lie outside")
    with zipfile.ZipFile(package) as zipped:  # Control: joined as a path, which is how it is meant.
        name = next(one for one in zipped.namelist() if one.startswith("/"))
        Path(tmp_path / "b", name).write_bytes(zipped.read(name))
    assert target.read_text() == "geschreven"


def test_a_link_in_the_folder_to_a_file_of_the_site(desk: Office, tmp_path: Path) -> None:
    secret = tmp_path / "cijfers.txt"
    secret.write_text(SECRET)
    (desk.course.folder / "source" / "rekenen" / "hulp.txt").symlink_to(secret)
    refused(desk, desk.course.folder, "is a link")
    shutil.copytree(desk.course.folder, tmp_path / "kopie")  # Control: a copy that follows links has it.
    assert (tmp_path / "kopie" / "source" / "rekenen" / "hulp.txt").read_text() == SECRET


def test_a_link_in_an_archive_through_which_the_next_entry_is_written(desk: Office, tmp_path: Path) -> None:
    outside = tmp_path / "buiten"
    outside.mkdir()

    def both(tar: tarfile.TarFile) -> None:
        entry("klein/source/uit", type=tarfile.SYMTYPE, linkname=str(outside))(tar)
        entry("klein/source/uit/raak.txt", b"geschreven")(tar)

    package = as_tar(desk, tmp_path / "link.tar.gz", change=both)
    refused(desk, package, "is a link")
    naively(package, tmp_path / "naief")
    assert (outside / "raak.txt").read_text() == "geschreven"


def test_a_second_name_of_a_file_of_the_site(desk: Office, tmp_path: Path) -> None:
    """A hard link is no link to look at: it is the file."""
    secret = desk.course.folder.parent / "cijfers.txt"
    secret.write_text(SECRET)
    os.link(secret, desk.course.folder / "source" / "rekenen" / "hulp.txt")
    refused(desk, desk.course.folder, "second name")
    shutil.copytree(desk.course.folder, tmp_path / "kopie", symlinks=True)
    assert (tmp_path / "kopie" / "source" / "rekenen" / "hulp.txt").read_text() == SECRET
    secret.unlink()


def test_a_pipe_that_never_says_anything(desk: Office) -> None:
    pipe = desk.course.folder / "source" / "rekenen" / "hulp.txt"
    os.mkfifo(pipe)
    refused(desk, desk.course.folder, "no plain file")
    with pytest.raises(subprocess.TimeoutExpired):  # Control: who opens it waits.
        subprocess.run(["/bin/cat", str(pipe)], timeout=1, check=False)


def test_a_small_archive_that_is_large_inside(desk: Office, tmp_path: Path) -> None:
    package = tmp_path / "bom.zip"
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as zipped:
        for path in desk.course.folder.rglob("*"):
            zipped.write(path, f"klein/{path.relative_to(desk.course.folder)}")
        with zipped.open("klein/source/rekenen/groot.bin", "w", force_zip64=True) as large:
            for _ in range(300):
                large.write(bytes(2**20))
    assert package.stat().st_size < 2**20
    refused(desk, package, "makes more than 256 MiB")
    with zipfile.ZipFile(package) as zipped, zipped.open("klein/source/rekenen/groot.bin") as opened:
        assert len(opened.read()) > 256 * 2**20, "control: that much for who unpacks it"


def test_two_names_that_are_one_on_another_machine(desk: Office, tmp_path: Path) -> None:
    """What is checked under the one name is used under the other."""
    package = as_tar(desk, tmp_path / "twee.tar.gz", change=entry("klein/source/REKENEN/rekenen.ipynb", b"{}"))
    refused(desk, package, "is there twice")
    with tarfile.open(package) as tar:
        names = [name.casefold() for name in tar.getnames()]
    assert len(names) != len(set(names)), "control: such a machine keeps the last of the two"


def test_a_course_yaml_that_runs_a_command(desk: Office, tmp_path: Path) -> None:
    mark = tmp_path / "gedraaid"
    text = f"!!python/object/apply:os.system ['touch {mark}']\n"
    file = desk.course.folder / "course.yaml"
    file.write_text(text + file.read_text())
    refused(desk, desk.course.folder, "is no course")
    assert not mark.exists()
    yaml.unsafe_load(text)
    assert mark.exists()


def test_a_course_yaml_that_grows_while_it_is_read(desk: Office) -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(7)
    )
    file = desk.course.folder / "course.yaml"
    file.write_text(bomb)
    refused(desk, desk.course.folder, "is no course")
    grown = yaml.safe_load(bomb)["h"]
    count = 1
    while isinstance(grown, list):
        count, grown = count * len(grown), grown[0]
    assert count == 10**8, "control: that many values for who looks at each"


def test_a_course_that_calls_itself_by_a_path(desk: Office, tmp_path: Path) -> None:
    desk.course.described("id: klein", "id: ../../secrets")
    refused(desk, desk.course.folder, "is no course")
    named = yaml.safe_load((desk.course.folder / "course.yaml").read_text())["id"]
    place = tmp_path / "a" / "published"
    (place / named).resolve().mkdir(parents=True)  # Control: joined as it stands it is another folder.
    assert (tmp_path / "secrets").is_dir() or (tmp_path.parent / "secrets").is_dir()


@pytest.mark.slow
def test_an_archive_that_was_changed_after_it_was_packed(desk: Office, tmp_path: Path) -> None:
    with office() as other:
        other.publish()
        pack(other.state.published / "klein" / "1" / "course", tmp_path / "goed.tar.gz", "klein")
    folder = tmp_path / "open"
    naively(tmp_path / "goed.tar.gz", folder)
    notebook = folder / "klein" / "source" / "rekenen" / "rekenen.ipynb"
    said = json.loads(notebook.read_text())
    said["cells"][0]["source"] = "Iets anders dan de maker schreef."
    notebook.write_text(json.dumps(said))
    changed = tmp_path / "anders.tar.gz"
    with tarfile.open(changed, "w:gz") as tar:
        tar.add(folder / "klein", arcname="klein")
    refused(desk, changed, "does not hold the files that it lists")
    with office() as other:  # Control: without its list, the same bytes are a course.
        (folder / "klein" / "package.json").unlink()
        assert other.publish(folder / "klein").version == 1


def test_another_program_s_file_cannot_be_published_as_a_course(desk: Office, tmp_path: Path) -> None:
    with pytest.raises((PackageRefused, InputError)):
        desk.publish(Path("/dev/zero"))
    text = tmp_path / "tekst.tar.gz"
    text.write_text("geen archief")
    refused(desk, text, "cannot be|damaged|is not taken")
