"""The chat in JupyterLab, in Chromium, answered by a real small model; and a lab in which there is none."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from walled_lab import OFF, TOKEN, UP, Lab

pytestmark = [pytest.mark.integration, pytest.mark.journey]
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
LOADED, ANSWERED = 60_000, 60_000
expect.set_options(timeout=LOADED)


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
    # JupyterLab's own launcher takes the focus when it is drawn, from whoever types by then.
    expect(page.locator(".jp-Launcher")).to_be_focused(timeout=LOADED)
    return page


def new_chat(page: Page) -> None:
    page.locator(".lm-TabBar-tab[title='Jupyter Chat']").click()
    button = page.get_by_role("button", name="New chat").first
    button.focus()
    page.keyboard.press("Enter")


def test_a_learner_asks_in_the_chat_by_keyboard_and_reads_an_answer_with_what_it_took(
    lab: Lab, browser: Browser, pictures: Path
) -> None:
    with lab.served(home="bo") as (address, walled):
        page = opened(browser, address)
        new_chat(page)
        messages = page.locator(".jp-chat-rendered-message")
        expect(messages).to_contain_text(["Ik ben een klein taalmodel en heb het vaak mis."])
        # One persona, ours: nobody else can be chosen.
        expect(page.get_by_text("Assistent", exact=True).first).to_be_visible()
        question = "What is a median? Answer in one sentence."
        box = page.locator(".jp-chat-input-textfield textarea").first
        box.focus()
        page.keyboard.type(question)
        expect(box).to_have_value(question)
        page.keyboard.press("Enter")
        expect(messages.nth(1)).to_have_text(question)
        answer = messages.nth(2)
        expect(answer).to_contain_text(re.compile("median", re.I), timeout=ANSWERED)
        under = re.compile(
            r"smollm2-135m · \d+ tokens · energie onbekend · hoogstens 20\.000 tokens per uur\. "
            "Klein model: controleer het antwoord"
        )
        expect(answer).to_contain_text(under, timeout=ANSWERED)
        page.screenshot(path=pictures / "assistent-antwoord-1280.png")
        page.set_viewport_size({"width": 390, "height": 844})
        page.screenshot(path=pictures / "assistent-antwoord-390.png")
        log = walled.output.decode(errors="replace")
        assert "Initialized 1 AI personas" in log and "Loading AI persona classes" not in log
        assert "litellm" not in log and "jupyter_server_mcp" not in log, log


def test_where_it_is_off_there_is_no_chat(lab: Lab, browser: Browser, pictures: Path) -> None:
    with lab.served(home="cas", offer=OFF) as (address, walled):
        page = opened(browser, address)
        expect(page.locator(".lm-TabBar-tab[title='Jupyter Chat']")).to_have_count(0)
        expect(page.get_by_text("Chat", exact=True)).to_have_count(0)
        page.screenshot(path=pictures / "assistent-uit-1280.png")
        log = walled.output.decode(errors="replace")
        assert not re.search(r"(jupyter_ai\w*|jupyterlab_chat|leerlab_lab.assistant) \| extension was", log), log


HOME_SETTINGS = json.dumps(
    {
        "ServerApp": {
            "jpserver_extensions": {
                name: True
                for name in ("jupyterlab_chat", "jupyter_ai_router", "jupyter_ai_persona_manager", "jupyter_server_mcp")
            }
        }
    }
)


@pytest.mark.attack
def test_settings_in_a_learner_s_home_switch_nothing_of_it_on(lab: Lab) -> None:
    """The control is the same home in the same lab, without the settings of Leerlab."""

    def loaded(**environment: str) -> bool:
        folder = lab.state.homes / "dirk" / ".jupyter"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "jupyter_server_config.json").write_text(HOME_SETTINGS)
        with lab.served(home="dirk", offer=OFF, **environment) as (_, walled):
            until = monotonic() + UP
            while b"is running at" not in walled.output:  # what stands before it has come as well
                assert monotonic() < until
                sleep(0.1)
            log = walled.output.decode(errors="replace")
        return bool(re.search(r"(jupyter_ai_persona_manager|jupyterlab_chat) \| extension was successfully", log))

    assert not loaded()
    assert loaded(JUPYTER_CONFIG_PATH="")
