"""An mbo student with a keyboard alone: a wrong try, its message, a right try, the explorable, hand-in, feedback."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from accessible import serious
from keyboard import cell_at, command, go_to_cell, run_cell, tab_to, write_cell
from playwright.sync_api import Page, expect
from steps import ASSIGNMENT, COURSE, START, autograde, collect, give_feedback, idle, open_formgrader

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.timeout(500)]
CODE = Path(__file__).resolve().parents[2]
NOTEBOOK = CODE / "courses/mbo" / COURSE / "source" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
PLACES = {cell["id"]: place for place, cell in enumerate(json.loads(NOTEBOOK.read_text())["cells"])}
WRONG = ["kenteken = True", "koeling = True", "aankomst = True", "gewicht = False", "slagboom = False"]
RIGHT = ["kenteken = True", "koeling = False", "aankomst = True", "gewicht = False", "slagboom = False"]
MESSAGE = "De koeling volgt een vaste regel: warmer dan 7 graden is aan. Dat gaat vanzelf, maar het is geen AI."


def test_a_student_needs_no_mouse_from_login_to_feedback(running_site: Any, person: Any) -> None:
    student = person("Sanne")
    page: Page = student.page
    page.goto(running_site.login_link())
    tab_to(page, "Sanne", tag="button")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Mijn cursussen").wait_for()
    home = page.url
    tab_to(page, "Herken AI om je heen", tag="a")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/lab/tree/{COURSE}/{ASSIGNMENT}/**", timeout=START)
    expect(page.locator(".jp-Notebook").first).to_be_visible(timeout=START)
    idle(page)

    go_to_cell(page, PLACES["start"])
    run_cell(page)
    expect(cell_at(page, PLACES["start"]).locator("img[alt]")).to_have_count(1)

    task, check = PLACES["ai-of-regel"], PLACES["controle-ai-of-regel"]
    go_to_cell(page, task)
    write_cell(page, WRONG)
    run_cell(page)
    run_cell(page)
    expect(cell_at(page, check).locator(".jp-OutputArea")).to_contain_text(f"AssertionError: {MESSAGE}")
    student.shows("toetsenbord-fout")

    go_to_cell(page, task)
    write_cell(page, RIGHT)
    run_cell(page)
    run_cell(page)
    expect(cell_at(page, check).locator(".jp-OutputArea")).not_to_contain_text("AssertionError")

    go_to_cell(page, PLACES["nauwkeurigheid"])
    write_cell(page, ["def nauwkeurigheid(echt, gelezen):", "return np.mean(echt == gelezen)"])
    run_cell(page)
    run_cell(page)
    expect(cell_at(page, PLACES["controle-nauwkeurigheid"]).locator(".jp-OutputArea")).not_to_contain_text("Error")

    explore(page)
    student.shows("toetsenbord-verkennen")

    # A number box keeps all keys for itself: one leaves it before the keys of the lab work again.
    tab_to(page, "kleinere k", tag="button")
    page.keyboard.press("Control+S")
    expect(page.locator(".lm-DockPanel-tabBar .lm-mod-current.jp-mod-dirty")).to_have_count(0)
    command(page, "Assignment List")
    expect(page.get_by_text("Downloaded assignments", exact=True)).to_be_visible(timeout=START)
    tab_to(page, re.compile("^Submit$"), tag="button")
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile(r"20\d\d-\d\d-\d\d .*UTC"))).to_have_count(1)
    student.shows("toetsenbord-ingeleverd")

    teacher = person("Docent")
    teacher.log_in(running_site.login_link())
    open_formgrader(teacher)
    collect(teacher)
    autograde(teacher, "Sanne")
    give_feedback(teacher)

    page.goto(home)
    expect(page.get_by_text("Feedback staat klaar")).to_be_visible()
    tab_to(page, "Feedback lezen", tag="a")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/feedback/**/{ASSIGNMENT}.html", timeout=START)
    feedback = page.frame_locator(".jp-HTMLViewer iframe")
    expect(feedback.get_by_text("Je hebt 3 van de 10 punten.")).to_be_visible(timeout=START)
    student.shows("toetsenbord-feedback")


def explore(page: Page) -> None:
    """The explorable: the number box by arrow keys, the buttons by Tab and Space, the words that go with them."""
    place = PLACES["verken-k"]
    go_to_cell(page, place)
    run_cell(page)
    output = cell_at(page, place).locator(".jp-OutputArea")
    words, picture = output.get_by_role("status"), output.locator("img")
    expect(words).to_contain_text("k = 1", timeout=START)
    # The cell below is active now. The widget is what one meets on the way back.
    tab_to(page, "grotere k", tag="button", key="Shift+Tab")
    page.keyboard.press("Space")
    expect(words).to_contain_text("k = 3")
    tab_to(page, "k (aantal buren)", tag="input", key="Shift+Tab")
    page.keyboard.press("ArrowUp")
    expect(words).to_contain_text("k = 5")
    said = (words.text_content() or "").strip()
    expect(picture).to_have_attribute("alt", re.compile(re.escape(said)))
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        found = serious(page, output)
        assert not found, f"{scheme}: {json.dumps(found, indent=1)[:3000]}"
