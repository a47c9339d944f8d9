"""Packages of courses: read from a folder or an archive that nobody vouches for, kept by version, packed for others.

Only what belongs to a course is read; links, special files, names that could mean another place and more than the
bounds are refused. An archive is unpacked behind a wall without network (`courses.unpack`), and what came out is read
like any folder. `State.published/<course>/<version>/` holds the course as it was read in `course/`, and its manifest.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import io
import json
import os
import secrets
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from base.errors import InputError, LeerlabError
from base.in_force import COURSE_FOLDER
from confinement import collect
from confinement.collect import Bounds, CollectRefused, Why
from confinement.run import start
from confinement.settings import ConfinementSettings
from confinement.wall import Bind, Wall
from courses import unpack
from courses.toolkit.watch import Allowance, TookTooMuch, wait
from grading.errors import GradingError
from grading.names import file_path
from grading.tree import FileEntry, describe, digest, remove, sync_folder, sync_folders

MEBIBYTE = 2**20
# What a whole course may hold, and an archive of one.
COURSE = Bounds(files=2000, total=256 * MEBIBYTE, depth=12)
# What a course is made of; everything else in its folder, such as `.git`, stays where it is.
FILES = ("course.yaml", "README.md", "README.en.md")
FOLDERS = ("source", "english", "teacher")
LIST = "package.json"
MANIFEST = "manifest.json"
_STAGING = ".staging-"
_WITHDRAWN = ("__pycache__", ".ipynb_checkpoints")
_LARGEST_LIST = 2 * MEBIBYTE
_UNPACK_SECONDS = 120.0
_MEMORY = 512 * MEBIBYTE
_PACKAGE, _PROGRAM, _INTO = Path("/srv/package"), Path("/opt/unpack.py"), "unpacked"

_SAID = {
    Why.LINK: "is a link", Why.HARD_LINK: "has a second name elsewhere", Why.NOT_A_FILE: "is no plain file",
    Why.OWNER: "belongs to another account", Why.NAME: "has a name that cannot be shown",
    Why.TOO_MANY: f"makes more than {COURSE.files} files", Why.TOO_DEEP: f"lies more than {COURSE.depth} folders deep",
    Why.TOO_LARGE: f"makes more than {COURSE.total // MEBIBYTE} MiB",
    Why.FILE_TOO_LARGE: f"makes more than {COURSE.total // MEBIBYTE} MiB",
    Why.UNREADABLE: "cannot be read", Why.MISSING: "is not there any more",
}  # fmt: skip
_UNPACKED = {
    "link": "is a link", "special": "is no plain file", "leaves-folder": "would lie outside its folder",
    "name": "has a name that cannot be used", "double": "is there twice, at least on some machines",
    "encrypted": "is encrypted", "type": "is compressed in an unusual way", "too-many": "is one file too many",
    "bomb": f"makes more than {COURSE.total // MEBIBYTE} MiB", "broken": "is where it is damaged",
}  # fmt: skip


class PackageRefused(InputError):
    """A folder or archive that is not taken for a course; nothing of it was kept."""

    def __init__(self, what: str, do: str = "Mend the course, and publish it again.") -> None:
        super().__init__(what, "Nothing was published.", do)


class Manifest(BaseModel):
    """What one version of a course is.

    Args:
        course: its id.
        version: counts up from 1.
        made: when it was published, in UTC.
        sha256: digest of all files (`grading.tree.digest`).
        checked: whether it passed `leerlab course check` when it was published.
        files: every file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    course: str
    version: int = Field(ge=1)
    made: datetime
    sha256: str
    checked: bool
    files: tuple[FileEntry, ...]


@dataclass(frozen=True)
class Staged:
    """A course that was read in and is not published yet.

    Args:
        folder: of this publishing alone; the course lies in `course/`.
    """

    folder: Path

    @property
    def course(self) -> Path:
        """The course's files."""
        return self.folder / COURSE_FOLDER


class Packages:
    """All versions of all published courses.

    Args:
        folder: `State.published`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def staging(self) -> Iterator[Staged]:
        """A place to read a course in; gone afterwards, unless it was kept.

        Raises:
            LeerlabError: it cannot be written.
        """
        folder = self._folder / f"{_STAGING}{secrets.token_hex(8)}"
        with written(folder):
            folder.mkdir(mode=0o700)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # The kernel gives it back however this process ends: `clear_abandoned` then knows that nobody is here.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield Staged(folder)
        finally:
            remove(folder)
            os.close(descriptor)

    def clear_abandoned(self) -> None:
        """Remove what a publishing that was broken off has left."""
        for folder in self._folder.glob(f"{_STAGING}*"):
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove(folder)
                except BlockingIOError:
                    pass
                finally:
                    os.close(descriptor)

    def keep(self, staged: Staged, course: str, *, checked: bool) -> Manifest:
        """Keep what was read in as the course's next version: complete and on disk, or not at all.

        The caller holds the site's lock. The same files as in the newest version are that version.

        Raises:
            LeerlabError: it cannot be written.
        """
        entries = describe(staged.course)
        known = self.versions(course)
        newest = self.manifest(course, known[-1]) if known else None
        if newest is not None and newest.sha256 == digest(entries) and newest.checked >= checked:
            return newest
        made = Manifest(
            course=course, version=(known[-1] if known else 0) + 1, made=datetime.now(UTC), sha256=digest(entries),
            checked=checked, files=tuple(entries),
        )  # fmt: skip
        with written(self._folder):
            place = staged.folder / "version"
            place.mkdir(mode=0o700)
            staged.course.rename(place / COURSE_FOLDER)
            (place / MANIFEST).write_text(made.model_dump_json(indent=1), encoding="utf-8")
            _sync_files(place)
            (self._folder / course).mkdir(mode=0o700, exist_ok=True)
            place.rename(self._folder / course / str(made.version))
            sync_folder(self._folder / course)
            sync_folder(self._folder)
        return made

    def versions(self, course: str) -> list[int]:
        """The numbers of all versions, oldest first."""
        try:
            names = [entry.name for entry in os.scandir(self._folder / course) if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())

    def manifest(self, course: str, version: int) -> Manifest:
        """What a version is.

        Raises:
            LeerlabError: there is no such version, or its manifest was damaged.
        """
        file = self._folder / course / str(version) / MANIFEST
        try:
            return Manifest.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            known = ", ".join(map(str, self.versions(course))) or "none"
            raise InputError(
                f"There is no version {version} of {course}.", f"There are: {known}.", "Name one of these."
            ) from None
        except (OSError, ValidationError) as error:
            raise LeerlabError(
                f"{file} cannot be read.", "That version cannot be used.", "Publish it again."
            ) from error

    def verify(self, course: str, version: int) -> Manifest:
        """What a version is, once every file of it is known to be as it was published.

        Raises:
            LeerlabError: there is no such version, or a file was changed.
        """
        manifest = self.manifest(course, version)
        folder = self._folder / course / str(version) / COURSE_FOLDER
        if digest(describe(folder)) != manifest.sha256:
            raise LeerlabError(
                f"Files of version {version} of {course} are not as they were published.",
                "Somebody or something changed them on the disk.",
                "Publish the course again from its own folder.",
            )
        return manifest


def read_course(source: Path, staged: Staged, *, confinement: ConfinementSettings, seccomp: Path) -> list[str]:
    """Read a course from a folder or an archive.

    Args:
        source: a folder, or a file: tar, tar.gz or zip.
        staged: where to.
        confinement: of the site's walls.
        seccomp: the compiled system call filter.

    Returns:
        What lies in the folder and is no part of a course.

    Raises:
        PackageRefused: it holds what no course holds, or was changed since it was packed.
        LeerlabError: the disk is full, or a wall cannot be built.
    """
    if source.is_dir():
        return _take(source, staged.course)
    outside = staged.folder / "outside"
    with written(staged.folder):
        outside.mkdir(mode=0o700)
        package = staged.folder / "package"
        _copy(source, package)
    _unpack(package, outside, confinement=confinement, seccomp=seccomp)
    left_out = _take(_top(outside / _INTO), staged.course)
    _compare(_top(outside / _INTO), staged.course)
    remove(outside)
    package.unlink()
    return [name for name in left_out if name != LIST]


def pack(folder: Path, file: Path, course: str) -> str:
    """Write a course as one archive; the same files give the same bytes.

    Args:
        folder: of the course, as `read_course` leaves it.
        file: the archive to make, tar with gzip.
        course: its id, the archive's one top folder.

    Returns:
        The digest of all files, as in the manifest.

    Raises:
        LeerlabError: it cannot be written.
    """
    entries = describe(folder)
    listed = json.dumps({"course": course, "files": [entry.model_dump() for entry in entries]}, indent=1).encode()
    fresh = file.with_name(f".{file.name}.fresh")
    with written(file):
        try:
            with (
                fresh.open("wb") as raw,
                gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as zipped,
                tarfile.open(fileobj=zipped, mode="w|", format=tarfile.PAX_FORMAT) as tar,
            ):
                _add(tar, f"{course}/{LIST}", len(listed), io.BytesIO(listed))
                for entry in entries:
                    with (folder / entry.path).open("rb") as content:
                        _add(tar, f"{course}/{entry.path}", entry.size, content)
            fresh.replace(file)
        finally:
            fresh.unlink(missing_ok=True)
    return digest(entries)


@contextlib.contextmanager
def written(place: Path) -> Iterator[None]:
    """Say in words that something could not be written.

    Raises:
        LeerlabError: the disk is full, or this account may not write there.
    """
    try:
        yield
    except OSError as error:
        raise LeerlabError(
            f"{place} cannot be written: {error.strerror}.",
            "Nothing was published; what was in force stays.",
            "Make room on the disk, or mend the folder's permissions, and try again.",
        ) from error


def _add(tar: tarfile.TarFile, name: str, size: int, content: io.BufferedIOBase) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    tar.addfile(member, content)


def _copy(source: Path, target: Path) -> None:
    """The archive as it is now, for nobody else to change; bounded, and never a device or a pipe."""
    descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened, target.open("xb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise PackageRefused(f"{source} is neither a folder nor a file.", "Name a course's folder or an archive.")
        room = COURSE.total
        while piece := opened.read(MEBIBYTE):
            room -= len(piece)
            if room < 0:
                raise PackageRefused(f"{source} is larger than {COURSE.total // MEBIBYTE} MiB.")
            file.write(piece)


def _unpack(package: Path, outside: Path, *, confinement: ConfinementSettings, seccomp: Path) -> None:
    (outside / _INTO).mkdir(mode=0o700)
    limits = json.dumps({"total": COURSE.total, "files": COURSE.files})
    wall = Wall(
        command=("/usr/bin/python3", "-I", "-S", str(_PROGRAM), str(_PACKAGE), _INTO, limits),
        home=outside,
        seccomp=seccomp,
        binds=(Bind(package, _PACKAGE), Bind(Path(unpack.__file__), _PROGRAM)),
        **confinement.sizes(),
    )
    with start(wall) as walled:
        try:
            code = wait(walled, outside, Allowance(_UNPACK_SECONDS, _MEMORY, 2 * COURSE.total), lambda: None)
        except TookTooMuch as error:
            raise PackageRefused(f"Unpacking took too much {error}.") from error
        said = walled.output
    try:
        answer = json.loads(said) if code == 0 else {"refused": "broken", "name": ""}
        refused, name = str(answer["refused"]), str(answer["name"])
    except (ValueError, KeyError, TypeError):
        refused, name = "broken", ""
    if refused:
        what = f"{name} in it " if name.strip("'") else "it "
        raise PackageRefused(f"The archive is not taken: {what}{_UNPACKED.get(refused, 'cannot be read')}.")


def _top(folder: Path) -> Path:
    """Where course.yaml lies: here, or in the one folder there is."""
    inside = [entry for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    return Path(inside[0].path) if len(inside) == 1 and not (folder / FILES[0]).exists() else folder


def _take(source: Path, target: Path) -> list[str]:
    """Copy what belongs to a course, and nothing else."""
    names = unpack.Names()
    count, room = 0, COURSE.total
    with written(target), _opened(source) as opened:
        target.mkdir(mode=0o700)
        for part in (*FILES, *FOLDERS):
            try:
                for path, content in _content(opened, part, room):
                    if any(each in _WITHDRAWN for each in path.split("/")):
                        continue
                    count, room = count + 1, room - len(content)
                    if count > COURSE.files or room < 0:
                        raise CollectRefused(Why.TOO_MANY if room >= 0 else Why.TOO_LARGE, path)
                    names.add(file_path(path), folder=False)
                    _put(target / path, content)
            except CollectRefused as error:
                if error.why is Why.MISSING and error.name == part:
                    continue
                raise PackageRefused(f"{ascii(error.name)[:200]} {_SAID[error.why]}.") from error
            except unpack.Refused as error:
                raise PackageRefused(f"{ascii(error.name)[:200]} {_UNPACKED[error.why]}.") from error
            except GradingError as error:
                raise PackageRefused(error.what) from error
        return sorted(
            entry.name for entry in os.scandir(opened) if entry.name not in (*FILES, *FOLDERS)
        )  # fmt: skip


def _content(opened: int, part: str, room: int) -> Iterator[tuple[str, bytes]]:
    if part in FILES:
        yield part, collect.read_file(opened, part, room)
        return
    with collect.open_folder(opened, part) as folder:
        try:
            for each in collect.walk(folder, Bounds(COURSE.files, room, COURSE.depth)):
                yield f"{part}/{each.name}", each.content
        except CollectRefused as error:
            raise CollectRefused(error.why, f"{part}/{error.name}") from error


def _compare(source: Path, course: Path) -> None:
    """A package that lists its files holds these and no others."""
    try:
        with _opened(source) as opened:
            listed = json.loads(collect.read_file(opened, LIST, _LARGEST_LIST))
        entries = [FileEntry.model_validate(entry) for entry in listed["files"]]
    except CollectRefused as error:
        if error.why is Why.MISSING:
            return
        raise PackageRefused(f"{LIST} in the archive {_SAID[error.why]}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise PackageRefused(f"{LIST} in the archive makes no sense.", "Pack the course again.") from error
    if digest(entries) != digest(describe(course)):
        raise PackageRefused("The archive does not hold the files that it lists.", "Get it again from who made it.")


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(content)


def _sync_files(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    sync_folders(folder)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
