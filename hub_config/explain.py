"""Turns pydantic's errors about a site.yaml into sentences with a line, the nearest key and what is allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from base.yaml_source import Document, Fault, Place
from hub_config.expectations import expectation, kinds, resolved, under_any_name

_ALLOWED = re.compile(r"^(.*?) ?\(allowed: (.*)\)$", re.DOTALL)
_VERDICTS = {
    "string_type": "is not text",
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "float_type": "is not a number",
    "bool_type": "is neither true nor false",
    "tuple_type": "is not a list",
    "list_type": "is not a list",
    "model_type": "is not a group of keys",
    "model_attributes_type": "is not a group of keys",
    "dict_type": "is not a group of keys",
    "string_pattern_mismatch": "does not have the right form",
    "string_too_short": "is too short",
    "string_too_long": "is too long",
    "literal_error": "is not one of the choices",
    "enum": "is not one of the choices",
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
    "too_short": "has too few members",
    "too_long": "has too many members",
    "path_type": "is not a path",
}


def explain(error: ValidationError, document: Document, schema: Mapping[str, Any]) -> Iterator[Fault]:
    """Each error as one fault; what was refused as YAML already, or follows from another error, is left out.

    Args:
        error: what pydantic found in the document's plain value.
        document: where that value stands.
        schema: JSON Schema of the whole file.
    """
    details = error.errors(include_url=False)
    places = [document.find(detail["loc"]) for detail in details]
    told: set[tuple[object, ...]] = set()
    for detail, place in zip(details, places, strict=True):
        about_itself = detail["type"] not in ("missing", "extra_forbidden")
        if place.node.refused and about_itself:
            continue
        if detail["type"] == "value_error" and "with the same name" in detail["msg"]:
            continue  # `hub_config.rules.names_are_unique` says which, and on which line
        if detail["type"] == "too_short" and len(place.node.members or ()) >= detail["ctx"]["min_length"]:
            continue  # pydantic counts right members only, and complains about the others anyway
        key = place.path if about_itself else (*place.path, detail["type"], detail["loc"][-1])
        if key in told:
            continue  # a second member of a union complains about the same value
        told.add(key)
        yield _fault(detail, place, schema)


def at(path: Sequence[str | int], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema at a path of pydantic's, in which names of union members may stand; empty when unknown."""
    schema: Mapping[str, Any] = root
    for part in path:
        schema = resolved(schema, root)
        if "oneOf" in schema and part in schema["discriminator"]["mapping"]:
            schema = {"$ref": schema["discriminator"]["mapping"][part]}
        elif isinstance(part, int):
            schema = schema.get("items", {})
        elif part in schema.get("properties", {}):
            schema = schema["properties"][part]
        elif named := under_any_name(schema):
            schema = named
        elif "anyOf" not in schema:
            return {}
    return resolved(schema, root)


def shown(value: object) -> str:
    """A value in a message: on one line and not long."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "a group of keys"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def dotted(path: Sequence[object]) -> str:
    """Keys of a path as `profiles.memory`; the line says which member of a list it is."""
    return ".".join(str(part) for part in path if isinstance(part, str))


def _fault(detail: ErrorDetails, place: Place, schema: Mapping[str, Any]) -> Fault:
    kind, path = detail["type"], detail["loc"]
    name = dotted(place.path) or "the file"
    here = at(path, schema)
    if kind == "missing":
        return Fault(place.line, f"`{dotted((*place.path, path[-1]))}` is missing", expectation(here, schema))
    if kind == "extra_forbidden":
        return _unknown_key(place, path, schema)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _wrong_kind(detail, place, here)
    if kind == "value_error":
        text = detail["msg"].removeprefix("Value error, ")
        parts = _ALLOWED.match(text)
        message, allowed = (parts[1], parts[2]) if parts else (text, "")
        return Fault(place.line, f"`{name}`: {message}", allowed)
    allowed = expectation(here, schema)
    verdict = _VERDICTS.get(kind) or f"is not right: {detail['msg']}"
    return Fault(place.line, f"`{name}`: {shown(detail['input'])} {verdict}", allowed)


def _unknown_key(place: Place, path: Sequence[str | int], schema: Mapping[str, Any]) -> Fault:
    key = str(path[-1])
    known = list(at(path[:-1], schema).get("properties", {}))
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    hint = f"; did you mean `{near[0]}`?" if near else ""
    return Fault(place.line, f"the key `{dotted(place.path)}` is not known{hint}", ", ".join(known))


def _wrong_kind(detail: ErrorDetails, place: Place, here: Mapping[str, Any]) -> Fault:
    discriminator = here["discriminator"]["propertyName"]
    name = f"{dotted(place.path)}.{discriminator}"
    items = place.node.items or {}
    if discriminator not in items:
        return Fault(place.line, f"`{name}` is missing", kinds(here))
    return Fault(
        place.node.key_lines[discriminator],
        f"`{name}`: {shown(items[discriminator].plain())} is not one of the choices",
        kinds(here),
    )
