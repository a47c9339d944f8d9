"""What a person reads when a login did not work: what happened, what it means, what to do."""

from __future__ import annotations

from base.messages import Message
from hub_config.login.refusals import Page


def sentences(page: Page, provider: str) -> tuple[Message, Message, Message]:
    """The three sentences of a page.

    Args:
        page: which one.
        provider: what the provider is called, in the language of the request.
    """
    named = {"provider": provider}
    return {
        Page.NO_ACCESS: (
            Message("login.no-access.what", named),
            Message("login.no-access.means", named),
            Message("login.no-access.do"),
        ),
        Page.AGAIN: (
            Message("login.again.what", named),
            Message("login.again.means", named),
            Message("login.again.do"),
        ),
        Page.CANCELLED: (
            Message("login.cancelled.what", named),
            Message("login.cancelled.means", named),
            Message("login.cancelled.do"),
        ),
        Page.SILENT: (
            Message("login.silent.what", named),
            Message("login.silent.means", named),
            Message("login.silent.do"),
        ),
        Page.DISTRUSTED: (
            Message("login.distrusted.what", named),
            Message("login.distrusted.means", named),
            Message("login.distrusted.do"),
        ),
        Page.UNRECORDED: (
            Message("login.unrecorded.what", named),
            Message("login.unrecorded.means", named),
            Message("login.unrecorded.do"),
        ),
    }[page]
