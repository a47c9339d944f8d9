"""The server's API token in the hub's database: found by its id, so that it can be revoked after a restart too."""

from __future__ import annotations

from typing import Any

from jupyterhub import orm


def token_id(session: Any, token: str) -> int | None:
    """The database id of a token that JupyterHub has just made.

    Args:
        session: the hub's database session.
        token: the token itself.
    """
    found = orm.APIToken.find(session, token) if token else None
    return None if found is None else int(found.id)


def revoke(session: Any, identity: int | None, owner: Any) -> bool:
    """Delete a server's token; it is dead from the next request on.

    Args:
        session: the hub's database session; the caller commits.
        identity: the token's id, or None.
        owner: the person's row in the database: an id of somebody else's token is left alone.

    Returns:
        Whether a token was deleted.
    """
    token = session.get(orm.APIToken, identity) if identity is not None else None
    if token is None or token.user is not owner:
        return False
    session.delete(token)
    return True
