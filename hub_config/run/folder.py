"""The site's state folder: made and known to be writable, or refused with a reason."""

from __future__ import annotations

import grp
import os

from base.errors import LeerlabError
from base.paths import State


def make_state(state: State, people: str | None = None) -> None:
    """Make the state folder.

    Args:
        state: where.
        people: unix group of the accounts of people, whose jobs reach sockets in it; None: there are none.

    Raises:
        LeerlabError: this account may not, or there is no room.
    """
    try:
        if people is None:
            state.make()
        else:
            group = _group(people)
            state.make(group)
            _let_through_to(state, group)
        probe = state.run / "writable"
        probe.write_text("yes")
        probe.unlink()
    except OSError as error:
        raise LeerlabError(
            f"The state folder {state.root} cannot be written: {error.strerror}.",
            "Nothing was started: Leerlab keeps its sockets, keys and people's work there.",
            "Mend its owner, permissions or room, or set XDG_STATE_HOME to another folder.",
        ) from error


def _let_through_to(state: State, group: int) -> None:
    """The account's own folders on the way to the state folder can be passed through, and not be read."""
    for folder in state.root.parents:
        about = folder.stat()
        if about.st_uid != os.geteuid():
            return
        if about.st_gid != group or about.st_mode & 0o777 != 0o710:
            os.chown(folder, -1, group)
            folder.chmod(0o710)


def _group(name: str) -> int:
    """Number of a group of which this process's account is a member.

    Raises:
        LeerlabError: it is not there, or this account is no member.
    """
    try:
        number = grp.getgrnam(name).gr_gid
    except KeyError:
        number = None
    if number is None or number not in {os.getgid(), *os.getgroups()}:
        raise LeerlabError(
            f"The unix group {name} {'does not exist' if number is None else 'does not have this account in it'}.",
            "Jobs of people could not reach the hub, so nothing was started.",
            "Run leerlab accounts make as root; it makes the group of made accounts, and adds the site's account.",
        )
    return number
