"""The chat in JupyterLab, in Chromium, answered by a real small model; and a lab in which there is none."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import OFF, TOKEN, Lab
from playwright.sync_api import Browser, Page, expect, sync_playwright

pytestmark = [pytest.mark.integration, pytest.mark.journey]
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
LOADED, ANSWERED = 60_000, 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def pictures() -> Path:
    folder = Path(os.environ.get("LEERLAB_BUILD") or Path(__file__).resolve().parents[3] / "build") / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def opened(browser: Browser, address: str, width: int = 1280) -> Page:
    page = browser.new_context(viewport={"width": width, "height": 900}).new_page()
    page.goto(f"{address}/lab?token={TOKEN}&reset")
    expect(page.locator("#jp-main-dock-panel")).to_be_visible(timeout=LOADED)
    expect(page.locator("#jupyterlab-splash")).to_have_count(0, timeout=LOADED)
    return page


def test_a_learner_asks_in_the_chat_and_reads_an_answer_with_what_it_took(
    lab: Lab, browser: Browser, pictures: Path
) -> None:
    with lab.served() as (address, walled):
        page = opened(browser, address)
        page.locator(".lm-TabBar-tab[title='Jupyter Chat']").click()
        page.get_by_role("button", name="New chat").first.click()
        page.wait_for_timeout(2500)
        page.screenshot(path=pictures / "assistent-1.png")
        box = page.get_by_role("textbox", name=re.compile("chat", re.I)).last
        print(page.locator(".jp-chat-input-container, .jp-chat-input-textfield").last.inner_html()[:4000])
        page.locator(".jp-chat-input-textfield textarea, .jp-chat-input-container textarea").first.click()
        page.keyboard.type("What is a median? Answer in one sentence.")
        page.keyboard.press("Enter")
        page.wait_for_timeout(6000)
        page.screenshot(path=pictures / "assistent-2.png")
        (pictures / "lab.log").write_bytes(walled.output)
