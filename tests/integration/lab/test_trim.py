"""A browser is sent no code of what a lab switches off, and all of what it uses."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from walled_lab import OFF, ON, TOKEN, Lab, Offer

pytestmark = pytest.mark.integration
INSTALLED = "/opt/notebook/share/jupyter/labextensions"
CHAT = "jupyterlab-chat-extension"


def page_of(lab: Lab, offer: Offer) -> dict[str, Any]:
    """The settings in the page of a lab."""
    with lab.served(offer=offer, MEM_LIMIT="1") as (address, _):
        html = httpx.get(f"{address}/lab", params={"token": TOKEN}, follow_redirects=True, timeout=30).text
    found = re.search(r'<script id="jupyter-config-data" type="application/json">(.*?)</script>', html, re.DOTALL)
    assert found, html[:2000]
    return dict(json.loads(found[1]))


def loaded(page: dict[str, Any]) -> set[str]:
    return {each["name"] for each in page["federated_extensions"]}


def test_what_is_switched_off_is_not_loaded_and_what_is_used_is(lab: Lab) -> None:
    page = page_of(lab, OFF)
    there = lab.python(
        f"import pathlib; print(*(p.parent.relative_to('{INSTALLED}') for p in "
        f"pathlib.Path('{INSTALLED}').glob('**/package.json') if 'static' not in p.parts))"
    ).split()
    off = set(page["disabledExtensions"]) & set(there)
    assert {CHAT, "jupyterlab-diff", "@jupyter-ai/persona-manager"} <= off, "these would be loaded otherwise"
    assert not loaded(page) & off
    assert loaded(page) == set(there) - off | {name for name in loaded(page) if name.startswith("leerlab")}
    assert "@jupyter-widgets/jupyterlab-manager" in loaded(page)


def test_with_the_assistant_on_its_chat_is_loaded(lab: Lab) -> None:
    assert CHAT in loaded(page_of(lab, ON))
