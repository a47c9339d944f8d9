"""Which addresses a provider may have: https, or plain http on this machine's own loopback."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def why_not(address: str) -> str:
    """What is wrong with the address of a provider; empty when nothing is.

    Args:
        address: an issuer, or an endpoint that a provider names.
    """
    if not address.isascii() or any(letter <= " " or letter in "\\\x7f" for letter in address):
        return "has characters that an address has not"
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not an address"
    faults = {
        "is not an address of a web server": parts.scheme not in ("https", "http") or not host,
        "holds a name or password": parts.username is not None or parts.password is not None,
        "has a fragment": "#" in address,
        "is not encrypted": parts.scheme == "http" and not is_loopback(host or ""),
    }
    return next((fault for fault, found in faults.items() if found), "")


def is_loopback(host: str) -> bool:
    """Whether a host is an address of this machine only; names are not looked up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
