"""A member takes the export of an ended sandbox along: not who ended it, as long as there is a second member."""

from __future__ import annotations

import hashlib
from pathlib import Path

from base.errors import LeerlabError
from ledger.sandboxes import NotPossibleNow, SandboxLedger, SandboxState
from ledger.store import Ledger
from sandboxes.folders import Folders
from sandboxes.keeper import EXPORTED


class Taking:
    """The exports of all sandboxes.

    Args:
        sandboxes: says who is a member.
        ledger: the site's ledger, with each export's hash.
    """

    def __init__(self, sandboxes: SandboxLedger, ledger: Ledger) -> None:
        self._sandboxes = sandboxes
        self._ledger = ledger

    def may(self, sandbox: str, person: str) -> bool:
        """Whether a member may take the export: the second pair of eyes is another than who ended the sandbox.

        Args:
            sandbox: its id.
            person: pseudonym of the member.

        Raises:
            NoSuchSandbox: the person is no member.
        """
        self._sandboxes.get_for(sandbox, person)
        ended = self._ledger.entries(action=f"sandbox.{SandboxState.ENDING}", subject=sandbox)
        return not ended or ended[-1].actor != person or self._sandboxes.members(sandbox) == [person]

    def fetch(self, folders: Folders, person: str) -> Path:
        """The export, once it is known to be the one that was made; each time is recorded with its hash.

        Args:
            folders: of the sandbox.
            person: pseudonym of the member.

        Raises:
            NoSuchSandbox: the person is no member.
            NotPossibleNow: there is no export (any more), or another member has to fetch it.
            LeerlabError: the export is not the one that was made.
        """
        sandbox = folders.sandbox
        found = self._sandboxes.get_for(sandbox, person)
        made = self._ledger.entries(action=EXPORTED, subject=sandbox)
        if found.state is not SandboxState.ENDING or not made or not folders.export.is_file():
            raise NotPossibleNow("There is no export of this sandbox.", "It is not packed yet, or it was erased.")
        if not self.may(sandbox, person):
            raise NotPossibleNow("You ended this sandbox yourself.", "Another member has to take the export.")
        with folders.export.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != made[-1].details["sha256"]:
            raise LeerlabError("The export is not the one that was made.", "It does not leave.", "Tell the operator.")
        self._ledger.record(person, "sandbox.taken", sandbox, {"sha256": digest})
        return folders.export
