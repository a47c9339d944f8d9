"""The life of a sandbox: asked for, approved or refused, used, given more time, ended."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from base.errors import InputError, LeerlabError
from base.messages import Message
from base.paths import State
from ledger.sandboxes import DataClass, NotPossibleNow, RiskClass, Sandbox, SandboxLedger, SandboxState
from sandboxes.folders import ABOUT, Folders
from sandboxes.risk import Assessment, SelfCheck, assess
from sandboxes.settings import SandboxSettings
from sandboxes.starters.starter import install, starters

SECTORS = (
    "agriculture", "care", "culture", "energy", "industry", "logistics", "public", "services", "water", "other",
)  # fmt: skip
"""Codes of the sectors that a request may name; pages show `sector.<code>`."""
LONGEST_TITLE, LONGEST_PURPOSE = 60, 1000
OWNER = "owner"
"""The reason in the trail when a sandbox was ended by who asked for it."""
MAKING = timedelta(minutes=1)
"""After which a sandbox without its files is one whose making was broken off."""
CLOCK = "clock"
"""Who ends a sandbox whose time is over."""


class SandboxRefused(LeerlabError):
    """This request is not granted.

    Args:
        reasons: why, for the page.
    """

    def __init__(self, reasons: tuple[Message, ...]) -> None:
        self.reasons = reasons
        super().__init__("The sandbox is not granted: " + ", ".join(reason.code for reason in reasons) + ".")


@dataclass(frozen=True)
class Request:
    """The five fields and the self-check.

    Args:
        title: what the company calls it.
        purpose: what it wants to try.
        sector: one of `SECTORS`.
        data_class: of the data that goes in.
        days: how long.
        check: the self-check.
    """

    title: str
    purpose: str
    sector: str
    data_class: DataClass
    days: int
    check: SelfCheck


class Sandboxes:
    """The sandboxes of one site.

    Args:
        ledger: where they are remembered.
        state: the site's state folder.
        settings: the section `sandboxes:`.
        highest: the most delicate class of data that this site may hold.
    """

    def __init__(
        self, ledger: SandboxLedger, state: State, settings: SandboxSettings, highest: DataClass = DataClass.OPEN
    ) -> None:
        self.ledger = ledger
        self._state = state
        self._settings = settings
        self._highest = list(DataClass).index(highest)

    @property
    def size(self) -> int:
        """Most bytes of one sandbox."""
        return int(self._settings.size)

    def folders(self, sandbox: str) -> Folders:
        """Where a sandbox's files are."""
        return Folders(self._state, sandbox)

    def request(self, person: str, request: Request, language: str = "nl") -> Sandbox:
        """Ask for a sandbox: there at once, or waiting for an operator when the risk is high.

        Args:
            person: pseudonym of who asks; who may ask is the caller's to check.
            request: what was asked.
            language: `nl` or `en`: of the starter kits that come with it.

        Raises:
            InputError: a field is empty, too long or unknown.
            SandboxRefused: the application is forbidden, or the data may not be on this site.
            NotPossibleNow: the person owns as many as are given.
        """
        _check(request, self._settings.days)
        assessment = assess(request.check)
        self._grantable(assessment, request.data_class)
        state = SandboxState.WAITING if assessment.risk is RiskClass.HIGH else SandboxState.ACTIVE
        made = self.ledger.create(
            title=_one_line(request.title), purpose=request.purpose.strip(), sector=request.sector,
            data_class=request.data_class, risk_class=assessment.risk, owner=person,
            ends=_now() + timedelta(days=request.days), state=state, most=self._settings.per_person,
        )  # fmt: skip
        if state is SandboxState.ACTIVE:
            self.prepare(made, language)
        return made

    def _grantable(self, assessment: Assessment, data_class: DataClass) -> None:
        if assessment.risk is RiskClass.PROHIBITED:
            raise SandboxRefused(assessment.reasons)
        if list(DataClass).index(data_class) > self._highest:
            raise SandboxRefused((Message("sandbox.refused.data"),))

    def prepare(self, sandbox: Sandbox, language: str) -> None:
        """Make a sandbox's folders, put the starter kits there, and the file that tells notebooks where they are."""
        folders = self.folders(sandbox.id)
        folders.make()
        about = {"id": sandbox.id, "title": sandbox.title, "sector": sandbox.sector, "risk_class": sandbox.risk_class}
        # Whatever stands there already may be a member's, links included: it is left alone.
        with suppress(FileExistsError), (folders.files / ABOUT).open("x") as file:
            json.dump(about, file, ensure_ascii=False)
        for starter in starters():
            install(starter, folders.files, language)

    def complete(self, language: str = "nl") -> Sequence[Sandbox]:
        """Make the files of active sandboxes whose making was broken off after the ledger had them."""
        left = [
            one for one in self.ledger.all(SandboxState.ACTIVE)
            if one.created + MAKING <= _now() and not self.folders(one.id).files.exists()
        ]  # fmt: skip
        for one in left:
            self.prepare(one, language)
        return left

    def approve(self, sandbox: str, by: str, language: str = "nl") -> Sandbox:
        """An operator's yes.

        Raises:
            NoSuchSandbox, NotPossibleNow: it does not wait for one, or the operator is in it.
        """
        if by in self.ledger.members(sandbox):
            raise NotPossibleNow("You are in this sandbox yourself.", do="Let another operator decide.")
        active = self.ledger.move(sandbox, SandboxState.ACTIVE, by)
        self.prepare(active, language)
        return active

    def refuse(self, sandbox: str, by: str) -> Sandbox:
        """An operator's no.

        Raises:
            NoSuchSandbox, NotPossibleNow: it does not wait for an answer.
        """
        return self.ledger.move(sandbox, SandboxState.REFUSED, by)

    def extend(self, sandbox: str, person: str) -> Sandbox:
        """Give a sandbox as many days from now as a new one gets.

        Raises:
            NoSuchSandbox: the person is no member of it.
            NotPossibleNow: it is not active.
        """
        return self.ledger.extend(sandbox, _now() + timedelta(days=self._settings.days), person)

    def end(self, sandbox: str, by: str, *, operator: bool = False) -> Sandbox:
        """End a sandbox: nothing runs in it any more; export and erasure follow.

        Args:
            sandbox: its id.
            by: its owner, or an operator.
            operator: whether `by` acts as an operator.

        Raises:
            NoSuchSandbox: the person is no member of it.
            NotPossibleNow: the person is not its owner, or it is not active.
        """
        if not operator and self.ledger.get_for(sandbox, by).owner != by:
            raise NotPossibleNow("Only the owner can end this sandbox.", do="Ask the owner.")
        return self.ledger.move(sandbox, SandboxState.ENDING, by, "operator" if operator else OWNER)

    def end_overdue(self) -> Sequence[Sandbox]:
        """End those whose time is over."""
        now = _now()
        overdue = [one for one in self.ledger.all(SandboxState.ACTIVE) if one.ends <= now]
        return [self.ledger.move(one.id, SandboxState.ENDING, CLOCK, "time") for one in overdue]

    def invite(self, sandbox: str, by: str) -> str:
        """A code with which one person can join within a week; see `SandboxLedger.invite`."""
        return self.ledger.invite(sandbox, by)

    def join(self, code: str, person: str) -> Sandbox:
        """Use an invitation; see `SandboxLedger.join`. Who may be in sandboxes at all is the caller's to check."""
        return self.ledger.join(code, person, self._settings.members)


def _check(request: Request, most_days: int) -> None:
    """Refuse what no honest form sends."""
    for name, text, longest in (
        ("title", request.title, LONGEST_TITLE), ("purpose", request.purpose, LONGEST_PURPOSE),
    ):  # fmt: skip
        if not text.strip() or len(text) > longest or any(unicodedata.category(each) == "Cs" for each in text):
            raise InputError(f"The {name} is empty or longer than {longest} characters.", do="Fill it in again.")
    if request.sector not in SECTORS:
        raise InputError("The sector is not one of the list.", do="Choose one.")
    if not 1 <= request.days <= most_days:
        raise InputError(f"The number of days must be from 1 to {most_days}.", do="Fill it in again.")


def _one_line(text: str) -> str:
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _now() -> datetime:
    return datetime.now(UTC)
