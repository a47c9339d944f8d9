"""`leerlab sandbox`: what an operator sees, does and is told, on a site that does not run."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from base.errors import InputError, LeerlabError
from base.paths import State
from cli.commands import app
from hub_config import oversight
from hub_config.audit import open_ledger
from hub_config.oversight import Oversight
from hub_config.site import load
from ledger.sandboxes import DataClass, NoSuchSandbox, NotPossibleNow, Sandbox, SandboxLedger
from ledger.store import Ledger, LedgerBroken
from sandboxes.life import Request, Sandboxes
from sandboxes.risk import SelfCheck

CODE = Path(__file__).resolve().parents[3]
NONE = SelfCheck(forbidden=False, people=False, preparing=False, product=False, talks=False, personal=False)
WISH = Request("Pompen \x1b[31m[bold]", "Zien wanneer een pomp stukgaat.", "water", DataClass.OPEN, 14, NONE)
RISKY = replace(WISH, title="Zorgkeuze", check=replace(NONE, product=True))


class Command:
    """The command on a site whose state is in a folder of the test's own."""

    def __init__(self, home: Path) -> None:
        self.file = home / "site.yaml"
        self.file.write_text((CODE / "hub_config/demo.yaml").read_text())
        self.site = load(self.file)
        self.state = State(home / "leerlab" / self.site.site.name)

    def run(self, *arguments: str) -> Any:
        return CliRunner().invoke(app, ["sandbox", *arguments, "--site", str(self.file)])

    def json(self, *arguments: str) -> Any:
        answer = self.run(*arguments, "--json")
        assert answer.exit_code == 0, answer.output + repr(answer.exception)
        return json.loads(answer.stdout)


@pytest.fixture
def command(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("XDG_STATE_HOME", str(short_folder))
    return Command(short_folder)


@pytest.fixture
def ledger(command: Command) -> Iterator[Ledger]:
    command.state.make()
    with closing(open_ledger(command.site, command.state)) as ledger:
        yield ledger


@pytest.fixture
def life(command: Command, ledger: Ledger) -> Sandboxes:
    assert command.site.sandboxes is not None
    return Sandboxes(SandboxLedger(ledger), command.state, command.site.sandboxes)


@pytest.fixture
def hub_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that runs and says that nothing runs in the sandbox."""
    monkeypatch.setattr(Oversight, "_follow", lambda _self: True)
    monkeypatch.setattr(Oversight, "_living", lambda _self: ())


def ended(life: Sandboxes) -> Sandbox:
    made = life.request("mila", WISH)
    return life.end(made.id, "mila")


def test_a_site_that_never_ran_and_one_without_sandboxes_say_so(command: Command) -> None:
    assert isinstance(command.run("list").exception, LeerlabError)
    assert not command.state.root.exists(), "looking makes nothing"
    described = yaml.safe_load(command.file.read_text())
    del described["sandboxes"]
    command.file.write_text(yaml.safe_dump(described))
    command.state.make()
    assert isinstance(command.run("list").exception, InputError)


def test_the_list_and_a_sandbox_are_shown_without_the_terminal_obeying_their_words(
    command: Command, life: Sandboxes
) -> None:
    assert "no sandboxes" in command.run("list").stdout
    made = life.request("mila", replace(WISH, purpose="Zien\x1b]0;gekaapt\x07."))
    for shown in (command.run("list").stdout, command.run("show", made.id).stdout):
        assert made.id in shown and "[bold]" in shown and "\x1b" not in shown
    assert command.json("list")[0]["state"] == "active"
    shown = command.json("show", made.id)
    assert shown["members"] == ["mila"] and shown["disk"] > 0 and "sandbox.request" in shown["trail"][0]


def test_a_sandbox_that_waits_is_approved_or_refused_once(command: Command, life: Sandboxes, ledger: Ledger) -> None:
    yes, no = life.request("mila", RISKY), life.request("mila", replace(RISKY, title="Anders"))
    assert command.json("approve", yes.id)["state"] == "active" and life.folders(yes.id).files.is_dir()
    assert command.json("refuse", no.id)["state"] == "refused"
    assert isinstance(command.run("refuse", yes.id).exception, NotPossibleNow)
    assert isinstance(command.run("approve", "aaaaaaaa").exception, NoSuchSandbox)
    assert ledger.entries(subject=yes.id)[-1].actor == "shell"


def test_what_is_in_use_is_ended_before_it_is_erased(command: Command, life: Sandboxes, hub_stops: None) -> None:
    made = life.request("mila", WISH)
    refused = command.run("erase", made.id, "--yes")
    assert isinstance(refused.exception, NotPossibleNow) and "end it first" in str(refused.exception).lower()
    assert command.json("end", made.id)["state"] == "ending"
    assert command.run("erase", made.id).exit_code == 1, "without a yes nothing is erased"
    assert life.folders(made.id).root.exists()
    assert command.json("erase", made.id, "--yes")["files"] > 8
    assert command.json("verify", made.id)["clean"]


def test_nothing_is_erased_while_the_hub_does_not_say_that_all_has_stopped(command: Command, life: Sandboxes) -> None:
    made = ended(life)
    assert "hub did not say" in str(command.run("erase", made.id, "--yes").exception)
    assert life.folders(made.id).root.exists()


def test_nothing_is_erased_while_slurm_still_runs_something_in_it(
    command: Command, life: Sandboxes, hub_stops: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ended(life)
    monkeypatch.setattr(Oversight, "_living", lambda _self: {made.id})
    assert "has not ended yet" in str(command.run("erase", made.id, "--yes").exception)
    assert life.folders(made.id).root.exists()


@pytest.mark.fault
def test_a_full_disk_keeps_an_operator_from_no_erasure(
    command: Command, life: Sandboxes, hub_stops: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ended(life)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(oversight, "pack", full)
    assert isinstance(command.run("erase", made.id, "--yes").exception, OSError)
    assert life.folders(made.id).root.exists(), "it is not erased by mistake"
    assert command.run("erase", made.id, "--yes", "--without-export").exit_code == 0
    assert not life.folders(made.id).root.exists()


def test_verify_finds_what_is_left_and_fails(command: Command, life: Sandboxes, hub_stops: None) -> None:
    made = ended(life)
    assert command.run("verify", made.id).exit_code == 1
    command.run("erase", made.id, "--yes")
    (command.state.logs / "x.log").write_text("een-merkteken-77")
    answer = command.run("verify", made.id, "--marker", "een-merkteken-77")
    assert answer.exit_code == 1 and "x.log" in answer.stdout
    (command.state.logs / "x.log").unlink()
    assert "stands in no file" in command.run("verify", made.id, "--marker", "een-merkteken-77").stdout
    assert isinstance(command.run("verify", made.id, "--marker", "kort").exception, InputError)


@pytest.mark.fault
def test_verify_tells_of_a_trail_that_was_changed(command: Command, life: Sandboxes) -> None:
    made = life.request("mila", WISH)
    with closing(sqlite3.connect(command.state.ledger)) as file:
        for (trigger,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            file.execute(f"DROP TRIGGER {trigger}")
        file.execute("UPDATE entry SET actor = 'niemand' WHERE sequence = 1")
        file.commit()
    assert isinstance(command.run("verify", made.id).exception, LedgerBroken)
