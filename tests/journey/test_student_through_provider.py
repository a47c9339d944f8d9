"""An hbo student comes in through an identity provider and reads the marks, every change of state by a click."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from login_site import CertifiedProvider, rule
from playwright.sync_api import expect
from steps import (
    autograde,
    collect,
    give_feedback,
    hand_in,
    open_assignment,
    open_formgrader,
    read_feedback,
    run_all_cells,
    save,
    solve_first_exercises,
)

from base.ports import free_ports

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.timeout(400)]

STUDENT, TEACHER, NOBODY = "Anna de Vries", "Bram Smit", "Niek Niemand"
PEOPLE = {
    "anna-7f3a": {"name": STUDENT, "eduperson_affiliation": ["student", "member"]},
    "bram-91bc": {"name": TEACHER, "eduperson_affiliation": ["employee"]},
    "niemand-0001": {"name": NOBODY, "eduperson_affiliation": ["alum"]},
}
RULES = [
    rule("eduperson_affiliation", "contains", "student", "students-hbo", "nbgrader-ai-in-je-vak"),
    rule("eduperson_affiliation", "contains", "employee", "teachers", "formgrade-ai-in-je-vak"),
]
SECRET = "journey-secret-4711"


@pytest.fixture
def address(new_site: Callable[..., Any], tmp_path: Path) -> Iterator[str]:
    """A running site where people come in through a certified provider only."""
    provider = CertifiedProvider(tmp_path, free_ports(1)[0], [])
    provider.write(PEOPLE)
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    surf = {
        "id": "surf", "preset": "surfconext", "issuer": provider.issuer, "client_id": "leerlab",
        "client_secret_file": str(secret), "rules": RULES,
    }  # fmt: skip
    site = new_site(login={"kind": "oidc", "providers": [surf]})
    provider.clients = [
        {
            "client_id": "leerlab", "client_secret": SECRET,
            "redirect_uris": [f"{site.address}/hub/oidc/surf/callback"],
        }
    ]  # fmt: skip
    provider.start()
    try:
        site.leerlab("up")
        yield site.address
    finally:
        provider.stop()


def log_in(somebody: Any, address: str) -> None:
    """From the site's front door, by the provider's own page, to the portal."""
    page = somebody.page
    page.goto(address)
    expect(page.get_by_role("heading", name="Inloggen")).to_be_visible()
    somebody.shows_portal("inloggen")
    page.get_by_role("link", name="Inloggen met SURFconext").click()
    expect(page.get_by_role("heading", name="Who are you?")).to_be_visible()
    page.get_by_role("link", name=somebody.name).click()
    somebody.page.wait_for_load_state()


def test_an_hbo_student_logs_in_at_the_provider_hands_in_and_reads_the_marks(address: str, person: Any) -> None:
    nobody = person(NOBODY)
    log_in(nobody, address)
    expect(nobody.page.get_by_text("maar je hebt hier nog geen toegang")).to_be_visible()
    nobody.shows_portal("geen-toegang")

    student = person(STUDENT)
    log_in(student, address)
    expect(student.page.get_by_role("heading", name=f"Dag {STUDENT}")).to_be_visible()
    student.shows_portal("overzicht")
    open_assignment(student)
    solve_first_exercises(student.page)
    run_all_cells(student.page)
    save(student.page)
    hand_in(student)

    teacher = person(TEACHER)
    log_in(teacher, address)
    expect(teacher.page.get_by_text("Je geeft deze cursus")).to_be_visible()
    teacher.shows_portal("overzicht")
    open_formgrader(teacher)
    collect(teacher)
    autograde(teacher, STUDENT)
    give_feedback(teacher)
    read_feedback(student, "Je hebt 3 van de 10 punten.")
    student.page.goto(address)
    expect(student.page.get_by_text("Feedback staat klaar")).to_be_visible()
    student.shows_portal("overzicht-met-feedback")
    student.page.get_by_role("link", name="Alle opdrachten").click()
    expect(student.page.get_by_role("heading", name="Opdrachten")).to_be_visible()
    student.shows_portal("cursus")
