"""How long a server may still run, asked and lengthened by the server itself with its own token.

`GET /api/leerlab/time` tells, `POST /api/leerlab/time` lengthens by one step of the profile's `extend`. Which server it
is comes from the token alone, and how often it has been lengthened from the hub's database: nothing is taken from a
request. The limit itself is Slurm's (decision 6).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from jupyterhub.apihandlers.base import APIHandler
from tornado.web import HTTPError

from cluster.errors import SlurmRefused, SlurmUnavailable

if TYPE_CHECKING:
    from spawners.spawner import LeerlabSpawner

PATH = r"/api/leerlab/time"


@dataclass(frozen=True)
class TimeLeft:
    """What is known of a server's end.

    Args:
        ends: when Slurm ends it; None while Slurm does not tell.
        by: seconds that one more step would add; 0: none is allowed.
        left: how many steps are left.
    """

    ends: datetime | None
    by: int = 0
    left: int = 0

    def to_json(self) -> str:
        """As the answer."""
        ends = self.ends.isoformat() if self.ends else None
        return json.dumps({"ends": ends, "by": self.by, "left": self.left})


class ServerTime(APIHandler):  # type: ignore[misc]  # jupyterhub has no types
    """200 with a `TimeLeft`; 403 no server's token, 409 no step is left or nothing runs, 503 Slurm does not answer."""

    async def get(self) -> None:
        """Tell."""
        self._answer(await self._server().time_left())

    async def post(self) -> None:
        """Lengthen by one step."""
        server = self._server()
        try:
            longer = await server.lengthen()
        except SlurmUnavailable as error:
            raise HTTPError(503, "Slurm does not answer.") from error
        except SlurmRefused as error:
            self.log.warning("Slurm does not lengthen %s: %s", server._log_name, error)
            raise HTTPError(409, "Slurm refuses.") from error
        if longer is None:
            raise HTTPError(409, "No step is left.")
        self._answer(longer)

    def _server(self) -> LeerlabSpawner:
        token, user = self.get_token(), self.current_user
        if token is not None and user is not None and getattr(user, "kind", "") == "user":
            for spawner in user.spawners.values():
                if spawner.is_own_token(token.id):
                    return spawner  # type: ignore[no-any-return]
        raise HTTPError(403, "Only a running server may ask, with its own token.")

    def _answer(self, told: TimeLeft) -> None:
        self.set_header("Content-Type", "application/json")
        self.write(told.to_json())


def install(handlers: list[Any]) -> None:
    """Put the handler into JupyterHub's list, once.

    Args:
        handlers: `jupyterhub.apihandlers.default_handlers`.
    """
    handlers[:] = [entry for entry in handlers if entry[0] != PATH]
    handlers.append((PATH, ServerTime))
