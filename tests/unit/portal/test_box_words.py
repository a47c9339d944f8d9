"""What the pages say of a sandbox's state."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from jinja2 import Environment, FileSystemLoader

from ledger.sandboxes import SandboxState

CODE = Path(__file__).resolve().parents[3]


def test_every_state_of_a_sandbox_has_words_of_its_own() -> None:
    pages = Environment(
        loader=FileSystemLoader(CODE / "portal/templates"), autoescape=True, extensions=["jinja2.ext.i18n"]
    )
    pages.install_null_translations(newstyle=True)  # type: ignore[attr-defined]
    page = pages.from_string('{% from "box_words.html" import state with context %}{{ state(box) }}')
    said = [page.render(box=SimpleNamespace(sandbox=SimpleNamespace(state=one))).split(">")[1] for one in SandboxState]
    assert len(set(said)) == len(SandboxState)
    assert said[list(SandboxState).index(SandboxState.ERASED)].startswith("erased")
