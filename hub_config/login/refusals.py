"""Why somebody is not let in: a reason code for the record, and which page the person sees."""

from __future__ import annotations

from enum import StrEnum


class Page(StrEnum):
    """The pages about a login that did not work; each has the sentences `<value>.what`, `.means` and `.do`."""

    NO_ACCESS = "login.no-access"
    AGAIN = "login.again"
    CANCELLED = "login.cancelled"
    SILENT = "login.silent"
    DISTRUSTED = "login.distrusted"
    UNRECORDED = "login.unrecorded"

    @property
    def status(self) -> int:
        """HTTP status of the page."""
        return {Page.AGAIN: 400, Page.SILENT: 503, Page.UNRECORDED: 503}.get(self, 403)


class Reason(StrEnum):
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
    ACCOUNT = "account-somebody-elses"

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


class LoginRefused(Exception):
    """A login is refused.

    Args:
        reason: what was found.
        subject: whom it is about, where that is known.
    """

    def __init__(self, reason: Reason, subject: str = "") -> None:
        self.reason = reason
        self.subject = subject
        super().__init__(reason.value)
