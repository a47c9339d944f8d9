"""The section `images:` of site.yaml: from which image labs and graded runs run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from base.settings import Section
from images.manifest import LABEL, ImageFiles
from images.signature import is_public_key


class ImageSettings(Section):
    """An image, built and signed beforehand, that labs, sandboxes and graded runs run from."""

    folder: str = Field(
        pattern=r"^/", max_length=200, description="Folder with the image's files, which this site's account can read."
    )
    key: str = Field(
        description="The minisign public key of who builds the images: the second line of the `.pub` file."
    )
    notebook: str = Field(
        pattern=LABEL, max_length=72, description="The notebook image, as `<name>-<version>`: notebook-2026.11.1."
    )

    others: tuple[Annotated[str, Field(pattern=LABEL, max_length=72)], ...] = Field(
        (), max_length=20, description="Further images, by the same key, that profiles may name."
    )

    @field_validator("key")
    @classmethod
    def _a_public_key(cls, value: str) -> str:
        if not is_public_key(value):
            raise ValueError("the key is no minisign public key (allowed: the second line of a .pub file)")
        return value

    @property
    def labels(self) -> tuple[str, ...]:
        """All images that profiles may name, the notebook image first."""
        return tuple(dict.fromkeys((self.notebook, *self.others)))

    @property
    def files(self) -> ImageFiles:
        """The notebook image's files."""
        return self.files_of(self.notebook)

    def files_of(self, label: str) -> ImageFiles:
        """The files of one of the images."""
        return ImageFiles(Path(self.folder), label)
