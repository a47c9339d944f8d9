"""Reads a description, such as of a course: YAML into a typed model, each problem with its file and line."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from base import yaml_source
from base.errors import InputError

Model = TypeVar("Model", bound=BaseModel)


def read_described(file: Path, model: type[Model]) -> Model:
    """The file's content as a model.

    Args:
        file: a YAML file of at most `yaml_source.LARGEST_FILE` bytes.
        model: what it may say.

    Raises:
        InputError: the file is missing or wrong; every problem is one line `file:line: message`.
    """
    document = yaml_source.read(file)
    problems = [
        f"{file}:{fault.line}: {fault.message}" + (f" (allowed: {fault.allowed})" if fault.allowed else "")
        for fault in document.faults
    ]
    if document.root is not None and not problems:
        try:
            return model.model_validate(document.root.plain())
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                where = ".".join(str(part) for part in detail["loc"])
                line = document.find(detail["loc"]).line
                said = detail["msg"].removeprefix("Value error, ")
                problems.append(f"{file}:{line}: {where + ': ' if where else ''}{said}")
    raise InputError("\n".join(problems), "It cannot be used.", "Mend the file.")
