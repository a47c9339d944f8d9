"""Why somebody is not let in: a reason code for the record, and which page the person sees."""

from __future__ import annotations

from enum import Enum


class Page(str, Enum):
    """The pages about a login that did not work; each has the sentences `<value>.what`, `.means` and `.do`."""

    NO_ACCESS = "login.no-access"
    AGAIN = "login.again"
    CANCELLED = "login.cancelled"
    SILENT = "login.silent"
    DISTRUSTED = "login.distrusted"
    UNRECORDED = "login.unrecorded"


class Reason(str, Enum):
    """What was found; never more than this reaches the record."""

    NO_GROUP = "no-group"
    STATE_MISSING = "state-missing"
    STATE_OTHER = "state-mismatch"
    STATE_USED = "state-used"
    STATE_OLD = "state-too-old"
    CANCELLED = "cancelled"
    PROVIDER_ERROR = "provider-error"
    UNREACHABLE = "provider-unreachable"
    DISCOVERY = "discovery-unusable"
    CODE = "code-refused"
    ANSWER = "answer-unusable"
    DUPLICATE = "claims-duplicate"
    TOO_LARGE = "claims-too-large"
    TOKEN_MISSING = "token-missing"  # noqa: S105  # a reason, not a secret
    TOKEN_FORM = "token-malformed"  # noqa: S105
    ALGORITHM = "token-algorithm"
    KEY = "token-key-unknown"
    SIGNATURE = "token-signature"
    ISSUER = "token-issuer"
    AUDIENCE = "token-audience"
    NONCE = "token-nonce"
    EXPIRED = "token-expired"
    TIME = "token-time"
    CLAIMS = "token-claims"
    OTHER_SUBJECT = "userinfo-other-subject"
    SUBJECT = "subject-unusable"
    OTHER_ISSUER = "callback-other-issuer"
    LEDGER = "ledger-unavailable"

    @property
    def page(self) -> Page:
        """What the person sees."""
        return _PAGES.get(self, Page.DISTRUSTED)


_PAGES = {
    Reason.NO_GROUP: Page.NO_ACCESS,
    Reason.STATE_MISSING: Page.AGAIN,
    Reason.STATE_OTHER: Page.AGAIN,
    Reason.STATE_USED: Page.AGAIN,
    Reason.STATE_OLD: Page.AGAIN,
    Reason.CODE: Page.AGAIN,
    Reason.CANCELLED: Page.CANCELLED,
    Reason.PROVIDER_ERROR: Page.SILENT,
    Reason.UNREACHABLE: Page.SILENT,
    Reason.DISCOVERY: Page.SILENT,
    Reason.LEDGER: Page.UNRECORDED,
}

_STATUS = {Page.AGAIN: 400, Page.SILENT: 503, Page.UNRECORDED: 503}


class LoginRefused(Exception):  # noqa: N818  # a verdict, not a fault
    """A login is refused.

    Args:
        reason: what was found.
        subject: whom it is about, where that is known.
    """

    def __init__(self, reason: Reason, subject: str = "") -> None:
        self.reason = reason
        self.subject = subject
        super().__init__(reason.value)

    @property
    def status(self) -> int:
        """Status of the page."""
        return _STATUS.get(self.reason.page, 403)
