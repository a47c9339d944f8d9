"""One-time keys that admit a browser to the demo login: stored as hashes, burnt by unlinking, gone after a day.

A key is 192 random bits. The state folder holds only its SHA-256, as a file name, so reading the folder gives no key.
"""

from __future__ import annotations

import hmac
import os
import secrets
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from base.paths import State
from hub_config.site import Site

LIFETIME = timedelta(hours=24)
_LONGEST = 200


def _folder(state: State) -> Path:
    folder = state.secrets / "login-keys"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _file(state: State, key: str) -> Path:
    return _folder(state) / sha256(key.encode()).hexdigest()


def mint(state: State, *, now: datetime | None = None) -> str:
    """A new key; also removes keys that have expired.

    Args:
        state: the site's state folder.
        now: the time it is, with time zone; the clock's when not given.
    """
    moment = now or datetime.now(UTC)
    for path in _folder(state).iterdir():
        if _expired(path, moment):
            path.unlink(missing_ok=True)
    key = secrets.token_urlsafe(24)
    # Linked into place whole: a reader never sees a key file without its expiry.
    temporary = _folder(state) / f".{secrets.token_hex(8)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write((moment + LIFETIME).isoformat())
    temporary.rename(_file(state, key))
    return key


def redeem(state: State, key: str, *, now: datetime | None = None) -> bool:
    """Burn the key. True for exactly one caller, and only when the key exists and has not expired.

    Args:
        state: the site's state folder.
        key: what the browser gave; anything at all.
        now: the time it is, with time zone; the clock's when not given.
    """
    if not key.isascii() or not 0 < len(key) <= _LONGEST:
        return False
    path = _file(state, key)
    expired = _expired(path, now or datetime.now(UTC))
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return not expired


def _expired(path: Path, now: datetime) -> bool:
    """Whether the key file's time is over; unreadable counts as over."""
    try:
        return datetime.fromisoformat(path.read_text()) <= now
    except FileNotFoundError:
        return True
    except ValueError:
        # A temporary file of a `mint` under way, or one that a crash left behind.
        return datetime.fromtimestamp(path.stat().st_mtime, UTC) + LIFETIME <= now


def link(address: str, key: str) -> str:
    """The address to open in a browser. The key is in the fragment, which browsers send to no server and no log.

    Args:
        address: the site's public address, such as `http://leerlab.localhost:8000`.
        key: from `mint`.
    """
    return f"{address}/hub/login#key={key}"


def login_link(site: Site, state: State) -> str:
    """The address to give to a person: with a fresh key where the demo login asks for one.

    Args:
        site: the checked settings.
        state: the site's state folder.
    """
    if site.login.kind != "demo":
        return f"{site.hub.address}/hub/login"
    return link(site.hub.address, mint(state))


def run_token(state: State) -> str:
    """The name of this run of the site: made at first use, gone with the folder `run/` after `down`."""
    path = state.run / "login-run"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text()
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(16))
    return path.read_text()


def is_this_run(state: State, token: str) -> bool:
    """Whether a browser's cookie was given in this run of the site."""
    return bool(token) and hmac.compare_digest(token.encode(), run_token(state).encode())
