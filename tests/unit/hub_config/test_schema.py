"""The JSON Schema and the generated reference pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from cli.ansible_reference import ansible_markdown
from cli.commands import app
from cli.reference import command_markdown
from hub_config.schema import json_schema, reference_markdown

CODE = Path(__file__).resolve().parents[3]


def properties(schema: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every property anywhere in a schema."""
    if isinstance(schema, dict):
        for key, value in schema.get("properties", {}).items():
            yield f"{path}/{key}", value
        for key, value in schema.items():
            yield from properties(value, f"{path}/{key}")
    elif isinstance(schema, list):
        for value in schema:
            yield from properties(value, path)


def test_the_schema_is_a_schema_and_the_demo_site_fits_it() -> None:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    demo = yaml.safe_load((CODE / "hub_config/demo.yaml").read_text())
    assert list(Draft202012Validator(schema).iter_errors(demo)) == []
    assert list(Draft202012Validator(schema).iter_errors({**demo, "unknown": 1}))
    assert list(Draft202012Validator(schema).iter_errors({**demo, "profiles": [{"id": "x"}]}))


def test_every_key_says_what_it_means() -> None:
    schema = json_schema()
    silent = [
        path
        for path, value in properties(schema)
        if "description" not in value
        and "description" not in schema["$defs"].get(str(value.get("$ref")).rpartition("/")[2], {})
    ]
    assert silent == []


def test_the_page_has_a_row_for_every_key() -> None:
    page = reference_markdown()
    assert all(f"| `{path.rpartition('/')[2]}` |" in page for path, _ in properties(json_schema()))


PAGES = {
    "site.md": reference_markdown,
    "command.md": lambda: command_markdown(app),
    "ansible.md": lambda: ansible_markdown(CODE / "ansible"),
}


@pytest.mark.parametrize("name", PAGES)
def test_the_committed_page_is_in_step(name: str) -> None:
    assert (CODE / "docs/reference" / name).read_text() == PAGES[name](), "run leerlab docs"
