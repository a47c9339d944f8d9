"""The JSON Schema of site.yaml and the reference page made from it."""

from __future__ import annotations

import json
from typing import Any

from hub_config.site import Site


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of site.yaml."""
    return Site.model_json_schema()


def reference_markdown() -> str:
    """The reference page of site.yaml."""
    return "# site.yaml\n\n```json\n" + json.dumps(json_schema(), indent=2) + "\n```\n"
