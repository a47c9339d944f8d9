"""A workplace that nobody uses is stopped and says so; one in which something computes is in use."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from steps import START, idle, open_assignment, write_into

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.timeout(900)]
CODE = Path(__file__).resolve().parents[2]
# leerlab_lab/working.py looks once a minute.
LOOK_SECONDS = 60


def last_used(page: Page, site: Any) -> datetime:
    """When the server itself says it was last used; to ask is not to use it."""
    answer = page.goto(f"{site.site.hub.origin('jelmer')}/user/jelmer/api/status")
    assert answer is not None and answer.ok
    return datetime.fromisoformat(answer.json()["last_activity"])


def test_a_cell_that_computes_in_silence_is_use_also_when_nobody_looks(running_site: Any, person: Any) -> None:
    jelmer = person("Jelmer")
    jelmer.log_in(running_site.login_link())
    open_assignment(jelmer)
    page: Page = jelmer.page
    idle(page)
    write_into(page, "kenteken = None", "import time; time.sleep(600)")
    page.keyboard.press("Control+Enter")
    cell = page.locator(".jp-CodeCell").filter(has_text="time.sleep(600)")
    expect(cell.locator(".jp-InputPrompt").filter(has_text="[*]")).to_be_visible()
    page.goto("about:blank")
    left = datetime.now(UTC)
    for _ in range(4 * LOOK_SECONDS):
        if last_used(page, running_site) - left > timedelta(seconds=LOOK_SECONDS / 2):
            break
        page.wait_for_timeout(1000)
    assert last_used(page, running_site) - left > timedelta(seconds=LOOK_SECONDS / 2)


def test_who_left_is_told_why_the_workplace_is_gone(running_site: Any, person: Any) -> None:
    sanne = person("Sanne")
    sanne.log_in(running_site.login_link())
    page: Page = sanne.page
    page.goto(f"{running_site.address}/hub/spawn/sanne?profile=cpu-small&next=/user/sanne/lab")
    page.wait_for_url("**/user/sanne/lab*", timeout=2 * START)
    page.goto("about:blank")
    # The site's own culler allows two hours; this one is the same, and allows twenty seconds.
    culler = subprocess.Popen(
        [sys.executable, "-m", "hub_config.idle_culling", "20"],
        env={**os.environ, "PYTHONPATH": str(CODE), "LEERLAB_STATE": str(running_site.state.root)},
        stdin=subprocess.DEVNULL,
    )
    try:
        page.goto(f"http://portal.{running_site.site.hub.host}/")
        expect(page.locator(".servers")).to_have_count(0, timeout=2 * START)
        page.goto(f"{running_site.address}/hub/user/sanne/lab")
        expect(page.locator(".notice")).to_contain_text("lang niet was gebruikt")
        sanne.shows_portal("lang-niet-gebruikt")
    finally:
        culler.terminate()
        culler.wait(20)
