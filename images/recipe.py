"""What an image is made of: a recipe in `images/recipes/`, and the locks that it names."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from images.errors import BuildFailed
from images.manifest import DebianPackage, Name

RECIPES = Path(__file__).resolve().parent / "recipes"
LOCKS = Path(__file__).resolve().parent / "locks"
_FILE = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,60}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Recipe(_Strict):
    """One recipe.

    Args:
        name: of the image.
        suite: Debian's.
        debian: file of the lock of Debian packages.
        python: files of the locks of Python packages, installed in this order; none makes no Python environment.
        packages: Debian packages beside the essential ones.
    """

    name: Name
    suite: Annotated[str, Field(pattern=r"^[a-z]+$")]
    debian: _FILE
    python: tuple[_FILE, ...]
    packages: tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9+.-]+$")], ...]


class DebianLock(_Strict):
    """Exactly which Debian packages an image has.

    Args:
        suite: Debian's.
        architecture: of the machine.
        epoch: when the lock was made, in seconds since 1970: the time of files that have none of their own.
        asked: the packages that the recipe asked for when the lock was made.
        packages: all of them, by name.
    """

    suite: str
    architecture: str
    epoch: Annotated[int, Field(ge=0)]
    asked: tuple[str, ...]
    packages: tuple[DebianPackage, ...]

    def to_json(self) -> str:
        """The lock's file: a package a line, so that a change reads well."""
        lines = [package.model_dump_json() for package in self.packages]
        head = self.model_dump_json(exclude={"packages"})
        return head.removesuffix("}") + ',"packages":[\n' + ",\n".join(lines) + "\n]}\n"


@dataclass(frozen=True)
class Ingredients:
    """A recipe with the folder that its locks lie in."""

    recipe: Recipe
    locks: Path

    @property
    def debian_file(self) -> Path:
        return self.locks / self.recipe.debian

    @property
    def python_files(self) -> tuple[Path, ...]:
        return tuple(self.locks / name for name in self.recipe.python)

    def debian(self) -> DebianLock:
        """The lock of Debian packages.

        Raises:
            BuildFailed: it is missing, broken, or made for another recipe.
        """
        renew = f"Make it anew: leerlab image lock {self.recipe.name}."
        try:
            lock = DebianLock.model_validate_json(self.debian_file.read_bytes())
        except (OSError, ValidationError) as error:
            raise BuildFailed(
                f"The lock {self.debian_file} cannot be read: {error}", "Nothing was built.", renew
            ) from error
        if lock.suite != self.recipe.suite or set(lock.asked) != set(self.recipe.packages):
            raise BuildFailed(f"The lock {self.debian_file} was made for another recipe.", "Nothing was built.", renew)
        return lock


def read_recipe(file: Path, locks: Path | None = None) -> Ingredients:
    """Read a recipe.

    Args:
        file: the recipe, TOML.
        locks: folder of its locks; without it Leerlab's own.

    Raises:
        BuildFailed: it cannot be read, or is no recipe.
    """
    try:
        recipe = Recipe.model_validate(tomllib.loads(file.read_text(encoding="utf-8")), strict=False)
    except (OSError, ValueError) as error:
        raise BuildFailed(f"The recipe {file} cannot be read: {error}", "Nothing was built.") from error
    return Ingredients(recipe, locks or LOCKS)
