"""Saved comments on the page where a teacher marks, in a real browser."""

from __future__ import annotations

import json
import os
from pathlib import Path

import httpx
import pytest
from class_scene import class_at_work, screenshots
from grading_browser import browser_at
from grading_site import Site
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]
EVIL = "<img src=x onerror='window.fout=1'> let op"


def works(page: httpx.Client) -> dict[str, str]:
    """The id of each student's notebook."""
    found = page.get("formgrader/api/submitted_notebooks/week-1/kwadraten").json()
    return {one["student"]: one["id"] for one in found}


def opened(desk: Page, page: httpx.Client, work: str) -> None:
    desk.goto(f"{page.base_url}formgrader/submissions/{work}/")
    expect(desk.locator("html[data-ready]")).to_be_attached()


def comment_of(page: httpx.Client, work: str) -> str | None:
    (comment,) = page.get("formgrader/api/comments", params={"submission_id": work}).json()
    found: str | None = comment["manual_comment"]
    return found


def saved(page: httpx.Client, work: str) -> list[tuple[str, int]]:
    found = page.get("formgrader/api/comment_library", params={"submission_id": work}).json()["comments"]
    return [(one["text"], one["used"]) for one in found]


def test_a_comment_is_saved_for_a_task_and_used_again_with_two_clicks(released_site: Site) -> None:
    with class_at_work(released_site) as page, browser_at(page) as desk:
        work = works(page)
        opened(desk, page, work["anna"])
        field, box = desk.locator("textarea.comment"), desk.locator(".library")
        keep = box.get_by_role("button", name="Deze opmerking bewaren voor andere studenten")
        field.fill("")
        keep.click()
        expect(box.get_by_text("Schrijf eerst een opmerking.")).to_be_visible()
        for text in ("Let op de eenheid: kWh.", EVIL):
            field.fill(text)
            keep.click()
            expect(box.get_by_text("Bewaard voor deze taak.")).to_be_visible()
            expect(box.locator(".library-use").filter(has_text=text)).to_have_count(1)

        # Another student, the same task: one click opens the list, the second puts it in and keeps it.
        opened(desk, page, work["bram"])
        box.get_by_text("Bewaarde opmerkingen (2)").click()
        with desk.expect_response(lambda answer: "/api/comment/" in answer.url and answer.request.method == "PUT"):
            box.get_by_role("button", name="Let op de eenheid").click()
        expect(field).to_have_value("Let op de eenheid: kWh.")
        expect(field).to_be_focused()
        expect(box.locator("details")).not_to_have_attribute("open", "")
        assert comment_of(page, work["bram"]) == "Let op de eenheid: kWh."

        # What is there already stays, and the text is text.
        box.locator("summary").click()
        with desk.expect_response(lambda answer: answer.url.endswith("/used")):
            box.get_by_role("button", name="let op", exact=False).filter(has_text="onerror").click()
        expect(field).to_have_value(f"Let op de eenheid: kWh.\n\n{EVIL}")
        assert desk.evaluate("window.fout") is None and desk.locator(".library img").count() == 0

        # Most used first, found by words, changed, removed.
        page.post(f"formgrader/api/comment_library/{saved_id(page, work['bram'], EVIL)}/used")
        assert saved(page, work["bram"]) == [(EVIL, 2), ("Let op de eenheid: kWh.", 1)]
        opened(desk, page, work["cato"])
        box.locator("summary").click()
        expect(box.locator(".library-use")).to_have_count(2)
        expect(box.locator(".library-use").first).to_contain_text("onerror")
        search = box.get_by_role("searchbox", name="Zoeken in de bewaarde opmerkingen")
        search.fill("EENHEID")
        expect(box.locator(".library-use")).to_have_count(1)
        search.fill("niets van dit")
        expect(box.get_by_text("Geen bewaarde opmerking heeft deze woorden.")).to_be_visible()
        search.fill("eenheid")
        box.get_by_role("button", name="Wijzigen").click()
        box.get_by_label("Tekst van de bewaarde opmerking").fill("Let op de eenheid: het is kWh.")
        box.locator(".library-form").get_by_role("button", name="Bewaren").click()
        expect(box.locator(".library-use").filter(has_text="het is kWh")).to_be_visible()
        # What a student was given stays.
        assert (comment_of(page, work["bram"]) or "").startswith("Let op de eenheid: kWh.")
        search.fill("onerror")
        desk.once("dialog", lambda dialog: dialog.accept())
        box.get_by_role("button", name="Verwijderen").click()
        expect(box.get_by_text("Verwijderd. Wat studenten kregen, blijft staan.")).to_be_visible()
        assert saved(page, work["cato"]) == [("Let op de eenheid: het is kWh.", 1)]


def saved_id(page: httpx.Client, work: str, text: str) -> str:
    found = page.get("formgrader/api/comment_library", params={"submission_id": work}).json()["comments"]
    (one,) = [one for one in found if one["text"] == text]
    return str(one["id"])


def test_a_library_refuses_what_it_cannot_keep_and_who_may_not_ask(released_site: Site) -> None:
    with class_at_work(released_site) as page:
        work = works(page)["anna"]
        address = "formgrader/api/comment_library"

        def save(**given: object) -> httpx.Response:
            return page.post(address, json={"submission_id": work, "task": "kwadraat", "text": "Goed", **given})

        assert save().json()["text"] == "Goed" and save().json()["id"] == save().json()["id"]
        assert [save(text=text).json() for text in ("", "x" * 2001, 7)] == [
            {"code": "empty"}, {"code": "long"}, {"code": "empty"},
        ]  # fmt: skip
        # Only for tasks that a comment can be written at, of work that is there.
        assert save(task="test-1").status_code == save(task=None).status_code == 404
        assert save(submission_id="0" * 32).status_code == 404
        assert page.post(address, json=[]).status_code == 400
        assert page.put(f"{address}/{'0' * 32}", json={"text": "x"}).status_code == 404
        assert page.delete(f"{address}/{'0' * 32}").status_code == 204
        assert page.post(f"{address}/{'0' * 32}/used").status_code == 404

        # A student's token opens nothing of it; the control is the teacher's, above.
        token = released_site.hub.token("anna")
        stranger = {"Authorization": f"token {token}"}
        for method, place in (("GET", address), ("POST", address), ("GET", "formgrader/overview"),
                              ("GET", "formgrader/export/file?as=xlsx")):  # fmt: skip
            answer = page.request(method, place, headers=stranger, params={"submission_id": work})
            assert answer.status_code in {302, 401, 403} and "Goed" not in answer.text, place


@pytest.mark.slow
def test_saved_comments_work_in_both_languages_on_phones_and_in_the_dark(released_site: Site) -> None:
    axe = Path(os.environ["LEERLAB_TEST_TOOLS"], "node_modules/axe-core/axe.min.js").read_text()
    with class_at_work(released_site) as page:
        work = works(page)["bram"]
        texts = ("Let op de eenheid: kWh, niet kW.", "Je redenering klopt. Reken het ook na.\nTip: neem 3.")
        for text in texts:
            page.post("formgrader/api/comment_library", json={"submission_id": work, "task": "kwadraat", "text": text})
        for width in (390, 1280):
            for language in ("nl", "en"):
                with browser_at(page, language=language, width=width) as screen:
                    opened(screen, page, work)
                    screen.locator(".library summary").click()
                    for scheme in ("light", "dark"):
                        screen.emulate_media(color_scheme=scheme)
                        screen.evaluate(axe)
                        found = screen.evaluate("axe.run('.library', {resultTypes: ['violations']})")["violations"]
                        serious = [one for one in found if one["impact"] in {"serious", "critical"}]
                        assert not serious, f"{language}, {scheme}: {json.dumps(serious, indent=1)[:3000]}"
                        where = f"comments-{language}-{width}-{scheme}.png"
                        screen.screenshot(path=screenshots() / where, full_page=True)
                    assert screen.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
