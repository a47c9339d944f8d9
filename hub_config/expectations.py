"""Says in words what a JSON Schema allows, for complaints about site.yaml and for its reference page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter

from base.quantities import Duration, Size

_TIMEDELTA = TypeAdapter(timedelta)


def expectation(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """What a value may be, in words.

    Args:
        schema: JSON Schema of the value.
        root: JSON Schema of the whole file, which holds the definitions.
    """
    schema = resolved(schema, root)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(expectation(choice, root) for choice in schema["anyOf"]))
    if "oneOf" in schema:
        return f"a group of keys with {kinds(schema)}"
    if choices := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return ", ".join(map(str, choices))
    return _of_type(str(schema.get("type")), schema)


def _of_type(kind: str, schema: Mapping[str, Any]) -> str:
    match kind:
        case "integer" | "number":
            words = "a whole number" if kind == "integer" else "a number"
            return words + _bounds(schema.get("minimum"), schema.get("maximum"))
        case "string":
            return _text(schema)
        case "array":
            return "a list" + _bounds(schema.get("minItems"), schema.get("maxItems"), "members")
        case "object":
            return "a group of keys: " + ", ".join(schema.get("properties", {}))
        case _:
            return {"boolean": "true or false", "null": "null"}.get(kind, "another value")


def kinds(schema: Mapping[str, Any]) -> str:
    """The choices of a discriminated union, as `kind: embedded or existing`."""
    discriminator = schema["discriminator"]
    return f"{discriminator['propertyName']}: " + " or ".join(discriminator["mapping"])


def resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema that a `$ref` stands for, with the keys beside the reference laid over it.

    A section that may be left out is `anyOf` a section and nothing: it stands for the section.
    """
    while True:
        if "$ref" in schema:
            target = root["$defs"][str(schema["$ref"]).rpartition("/")[2]]
            schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
        elif section := _only_section(schema, root):
            schema = {**section, **{key: value for key, value in schema.items() if key != "anyOf"}}
        else:
            return schema


def _only_section(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The group of keys in a choice between it and nothing."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"]
    if len(choices) != 1 or len(schema["anyOf"]) != 2:
        return None
    section = resolved(choices[0], root)
    return section if section.get("type") == "object" or "discriminator" in section else None


def _bounds(low: object, high: object, unit: str = "") -> str:
    after = f" {unit}" if unit else ""
    if low is not None and high is not None:
        return f" {'of' if unit else 'from'} {low} to {high}{after}"
    if high is not None:
        return f" of at most {high}{after}"
    return f" of at least {low}{after}" if low is not None else ""


def _text(schema: Mapping[str, Any]) -> str:
    # pydantic leaves bounds on types of ours in the schema as they are: sizes as numbers, durations as ISO 8601.
    low, high = (_quantity(schema[sign]) if sign in schema else None for sign in ("ge", "le"))
    bounds = _bounds(low, high)
    if examples := schema.get("examples"):
        return "text such as " + " or ".join(map(str, examples)) + ("," + bounds if bounds else "")
    if pattern := schema.get("pattern"):
        return f"text of the form `{pattern}`"
    formats = {"ipv4": "an IPv4 address", "ipv6": "an IPv6 address", "path": "a path"}
    if form := schema.get("format"):
        return formats.get(form, f"text in the form of {form}")
    longest = schema.get("maxLength")
    return "text" + (f" of 1 to {longest} characters" if longest else "")


def _quantity(bound: int | str) -> str:
    if isinstance(bound, int):
        return str(Size(bound))
    return str(Duration(seconds=_TIMEDELTA.validate_python(bound).total_seconds()))


def under_any_name(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """What stands under each name of a group whose names are the site's own; empty for every other schema."""
    patterns = schema.get("patternProperties") or {}
    for member in patterns.values():
        return dict(member)
    return {}
