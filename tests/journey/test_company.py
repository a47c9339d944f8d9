"""A company's story: an entrepreneur asks for a sandbox and plots the own CSV, a colleague lets a file out, an operator
ends the sandbox."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from steps import idle

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.timeout(1200)]
START = 90_000
CSV = "datum;druk\n" + "".join(
    f"2026-03-{day:02d} {hour:02d}:00;{3 + (hour % 12) / 4:.2f}\n".replace(".", ",")
    for day in range(1, 15)
    for hour in range(24)
)


def enter(someone: Any, link: str) -> Page:
    """Log in by the link and wait for the overview."""
    page: Page = someone.page
    page.goto(link)
    page.get_by_role("button", name=someone.name).click()
    page.get_by_role("heading", name=re.compile("sandboxes|beheer|Overzicht", re.I)).first.wait_for()
    return page


def ask_for_a_sandbox(page: Page) -> None:
    """The five fields and the six questions."""
    page.get_by_role("link", name="Sandbox aanvragen").first.click()
    page.get_by_label("Naam van de sandbox").fill("Pompen van Noord")
    page.get_by_label("Wat wil je uitproberen?").fill("Zien wanneer een pomp stukgaat.")
    page.get_by_label("In welke sector werk je?").select_option(label="Water")
    for question in page.locator("fieldset.question").all():
        question.get_by_label("Nee").check()
    page.get_by_role("button", name="Aanvragen").click()
    page.get_by_role("heading", name="Pompen van Noord").wait_for()


def run_cell(page: Page, number: int) -> None:
    """As the notebook says: click in the cell and press Shift and Enter; again when the kernel was not there yet."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(number)
    for _ in range(3):
        cell.locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")
        try:
            expect(cell.locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[(\*|\d+)\]"), timeout=5_000)
            return
        except AssertionError:
            continue
    raise AssertionError(f"cell {number} did not run")


def test_an_entrepreneur_plots_the_own_csv_a_colleague_lets_a_file_out_and_an_operator_ends_it(
    running_site: Any, person: Any, tmp_path: Path
) -> None:
    mila = person("Mila van Waterwacht")
    page = enter(mila, running_site.login_link())
    mila.shows("overzicht")
    ask_for_a_sandbox(page)
    mila.shows("sandbox")

    own = tmp_path / "druk.csv"
    own.write_text(CSV)
    page.get_by_label(re.compile("Een bestand naar binnen sturen")).set_input_files(own)
    page.get_by_role("button", name="Naar binnen sturen", exact=True).click()
    expect(page.locator(".transfers").get_by_text("aangekomen")).to_be_visible(timeout=START)
    mila.shows("bestand-binnen")
    sandbox = page.url.partition("?")[0].partition("#")[0]

    page.get_by_role("link", name="Open de sandbox").click()
    page.wait_for_url("**/lab**", timeout=START)
    page.locator(".jp-DirListing-item").filter(has_text="voorspellend-onderhoud").dblclick(timeout=START)
    page.locator(".jp-DirListing-item").filter(has_text="1-kijken.ipynb").dblclick(timeout=START)
    idle(page)
    run_cell(page, 0)
    expect(page.locator(".jp-OutputArea-output img").first).to_be_visible(timeout=START)
    mila.shows("voorbeeld")
    run_cell(page, 1)
    page.locator(".jp-OutputArea select").first.select_option(index=1)
    expect(page.locator(".jp-Notebook .jp-CodeCell").nth(1).locator(".jp-OutputArea-output img")).to_be_visible(
        timeout=START
    )
    mila.shows("eigen-csv")

    page.goto(sandbox)
    page.get_by_role("button", name="Iemand uitnodigen").click()
    code = page.locator(".secret code").inner_text()
    mila.shows("uitnodiging")
    bram = person("Bram van Waterwacht")
    colleague = enter(bram, running_site.login_link())
    colleague.get_by_text("Ik heb een uitnodiging").click()
    colleague.get_by_label("De code van de uitnodiging").fill(code)
    colleague.get_by_role("button", name="Meedoen").click()
    colleague.get_by_role("heading", name="Pompen van Noord").wait_for()

    page.goto(sandbox)
    page.get_by_label("Een bestand naar buiten halen").select_option(label="incoming/druk.csv")
    page.get_by_role("button", name="Aanvragen").click()
    expect(page.get_by_text("Dat kun je niet zelf")).to_be_visible()
    mila.shows("wacht-op-akkoord")
    # Her colleague's page follows without being loaded again.
    colleague.get_by_role("button", name="Akkoord: druk.csv naar buiten laten gaan", exact=True).click()
    bram.shows("akkoord")
    with page.expect_download() as downloaded:
        page.get_by_role("button", name="druk.csv downloaden").click(timeout=START)
    assert downloaded.value.path().read_text() == CSV
    page.reload()
    mila.shows("gedownload")

    beheer = person("Beheerder")
    desk = enter(beheer, running_site.login_link())
    desk.goto(sandbox.partition("/sandboxes/")[0] + "/operator")
    row = desk.locator("[data-region=allboxes] li").filter(has_text="Pompen van Noord")
    beheer.shows("beheer")
    row.get_by_text("Deze sandbox beëindigen").click()
    row.get_by_role("checkbox").check()
    row.get_by_role("button", name="Beëindigen").click()
    expect(row.get_by_text("wordt beëindigd")).to_be_visible()
    beheer.shows("beeindigd")
    page.reload()
    expect(page.get_by_text("wordt beëindigd").first).to_be_visible()
    expect(page.get_by_role("link", name="Open de sandbox")).to_have_count(0)
