"""The site's state folder: made and known to be writable, or refused with a reason."""

from __future__ import annotations

from base.errors import LeerlabError
from base.paths import State


def make_state(state: State) -> None:
    """Make the state folder.

    Raises:
        LeerlabError: this account may not, or there is no room.
    """
    try:
        state.make()
        probe = state.run / "writable"
        probe.write_text("yes")
        probe.unlink()
    except OSError as error:
        raise LeerlabError(
            f"The state folder {state.root} cannot be written: {error.strerror}.",
            "Nothing was started: Leerlab keeps its sockets, keys and people's work there.",
            "Mend its owner, permissions or room, or set XDG_STATE_HOME to another folder.",
        ) from error
