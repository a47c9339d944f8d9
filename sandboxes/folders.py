"""Where a sandbox's files are: named here and nowhere else."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from base.paths import State

SHARED = PurePosixPath("/srv/sandbox")
"""Where the shared files are inside the wall; a link `sandbox` in each member's home leads there."""
ABOUT = ".leerlab-sandbox.json"
INCOMING = "incoming"


@dataclass(frozen=True)
class Folders:
    """The folders of one sandbox, private to the service account.

    Args:
        state: the site's state folder.
        sandbox: the sandbox's id.
    """

    state: State
    sandbox: str

    @property
    def root(self) -> Path:
        return self.state.sandboxes / self.sandbox

    @property
    def files(self) -> Path:
        """What the members share."""
        return self.root / "files"

    @property
    def incoming(self) -> Path:
        """Where files that passed the quarantine appear."""
        return self.files / INCOMING

    def home(self, person: str) -> Path:
        """A member's own home inside the wall: settings and the like."""
        return self.root / "members" / person

    @property
    def quarantine(self) -> Path:
        return self.root / "quarantine"

    @property
    def outgoing(self) -> Path:
        return self.root / "outgoing"

    @property
    def export(self) -> Path:
        """The tar file of an ended sandbox."""
        return self.root / "export" / f"{self.sandbox}.tar"

    @property
    def egress_log(self) -> Path:
        return self.root / "egress.log"

    def make(self) -> None:
        """Create the folders."""
        for folder in (self.root, self.files, self.incoming, self.quarantine, self.outgoing, self.root / "members",
                       self.export.parent):  # fmt: skip
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def make_home(self, person: str) -> Path:
        """Create a member's home with its link to the shared files; whatever the member made of that stays."""
        home = self.home(person)
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        link = home / "sandbox"
        if not os.path.lexists(link):
            link.symlink_to(SHARED)
        return home
