"""What stops a request at the portal; each becomes a page that says what happened and what to do."""

from __future__ import annotations

from base.errors import LeerlabError


class Refused(LeerlabError):
    """A request that is not carried out.

    Args:
        status: the answer's HTTP status code.
        reason: names the page's text: `absent`, `not-yours`, `forged`, `too-large`, `wrong`, `unseen`.
        what: one sentence, for the log.
    """

    def __init__(self, status: int, reason: str, what: str) -> None:
        super().__init__(what)
        self.status = status
        self.reason = reason


class NotLoggedIn(LeerlabError):
    """There is no session, or the hub no longer knows its token."""


class HubSilent(LeerlabError):
    """The hub gave no answer, or none that says anything: who somebody is or what runs is not known now."""


def absent() -> Refused:
    """The same for what does not exist and for what is somebody else's."""
    return Refused(404, "absent", "No such page for this person.")


def not_yours(what: str) -> Refused:
    """A page that exists for others."""
    return Refused(403, "not-yours", what)
