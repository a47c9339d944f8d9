"""Run inside by `test_no_call_leaves.py`: the demo site with every course and the assistant, up, examined, down."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.timeout(900)
CODE = Path(__file__).resolve().parents[3]


def test_the_whole_demo_site_starts_and_is_well(new_site: Callable[..., Any]) -> None:
    whole = yaml.safe_load((CODE / "hub_config/demo.yaml").read_text())
    del whole["hub"]  # with a port of its own instead
    site = new_site(**whole)
    assert not json.loads(site.leerlab("up", "--json", timeout=800).stdout)["already_running"]
    assert len(site.site.courses) > 1 and site.site.assistant
    findings = json.loads(site.leerlab("doctor", "--json").stdout)
    assert [finding for finding in findings if not finding["ok"]] == []
