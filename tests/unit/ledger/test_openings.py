"""Places outside that a sandbox may reach: one asks, another agrees, any member closes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ledger.openings import OpeningLedger
from ledger.sandboxes import DataClass, NoSuchSandbox, NotPossibleNow, RiskClass, Sandbox, SandboxLedger, SandboxState
from ledger.store import Ledger


@pytest.fixture
def ledger(place: Any, tmp_path: Path) -> Iterator[Ledger]:
    key = tmp_path / "key"
    key.write_text("a" * 64)
    with closing(Ledger.open(place.url, key)) as ledger:
        yield ledger


@pytest.fixture
def sandboxes(ledger: Ledger) -> SandboxLedger:
    return SandboxLedger(ledger)


@pytest.fixture
def openings(ledger: Ledger) -> OpeningLedger:
    return OpeningLedger(ledger)


@pytest.fixture
def box(sandboxes: SandboxLedger) -> Sandbox:
    """With two members, mila and noor."""
    made = sandboxes.create(
        title="Pompen", purpose="Zien", sector="water", data_class=DataClass.OPEN, risk_class=RiskClass.MINIMAL,
        owner="mila", ends=datetime.now(UTC) + timedelta(days=1), state=SandboxState.ACTIVE, most=2,
    )  # fmt: skip
    sandboxes.join(sandboxes.invite(made.id, "mila"), "noor", 8)
    return made


def test_a_place_is_open_once_a_second_member_agrees(box: Sandbox, openings: OpeningLedger, ledger: Ledger) -> None:
    assert openings.open() == {box.id: []}
    openings.ask(box.id, "pypi.org", "mila")
    openings.ask(box.id, "pypi.org", "noor")
    assert openings.open() == {box.id: []}
    openings.agree(box.id, "pypi.org", "noor")
    openings.agree(box.id, "pypi.org", "mila")
    assert openings.open() == {box.id: ["pypi.org"]}
    assert [(one.host, one.asked_by, one.agreed_by) for one in openings.of(box.id)] == [("pypi.org", "mila", "noor")]
    openings.close(box.id, "pypi.org", "mila")
    openings.close(box.id, "pypi.org", "mila")
    assert openings.open() == {box.id: []}
    trail = [(entry.action, entry.actor) for entry in ledger.entries(subject=box.id) if "opening" in entry.action]
    assert trail == [("opening.ask", "mila"), ("opening.agree", "noor"), ("opening.close", "mila")]


@pytest.mark.attack
def test_nobody_agrees_with_themselves(box: Sandbox, openings: OpeningLedger) -> None:
    openings.ask(box.id, "pypi.org", "mila")
    with pytest.raises(NotPossibleNow, match="yourself"):
        openings.agree(box.id, "pypi.org", "mila")
    assert openings.open() == {box.id: []}
    openings.agree(box.id, "pypi.org", "noor")  # the control: the same by another
    assert openings.open() == {box.id: ["pypi.org"]}


@pytest.mark.attack
def test_who_is_no_member_asks_agrees_and_closes_nothing(
    box: Sandbox, openings: OpeningLedger, sandboxes: SandboxLedger
) -> None:
    openings.ask(box.id, "pypi.org", "mila")
    for act in (openings.ask, openings.agree, openings.close):
        with pytest.raises(NoSuchSandbox):
            act(box.id, "pypi.org", "sem")
    sandboxes.join(sandboxes.invite(box.id, "mila"), "sem", 8)
    openings.agree(box.id, "pypi.org", "sem")  # the control: the same as a member
    sandboxes.remove(box.id, "sem", "mila")
    with pytest.raises(NoSuchSandbox):
        openings.close(box.id, "pypi.org", "sem")


def test_nothing_is_agreed_to_that_nobody_asks_for(box: Sandbox, openings: OpeningLedger) -> None:
    with pytest.raises(NotPossibleNow, match="any more"):
        openings.agree(box.id, "pypi.org", "noor")


def test_an_ended_sandbox_reaches_nothing_and_an_erased_one_keeps_no_names(
    box: Sandbox, openings: OpeningLedger, sandboxes: SandboxLedger
) -> None:
    openings.ask(box.id, "pypi.org", "mila")
    openings.agree(box.id, "pypi.org", "noor")
    sandboxes.move(box.id, SandboxState.ENDING, "mila")
    assert openings.open() == {}
    with pytest.raises(NotPossibleNow, match="not active"):
        openings.ask(box.id, "files.pythonhosted.org", "mila")
    openings.close(box.id, "pypi.org", "mila")
    openings.close(box.id, "other.test", "mila")
    sandboxes.forget(box.id, "mila", {})
    assert openings.of(box.id) == []
