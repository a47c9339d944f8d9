"""Nobody takes everything of a sandbox along alone: at the portal of a running site, from the end to the download."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from sandbox_people import CompanySite, Person, logged_in, trail, wait_for

from hub_config.audit import open_ledger

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def people(company_site: CompanySite) -> Iterator[dict[str, Person]]:
    with logged_in(company_site, "mila", "bram", "kees", "beheer") as found:
        yield {person.name: person for person in found}


def ended(site: CompanySite, owner: Person, sandbox: str) -> str:
    """A sandbox that its owner has ended, and that is packed."""
    assert owner.send(f"/sandboxes/{sandbox}/end", {"sure": "yes"}).status_code == 303
    wait_for("the export", lambda: "sandbox.exported" in trail(site, sandbox), 90)
    return sandbox


def hash_of(site: CompanySite, sandbox: str) -> str:
    ledger = open_ledger(site.site, site.state)
    try:
        return ledger.entries(action="sandbox.exported", subject=sandbox)[0].details["sha256"]
    finally:
        ledger.close()


@pytest.mark.attack
def test_an_owner_who_takes_all_others_out_and_ends_the_sandbox_waits_for_the_operator(
    company_site: CompanySite, people: dict[str, Person]
) -> None:
    mila, bram, operator = people["mila"], people["bram"], people["beheer"]
    sandbox = mila.ask_for_sandbox("Alleen verder")
    bram.join(mila.invite(sandbox))
    assert mila.send(f"/sandboxes/{sandbox}/remove", {"person": "bram"}).status_code == 303
    ended(company_site, mila, sandbox)
    export, release = f"/sandboxes/{sandbox}/export", f"/sandboxes/{sandbox}/release"
    assert mila.send(export).status_code == 409
    assert mila.send(release).status_code == 303 and mila.send(export).status_code == 409, "one's own yes is none"
    assert bram.send(release).status_code == 404 and people["kees"].send(release).status_code == 404
    assert mila.send(f"/operator/sandboxes/{sandbox}/release").status_code == 403
    page = mila.see(f"/sandboxes/{sandbox}").text
    assert "Je bent het enige lid" in page and "Alles downloaden" not in page
    assert "Er is één lid" in operator.see("/operator").text
    # Control: with the operator's yes the same request is answered, with what was packed.
    assert operator.send(f"/operator/sandboxes/{sandbox}/release").status_code == 303
    assert "Je hebt de export laten gaan" in operator.see("/operator").text
    assert "Alles downloaden" in mila.see(f"/sandboxes/{sandbox}").text
    taken = mila.send(export)
    assert taken.status_code == 200 and taken.headers["content-disposition"].startswith("attachment")
    assert hashlib.sha256(taken.content).hexdigest() == hash_of(company_site, sandbox)
    assert trail(company_site, sandbox)[-3:] == ["sandbox.exported", "sandbox.released", "sandbox.taken"]


def test_of_two_members_each_takes_it_with_the_others_yes(company_site: CompanySite, people: dict[str, Person]) -> None:
    mila, bram = people["mila"], people["bram"]
    sandbox = mila.ask_for_sandbox("Samen verder")
    bram.join(mila.invite(sandbox))
    ended(company_site, mila, sandbox)
    export = f"/sandboxes/{sandbox}/export"
    assert mila.send(export).status_code == 409
    assert bram.send(export).status_code == 200, "its owner agreed by ending it"
    assert "Ik ga akkoord dat de anderen het downloaden" in bram.see(f"/sandboxes/{sandbox}").text
    assert bram.send(f"/sandboxes/{sandbox}/release").status_code == 303
    assert "Je ging akkoord dat de anderen het downloaden" in bram.see(f"/sandboxes/{sandbox}").text
    assert mila.send(export).content == (company_site.state.sandboxes / sandbox / f"export/{sandbox}.tar").read_bytes()
