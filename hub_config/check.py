"""Reads a site.yaml and reports everything that is wrong with it, each problem with its line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from base.errors import InputError
from hub_config.site import Site


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Args:
        file: the file, as the person named it.
        line: line in it, from 1.
        message: what is wrong.
        allowed: what would be right; empty where the message says so.
    """

    file: str
    line: int
    message: str
    allowed: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" + (f" (allowed: {self.allowed})" if self.allowed else "")


def check(path: Path) -> list[Problem]:
    """Everything that is wrong with a site.yaml; nothing when it can be started."""
    try:
        Site.model_validate(yaml.safe_load(path.read_text()))
    except ValidationError as error:
        return [Problem(str(path), 1, f"{'.'.join(map(str, e['loc']))}: {e['msg']}") for e in error.errors()]
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        return [Problem(str(path), 1, str(error))]
    return []


def load(path: Path) -> Site:
    """The site that a site.yaml describes.

    Raises:
        InputError: the file has problems.
    """
    if problems := check(path):
        raise InputError("\n".join(map(str, problems)), "Nothing was started or changed.", "Mend the file and try again.")
    return Site.model_validate(yaml.safe_load(path.read_text()))
