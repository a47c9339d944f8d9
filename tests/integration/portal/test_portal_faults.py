"""The portal while its neighbours fail: it says what it cannot see, waits for nobody, and recovers by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from portal_site import Pages, start_pages, stop_pages

from hub_config.login import keys

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.timeout(180)]
UNSEEN = "Dit kunnen we nu niet zien"


@pytest.fixture(scope="module")
def broken() -> Iterator[Pages]:
    """A site of this module's own, whose processes are stopped and killed."""
    running = start_pages(Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp")))
    try:
        yield running
    finally:
        for process in running.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
        stop_pages(running)


@pytest.fixture
def page(chromium: Browser, broken: Pages) -> Iterator[Page]:
    context = chromium.new_context(locale="nl-NL")
    context.set_default_timeout(30_000)
    page = context.new_page()
    page.goto(keys.link(broken.address, broken.key()))
    page.click("button[value=sanne]")
    page.wait_for_url(f"{broken.portal}/")
    yield page
    context.close()


def hub(pages: Pages) -> subprocess.Popen[bytes]:
    return pages.processes[1]


def test_a_page_that_is_open_while_the_hub_hangs_says_so_and_recovers(page: Page, broken: Pages) -> None:
    expect(page.get_by_text(UNSEEN)).to_have_count(0)
    page.evaluate("window.stays = true")
    hub(broken).send_signal(signal.SIGSTOP)
    try:
        expect(page.get_by_text(UNSEEN)).to_be_visible(timeout=40_000)
        expect(page.get_by_text("AI in je vak").first).to_be_visible()
    finally:
        hub(broken).send_signal(signal.SIGCONT)
    expect(page.get_by_text(UNSEEN)).to_have_count(0, timeout=30_000)
    assert page.evaluate("window.stays"), "the page was never loaded again"


def test_a_page_that_is_asked_for_while_the_hub_hangs_answers_soon_that_it_does_not_know(
    page: Page, broken: Pages
) -> None:
    page.goto("about:blank")  # an open page would have the hub asked all the time
    time.sleep(7)  # what the hub said of this person is kept five seconds
    hub(broken).send_signal(signal.SIGSTOP)
    try:
        begin = time.monotonic()
        answer = page.goto(f"{broken.portal}/")
        assert answer is not None and answer.status == 503
        assert time.monotonic() - begin < 20
        expect(page.get_by_role("heading", level=1)).to_have_text("Nu niet bereikbaar")
    finally:
        hub(broken).send_signal(signal.SIGCONT)
    expect(page.get_by_role("heading", name="Mijn cursussen")).to_be_visible(timeout=30_000)


def test_without_slurm_and_grading_the_pages_stay_and_name_what_is_silent(page: Page, broken: Pages) -> None:
    """No Slurm and no grading service run in this site at all."""
    expect(page.get_by_role("heading", name="Mijn cursussen")).to_be_visible()
    page.goto(f"{broken.address}/hub/login")
    page.click("button[value=beheer]")
    page.wait_for_url(f"{broken.portal}/")
    page.goto(f"{broken.portal}/operator")
    silent = page.locator(".health .silent")
    expect(silent.filter(has_text="wachtrij")).to_be_visible()
    expect(silent.filter(has_text="nakijken")).to_be_visible()
    expect(page.locator(".health .well")).to_have_count(2)


@pytest.mark.slow
def test_a_portal_that_was_killed_lets_people_in_again_without_a_question(page: Page, broken: Pages) -> None:
    old = broken.processes[2]
    old.kill()
    old.wait(timeout=5)
    expect(page.locator("#unreachable")).to_be_visible(timeout=40_000)
    environment = dict(
        part.split("=", 1) for part in (broken.root / "portal-environment").read_text().split("\0") if part
    )
    log = (broken.root / "portal.log").open("ab")
    broken.processes[2] = subprocess.Popen(old.args, cwd=broken.root, env=environment, stdout=log, stderr=log)
    log.close()
    # The page that is open finds its way by itself, and is the same person's.
    expect(page.locator("#unreachable")).to_be_hidden(timeout=60_000)
    expect(page.get_by_role("heading", name="Dag Sanne")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Mijn cursussen")).to_be_visible()
    assert os.getpgid(broken.processes[2].pid)
