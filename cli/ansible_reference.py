"""The reference page of the playbooks, made from the roles' own argument specs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

_HEADING = """\
# Reference: the playbooks

<!-- Written by `leerlab docs` from ansible/ itself; changes here are lost. -->

`./leerlab playbook PLAYBOOK -i INVENTORY` takes `site.yml`, `hub.yml`, `backup.yml` or `restore.yml`, and all options
of `ansible-playbook`. How to use them: [your first site](../how-to/first-site.md).

## What an inventory says

`ansible/inventory.example.yml` is a whole example. The groups are `hub`, `controller` (one machine each) and `nodes`.
Everything else about the site is in site.yaml.
"""
_ROLES = """
## Roles

What a role is given is derived from site.yaml and the inventory in `ansible/group_vars/`; the roles can be used by
themselves too. Ansible checks every variable against these specs before a role does anything.
"""


def ansible_markdown(folder: Path) -> str:
    """The page.

    Args:
        folder: the folder `ansible` of the tree.
    """
    lines = [_HEADING, *_table(yaml.safe_load((folder / "inventory_variables.yml").read_text())["inventory"]), _ROLES]
    for file in sorted(folder.glob("roles/*/meta/argument_specs.yml")):
        role = file.parent.parent.name
        for entry, spec in yaml.safe_load(file.read_text())["argument_specs"].items():
            name = role if entry == "main" else f"{role}, tasks_from {entry}"
            lines += [f"### {name}", "", f"{spec['short_description']}.", ""]
            if description := spec.get("description"):
                lines += [_prose(description), ""]
            lines += [*_table(spec.get("options", {})), ""]
    return "\n".join(lines).rstrip() + "\n"


def _table(options: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "| variable | type | default | what it is |"
    yield "|---|---|---|---|"
    yield from _rows(options, "")


def _rows(options: Mapping[str, Mapping[str, Any]], above: str) -> Iterator[str]:
    for name, option in options.items():
        default = "required" if option.get("required") else _value(option.get("default"))
        kind = option.get("type", "str") + (f" of {option['elements']}" if "elements" in option else "")
        if choices := option.get("choices"):
            kind += ": " + ", ".join(map(str, choices))
        yield f"| `{above}{name}` | {kind} | {default} | {_prose(option['description'])} |"
        yield from _rows(option.get("options", {}), f"{above}{name}.")


def _value(default: object) -> str:
    return "" if default is None or default == "" else f"`{json.dumps(default)}`"


def _prose(text: str | list[str]) -> str:
    """Ansible's markup as Markdown: `C(code)`."""
    joined = " ".join(text) if isinstance(text, list) else text
    return re.sub(r"C\(([^)]*)\)", r"`\1`", " ".join(joined.split())).replace("|", "\\|")
