"""The JSON Schema of site.yaml, and the reference page made from it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from hub_config.expectations import expectation, kinds, resolved, under_any_name
from hub_config.site import Site

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_INTRODUCTION = """\
# Reference: site.yaml

<!-- Written by `leerlab docs` from the settings of each folder; changes here are lost. -->

One file describes a site; everything else is derived from it. `leerlab check SITE.yaml` reports every problem in it
with its line. `leerlab schema` prints the same as a JSON Schema, for editors. A whole example: `hub_config/demo.yaml`.

The file is UTF-8, at most 1 MiB, one YAML document without anchors, tags and tabs. Words such as `no` and `on` need
quotes where text is meant. A key that is not listed here is an error. Sizes are a whole number and K, M, G or T (powers
of 1024), durations are such as `90s`, `30m`, `4h` or `1d12h`.
"""


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of site.yaml; rules between sections are in `hub_config.rules` only."""
    return {"$schema": DIALECT, **Site.model_json_schema(), "title": "site.yaml"}


def reference_markdown() -> str:
    """The reference page of site.yaml: one table a group of keys."""
    root = json_schema()
    lines = [_INTRODUCTION, "## Sections", "", *_table(root, root)]
    for name, section in root["properties"].items():
        lines += [f"\n## {name}\n", resolved(section, root).get("description", ""), *_group(name, section, root)]
    return "\n".join(lines) + "\n"


def _group(name: str, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[str]:
    """The tables of one group of keys and of the groups below it."""
    schema = resolved(schema, root)
    if "oneOf" in schema:
        discriminator = schema["discriminator"]
        for kind, reference in discriminator["mapping"].items():
            yield f"\n### {name} with `{discriminator['propertyName']}: {kind}`"
            yield from _group(name, {"$ref": reference}, root)
        return
    if schema.get("type") == "array":
        member = resolved(schema["items"], root)
        if member.get("type") == "object" or "oneOf" in member:
            yield f"\nA list; each member of `{name}` has these keys."
            yield from _group(name, schema["items"], root)
        return
    if member_of := under_any_name(schema):
        yield f"\nNames of your own; what stands under each name of `{name}` has these keys."
        yield from _group(name, member_of, root)
        return
    if "properties" not in schema:
        return
    yield ""
    if description := root["$defs"].get(schema.get("title", ""), {}).get("description"):
        yield f"{description}\n"
    yield from _table(schema, root)
    for key, value in schema["properties"].items():
        if _holds_keys(value, root):
            yield f"\n#### {name}.{key}"
            yield from _group(f"{name}.{key}", value, root)


def _table(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[str]:
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    for key, value in schema["properties"].items():
        meaning = resolved(value, root).get("description", "").replace("<", "&lt;")
        row = (f"`{key}`", _type(value, root), _default(key, value, schema, root), meaning)
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"


def _type(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    schema = resolved(schema, root)
    if "oneOf" in schema:
        return f"keys, by `{kinds(schema)}`"
    if schema.get("type") == "object":
        return "keys"
    if schema.get("type") == "array":
        member = resolved(schema["items"], root)
        grouped = member.get("type") == "object" or "oneOf" in member
        inner = "groups of keys" if grouped else expectation(member, root)
        return f"list of {inner}"
    return expectation(schema, root)


def _default(key: str, value: Mapping[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    if key in schema.get("required", ()):
        return "required"
    if "properties" in resolved(value, root) and key != "title" and value.get("default", "") is not None:
        return "the defaults of its keys"
    if under_any_name(resolved(value, root)):
        return "none"
    default = value.get("default")
    return "none" if default in (None, []) else f"`{json.dumps(default, ensure_ascii=False)}`"


def _holds_keys(schema: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    schema = resolved(schema, root)
    if schema.get("type") == "array":
        return _holds_keys(schema["items"], root)
    return schema.get("type") == "object" or "oneOf" in schema
