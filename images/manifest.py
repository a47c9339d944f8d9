"""What an image is: the signed manifest, and the files of one image in a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from images.errors import ImageRefused

NAME = r"[a-z][a-z0-9]*(?:-[a-z][a-z0-9]*)*"
VERSION = r"[0-9][0-9A-Za-z.+~]{0,30}"
LABEL = rf"^{NAME}-{VERSION}$"
_LABEL = re.compile(rf"(?P<name>{NAME})-(?P<version>{VERSION})")

Name = Annotated[str, Field(pattern=rf"^{NAME}$", max_length=40)]
Version = Annotated[str, Field(pattern=rf"^{VERSION}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1, max_length=200)]
# No manifest that a build writes is near this: 1,000 packages take 200 KiB.
LARGEST_MANIFEST = 4 * 2**20


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DebianPackage(_Strict):
    """One Debian package, exactly.

    Args:
        name: its name.
        version: its version, as dpkg writes it.
        architecture: `amd64`, `all` and so on.
        sha256: digest of the .deb file.
    """

    name: Text
    version: Text
    architecture: Text
    sha256: Digest

    @property
    def file(self) -> str:
        """The name that apt gives the file."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


class Wheel(_Strict):
    """One Python wheel, exactly."""

    file: Text
    sha256: Digest


class Manifest(_Strict):
    """All that decides an image, and its digest. It holds no time and no machine of the build, so that it is the same
    for two builds of the same lock.

    Args:
        name: what kind of image it is; part of what is signed, as is `version`.
        version: which one of that kind.
        sha256: digest of the squashfs file.
        size: its length in bytes.
        unpacked: bytes of all its files.
        epoch: the time that files get which have none of their own, in seconds since 1970.
        locks: digest of each lock by its file's name.
        debian: the packages inside.
        python: the wheels inside.
        tools: version of each program that made the image.
        beside: digest of each further file of the image, by the end of its name.
    """

    format: Literal[1] = 1
    name: Name
    version: Version
    architecture: Text
    suite: Text
    sha256: Digest
    size: int = Field(ge=1)
    unpacked: int = Field(ge=0)
    epoch: int = Field(ge=0)
    locks: dict[Text, Digest]
    debian: tuple[DebianPackage, ...]
    python: tuple[Wheel, ...]
    tools: dict[Text, Text]
    beside: dict[Text, Digest]

    @property
    def label(self) -> str:
        return f"{self.name}-{self.version}"

    def to_json(self) -> str:
        """The manifest's file."""
        return self.model_dump_json(indent=1) + "\n"

    @classmethod
    def from_json(cls, text: bytes, where: Path) -> Manifest:
        """Read a manifest strictly.

        Args:
            text: its bytes, whose signature has been checked.
            where: its file, for the message.

        Raises:
            ImageRefused: that is no manifest.
        """
        try:
            # JSON has no tuples: only there, lists are taken for them.
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise ImageRefused(
                f"{where} is no manifest of an image that this Leerlab knows: {place}: {first['msg']}.",
                "Nothing of the image was used.",
                "Build the image with this version of Leerlab.",
            ) from error


def split_label(label: str) -> tuple[str, str]:
    """Name and version of `<name>-<version>`.

    Raises:
        ImageRefused: it has another form.
    """
    match = _LABEL.fullmatch(label)
    if match is None:
        raise ImageRefused(
            f"{label!r} is no image's name.",
            "It must be <name>-<version>, the version beginning with a digit, such as notebook-2026.11.1.",
        )
    return match["name"], match["version"]


@dataclass(frozen=True)
class ImageFiles:
    """The files of one image.

    Args:
        folder: where they lie.
        label: `<name>-<version>`.
    """

    folder: Path
    label: str

    def _file(self, end: str) -> Path:
        return self.folder / f"{self.label}{end}"

    @property
    def squashfs(self) -> Path:
        return self._file(".squashfs")

    @property
    def manifest(self) -> Path:
        return self._file(".json")

    @property
    def signature(self) -> Path:
        return self._file(".json.minisig")

    def beside(self, end: str) -> Path:
        """A further file, whose digest the manifest has under that end of its name."""
        return self._file(end)

    @property
    def all(self) -> tuple[Path, ...]:
        """All that a complete image has."""
        return (self.squashfs, self.manifest, self.signature, *map(self._file, BESIDE))


SBOM, LICENCES, DEFINITION = ".cdx.json", ".licences.json", ".def"
BESIDE = (SBOM, LICENCES, DEFINITION)
