"""How long the portal waits for the hub."""

from __future__ import annotations

from portal.hub import FOLLOW_SECONDS, STOP_SECONDS
from sandboxes.egress import LISTEN_SECONDS


def test_a_squid_that_does_not_start_keeps_no_sandbox_from_ending() -> None:
    """The hub waits for squid and servers before it says that a sandbox is empty, so the portal outlasts both."""
    assert FOLLOW_SECONDS > LISTEN_SECONDS + STOP_SECONDS
