"""Reads the starter kits, and puts one into a sandbox's files without touching what is there.

Members of the sandbox may write in its folder at the same moment. So a kit is written through descriptors of folders
that were made here, follows no link, replaces nothing, and appears under its name only when it is complete.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from base.described import read_described
from base.errors import InputError, LeerlabError
from base.settings import BothLanguages, Section

STARTERS = Path(__file__).parent
DESCRIPTION = "starter.yaml"
LANGUAGES = ("nl", "en")
MOST_COPIES = 99
_FOLDER_MODE, _FILE_MODE = 0o700, 0o600
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,40}$")]
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
FilePath = Annotated[str, StringConstraints(pattern=rf"^{_PART}(/{_PART}){{0,4}}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Folders(Section):
    """What the kit's folder is called in a sandbox."""

    nl: Name = Field(description="In Dutch.")
    en: Name = Field(description="In English.")


class Notebooks(Section):
    """The notebook to open first."""

    nl: FilePath = Field(description="In Dutch.")
    en: FilePath = Field(description="In English.")


class KitFile(Section):
    """One file of a kit."""

    path: FilePath = Field(description="Below the kit; what lies in `nl/` or `en/` is for that language alone.")
    sha256: Sha256 | None = Field(None, description="Digest that the file must have; for data.")

    @property
    def language(self) -> str | None:
        """The language that the file is for; None: both."""
        first, _, rest = self.path.partition("/")
        return first if rest and first in LANGUAGES else None

    @property
    def target(self) -> PurePosixPath:
        """Where the file comes, below the kit's folder in a sandbox."""
        path = PurePosixPath(self.path)
        return path.relative_to(self.language) if self.language else path


class StarterDescription(Section):
    """What `starter.yaml` says."""

    id: Name = Field(description="Names the kit; also its folder.")
    title: BothLanguages
    summary: BothLanguages
    sector: BothLanguages
    minutes: int = Field(ge=1, le=600, description="Minutes from the first cell to the last.")
    folder: Folders
    first: Notebooks
    files: tuple[KitFile, ...] = Field(min_length=1, max_length=200)

    @model_validator(mode="after")
    def _fits(self) -> StarterDescription:
        for language in LANGUAGES:
            targets = [str(file.target) for file in self.files_in(language)]
            if len(targets) != len(set(targets)):
                raise ValueError(f"two files of the kit get the same place in {language}")
            if getattr(self.first, language) not in targets:
                raise ValueError(f"the first notebook in {language} is not among the files")
        return self

    def files_in(self, language: str) -> tuple[KitFile, ...]:
        """The files that a sandbox in this language gets."""
        return tuple(file for file in self.files if file.language in (None, language))


@dataclass(frozen=True)
class Starter:
    """One starter kit.

    Args:
        folder: where it lies in this installation.
        description: what its starter.yaml says.
    """

    folder: Path
    description: StarterDescription

    @property
    def id(self) -> str:
        return self.description.id

    @property
    def minutes(self) -> int:
        return self.description.minutes

    def title(self, language: str) -> str:
        """The kit's title in `nl` or `en`."""
        return _in(self.description.title, language)

    def summary(self, language: str) -> str:
        """What one can do with it, in `nl` or `en`."""
        return _in(self.description.summary, language)

    def sector(self, language: str) -> str:
        """For whom it is, in `nl` or `en`."""
        return _in(self.description.sector, language)

    def first(self, language: str) -> str:
        """The notebook to open first, below the installed folder."""
        return _in(self.description.first, language)

    @cached_property
    def files(self) -> tuple[KitFile, ...]:
        return self.description.files

    @classmethod
    def load(cls, folder: Path) -> Starter:
        """Read one kit.

        Raises:
            InputError: starter.yaml is missing or wrong, or a file that it names is missing.
        """
        file = folder / DESCRIPTION
        starter = cls(folder, read_described(file, StarterDescription))
        if starter.id != folder.name:
            raise InputError(f"{file} describes {starter.id}, but lies in {folder.name}.", do="Rename one of the two.")
        for kit_file in starter.files:
            if not (folder / kit_file.path).is_file():
                raise InputError(f"{file} names {kit_file.path}, which is missing.", do="Add it, or the right name.")
        return starter


def starters(folder: Path = STARTERS) -> list[Starter]:
    """Every kit of this installation, in order of their ids.

    Args:
        folder: where the kits lie.

    Raises:
        InputError: a kit is wrong.
    """
    return [Starter.load(file.parent) for file in sorted(folder.glob(f"*/{DESCRIPTION}"))]


def install(starter: Starter, folder: Path, language: str) -> Path:
    """Put a kit into a sandbox's files.

    Args:
        starter: the kit.
        folder: the sandbox's `files/`; exists.
        language: `nl` or `en`.

    Returns:
        The new folder: its name, with a number behind it where that name was taken.

    Raises:
        KeyError: the language is not one of ours.
        LeerlabError: the folder cannot be written, the kit is damaged, or there are `MOST_COPIES` copies already.
    """
    if language not in LANGUAGES:
        raise KeyError(language)
    contents = [(file.target, _content(starter, file)) for file in starter.description.files_in(language)]
    try:
        with _opened(folder) as files, _fresh(files) as (fresh, made):
            for target, content in contents:
                _write(made, target, content)
            return folder / _publish(files, fresh, _in(starter.description.folder, language))
    except OSError as error:
        raise LeerlabError(
            f"The starter kit {starter.id} cannot be put into {folder}: {error.strerror}.",
            "The sandbox has no starter kit, or an older copy of it.",
            "See that there is room on the disk, and try again.",
        ) from error


def _in(both: BothLanguages | Folders | Notebooks, language: str) -> str:
    return both.nl if language == "nl" else both.en


def _content(starter: Starter, file: KitFile) -> bytes:
    content = (starter.folder / file.path).read_bytes()
    if file.sha256 is not None and hashlib.sha256(content).hexdigest() != file.sha256:
        raise LeerlabError(
            f"{file.path} of the starter kit {starter.id} is not the file that starter.yaml describes.",
            "The installation is damaged or was changed.",
            "Install Leerlab again.",
        )
    return content


@contextmanager
def _opened(path: Path | str, below: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, _OPEN_FOLDER, dir_fd=below)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _fresh(files: int) -> Iterator[tuple[str, int]]:
    """A new folder with a name that nobody knows; gone afterwards unless it was given another name."""
    name = f".starter-{secrets.token_hex(8)}"
    os.mkdir(name, _FOLDER_MODE, dir_fd=files)
    try:
        with _opened(name, files) as made:
            os.fchmod(made, _FOLDER_MODE)
            yield name, made
    finally:
        shutil.rmtree(name, ignore_errors=True, dir_fd=files)


def _write(made: int, target: PurePosixPath, content: bytes) -> None:
    if len(target.parts) > 1:
        with suppress(FileExistsError):
            os.mkdir(target.parts[0], _FOLDER_MODE, dir_fd=made)
        with _opened(target.parts[0], made) as below:
            os.fchmod(below, _FOLDER_MODE)
            _write(below, PurePosixPath(*target.parts[1:]), content)
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(target.name, flags, _FILE_MODE, dir_fd=made), "wb") as file:
        os.fchmod(file.fileno(), _FILE_MODE)
        file.write(content)


def _publish(files: int, fresh: str, wanted: str) -> str:
    """Give the complete folder the first name that is free.

    The name is taken with an empty folder of our own, which rename(2) replaces in one step; it replaces nothing else.
    """
    for number in range(1, MOST_COPIES + 1):
        name = wanted if number == 1 else f"{wanted}-{number}"
        try:
            os.mkdir(name, _FOLDER_MODE, dir_fd=files)
        except FileExistsError:
            continue
        try:
            os.rename(fresh, name, src_dir_fd=files, dst_dir_fd=files)
        except OSError:
            # Somebody put something into it meanwhile: theirs now.
            with suppress(OSError):
                os.rmdir(name, dir_fd=files)
            continue
        return name
    raise LeerlabError(
        f"There are {MOST_COPIES} folders called {wanted} already.",
        "No further copy of the starter kit was made.",
        "Delete or rename some of them.",
    )
