"""What nbgrader 0.9.6 does anew for each submission, done once for each process.

`nbgrader.api.Gradebook` makes an engine and looks for every table each time that it is opened, eleven times for each
submission that is graded, and each engine compiles all SQL anew. Each cell's metadata is validated against a schema
that is validated itself before (`jsonschema.validate`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache, lru_cache
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

import nbgrader.api
import nbgrader.nbgraderformat.common
from jsonschema.exceptions import best_match
from jsonschema.validators import validator_for
from nbgrader.api import Base
from sqlalchemy import Connection, Engine, create_engine

MOST_ENGINES = 16
"""Gradebooks that a process may use in turn; a course's server has one, and a check of a course a few."""
_create_all = Base.metadata.create_all
_made: WeakSet[Engine] = WeakSet()


def do_once() -> None:
    """Let all gradebooks of this process that are of one database share an engine, and all cells their schema."""
    nbgrader.api.create_engine = _engine
    Base.metadata.create_all = _create_missing
    nbgrader.nbgraderformat.common.jsonschema = SimpleNamespace(validate=_validate)


@lru_cache(maxsize=MOST_ENGINES)
def _engine(address: str, **options: Any) -> Engine:
    return create_engine(address, **options)


def _create_missing(bind: Engine | Connection) -> None:
    """Make the tables that are missing, the first time that a gradebook is opened."""
    if bind.engine in _made:
        return
    _create_all(bind=bind)
    if isinstance(bind, Engine):
        # In somebody's transaction they may yet be taken back.
        _made.add(bind)


def _validate(instance: Any, schema: Mapping[str, Any]) -> None:
    """As `jsonschema.validate`.

    Raises:
        jsonschema.ValidationError: the instance does not fit the schema.
    """
    error = best_match(_validator(json.dumps(schema)).iter_errors(instance))
    if error is not None:
        raise error


@cache
def _validator(text: str) -> Any:
    schema = json.loads(text)
    kind = validator_for(schema)
    kind.check_schema(schema)
    return kind(schema)
