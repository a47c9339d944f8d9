"""A member takes the export of an ended sandbox along, once somebody else has agreed to that.

Who is somebody else: the owner agrees by ending the sandbox, another member or an operator with a button. Time agrees
to nothing, nor does an operator who ends a sandbox. Whoever takes all others out of a sandbox, or never invites
anybody, is alone and needs the operator.
"""

from __future__ import annotations

from dataclasses import dataclass

from base.errors import LeerlabError
from ledger.sandboxes import NotPossibleNow, SandboxLedger, SandboxState, sandbox_for_member
from ledger.store import Ledger
from sandboxes.airlock.leaving import Leaving, NotWhatWasAgreed
from sandboxes.folders import Folders
from sandboxes.keeper import EXPORTED
from sandboxes.life import OWNER

RELEASED, TAKEN = "sandbox.released", "sandbox.taken"


@dataclass(frozen=True)
class Export:
    """The export of a sandbox.

    Args:
        sha256: its hash; None before it is packed.
        agreed: pseudonyms of who agreed that others take it.
        members: pseudonyms of the sandbox's members.
    """

    sha256: str | None
    agreed: frozenset[str]
    members: tuple[str, ...]

    def may_leave_with(self, person: str) -> bool:
        """Whether somebody else has agreed that this person takes it."""
        return bool(self.agreed - {person})

    @property
    def waits_for_operator(self) -> bool:
        """Whether no member is left who could agree that another takes it."""
        return self.sha256 is not None and len(self.members) < 2 and not self.agreed - set(self.members)


class Taking:
    """The exports of all sandboxes.

    Args:
        sandboxes: says who is a member.
        ledger: the site's ledger, with each export's hash and who agreed.
    """

    def __init__(self, sandboxes: SandboxLedger, ledger: Ledger) -> None:
        self._sandboxes = sandboxes
        self._ledger = ledger

    def export(self, sandbox: str) -> Export:
        """What is known of a sandbox's export; who may know it is the caller's to check.

        Args:
            sandbox: its id.
        """
        made = self._ledger.entries(action=EXPORTED, subject=sandbox)
        sha256 = made[-1].details["sha256"] if made else None
        ended = self._ledger.entries(action=f"sandbox.{SandboxState.ENDING}", subject=sandbox)
        agreed = {entry.actor for entry in ended if entry.details.get("reason") == OWNER}
        # To this very export: a yes to another one is none.
        buttons = self._ledger.entries(action=RELEASED, subject=sandbox)
        agreed |= {entry.actor for entry in buttons if entry.details["sha256"] == sha256}
        return Export(sha256, frozenset(agreed), tuple(self._sandboxes.members(sandbox)))

    def release(self, sandbox: str, by: str, *, operator: bool = False) -> None:
        """Agree that others than oneself take the export; agreeing twice is agreeing once.

        Args:
            sandbox: its id.
            by: pseudonym of a member, or of an operator.
            operator: whether `by` acts as an operator.

        Raises:
            NoSuchSandbox: there is none, or the person is no member of it.
            NotPossibleNow: there is no export (any more).
        """
        found, export = self._sandboxes.get(sandbox), self.export(sandbox)
        with self._ledger.transaction() as connection:
            if not operator:
                found = sandbox_for_member(connection, sandbox, by)
            if found.state is not SandboxState.ENDING or export.sha256 is None:
                raise _no_export()
            if by not in export.agreed:
                details = {"sha256": export.sha256, "as": "operator" if operator else "member"}
                self._ledger.append(connection, by, RELEASED, sandbox, details)

    def fetch(self, folders: Folders, person: str) -> Leaving:
        """The export, opened, once it is known to be the one that was made; each time is recorded with its hash.

        Args:
            folders: of the sandbox.
            person: pseudonym of the member who takes it.

        Returns:
            The open file, which the caller closes.

        Raises:
            NoSuchSandbox: the person is no member.
            NotPossibleNow: there is no export (any more), or nobody else has agreed.
            LeerlabError: the export is not the one that was made.
        """
        sandbox = folders.sandbox
        self._sandboxes.get_for(sandbox, person)
        export = self.export(sandbox)
        if export.sha256 is None:
            raise _no_export()
        if not export.may_leave_with(person):
            raise NotPossibleNow("Nobody else has agreed to this.", do="Ask another member, or the operator.")
        try:
            leaving = Leaving(folders.export, export.sha256)
        except FileNotFoundError as error:
            raise _no_export() from error
        except NotWhatWasAgreed as error:
            raise LeerlabError(
                "The export is not the one that was made.", "It does not leave.", "Tell the operator."
            ) from error
        try:
            with self._ledger.transaction() as connection:
                # Hashing takes a while: what was true before it has to be true still.
                if sandbox_for_member(connection, sandbox, person).state is not SandboxState.ENDING:
                    raise _no_export()
                self._ledger.append(connection, person, TAKEN, sandbox, {"sha256": export.sha256})
        except BaseException:
            leaving.close()
            raise
        return leaving


def _no_export() -> NotPossibleNow:
    return NotPossibleNow("There is no export of this sandbox.", "It is not packed yet, or it was erased.")
