"""How long this server may still run: asked of the hub with the server's own token, and told to the lab's pages.

`leerlab/time` is what the front end (labextensions/leerlab-time) asks once a minute; however many tabs ask, the hub is
asked once in `SELDOM_SECONDS`, and in the last half hour once in `OFTEN_SECONDS`. The answer tells, too, how much room
the home has (`leerlab_lab.home_size`): the other reason for which a server is ended.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from tornado import web
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPResponse

from leerlab_lab.home_size import Home, HomeSize

SELDOM_SECONDS, OFTEN_SECONDS, LAST_SECONDS = 300.0, 50.0, 1800.0
ANSWER_SECONDS = 20.0


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Jupyter Server's way to find the extension."""
    return [{"module": "leerlab_lab.walltime"}]


def _load_jupyter_server_extension(server: ServerApp) -> None:
    """Add the address `leerlab/time`, where there is a hub to ask."""
    address, token = os.environ.get("JUPYTERHUB_API_URL"), os.environ.get("JUPYTERHUB_API_TOKEN")
    if not address or not token:
        return
    base = server.web_app.settings["base_url"]
    asker = Asker(f"{address}/leerlab/time", token)
    given = {"asker": asker, "home_size": HomeSize.here()}
    server.web_app.add_handlers(".*$", [(url_path_join(base, "leerlab/time"), TimeHandler, given)])


@dataclass(frozen=True)
class Told:
    """What the hub said.

    Args:
        ends: when the server is ended; None: it could not tell.
        by: seconds that one more step adds; 0: there is none.
        left: how many steps are left.
    """

    ends: datetime | None
    by: int
    left: int

    @classmethod
    def of(cls, body: bytes) -> Told:
        """Read the hub's answer.

        Raises:
            KeyError, TypeError, ValueError: it is not one.
        """
        raw = json.loads(body)
        return cls(datetime.fromisoformat(raw["ends"]) if raw["ends"] else None, int(raw["by"]), int(raw["left"]))

    @property
    def seconds(self) -> int | None:
        """How long it still is."""
        return None if self.ends is None else max(0, round((self.ends - datetime.now(UTC)).total_seconds()))


class Asker:
    """Asks the hub, seldom.

    Args:
        address: of the hub's API for this.
        token: the server's own.
    """

    def __init__(self, address: str, token: str) -> None:
        self._address, self._token = address, token
        self._told: Told | None = None
        self._asked = float("-inf")

    async def told(self) -> Told | None:
        """What the hub said last, asked anew when that is old; None when it never answered."""
        left = self._told.seconds if self._told else None
        oldest = SELDOM_SECONDS if left is not None and left > LAST_SECONDS else OFTEN_SECONDS
        if time.monotonic() - self._asked >= oldest:
            self._asked = time.monotonic()
            # Without an answer, what was said before still holds, and the page counts on.
            with suppress(HTTPClientError, OSError, KeyError, TypeError, ValueError):
                self._told = Told.of((await self._ask("GET")).body)
        return self._told

    async def lengthen(self) -> Told:
        """Ask for one more step.

        Raises:
            HTTPClientError: it is not given (409), or nobody answers.
            OSError: the hub cannot be reached.
        """
        self._told = Told.of((await self._ask("POST")).body)
        self._asked = time.monotonic()
        return self._told

    async def _ask(self, method: str) -> HTTPResponse:
        body = "" if method == "POST" else None
        headers = {"Authorization": f"token {self._token}"}
        return await AsyncHTTPClient().fetch(
            self._address, method=method, body=body, headers=headers, request_timeout=ANSWER_SECONDS
        )


class TimeHandler(APIHandler):
    """GET tells what is left; POST asks for more: 409 when there is none to give, 503 when nobody answers."""

    # That a page asks by itself is no sign that somebody is there.
    _track_activity = False

    def initialize(self, asker: Asker, home_size: HomeSize | None) -> None:
        """Take what asks the hub, and what measures the home."""
        self._asker, self._home_size = asker, home_size

    @web.authenticated
    async def get(self) -> None:
        """Tell."""
        told = await self._asker.told()
        self._tell(told, await self._home_size.found() if self._home_size is not None else None)

    @web.authenticated
    async def post(self) -> None:
        """Lengthen by one step."""
        try:
            told = await self._asker.lengthen()
        except HTTPClientError as error:
            raise web.HTTPError(409 if error.code == 409 else 503) from error
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise web.HTTPError(503) from error
        self._tell(told)

    def _tell(self, told: Told | None, home: Home | None = None) -> None:
        answer: dict[str, Any] = {"language": os.environ.get("LEERLAB_LANGUAGE", "nl")}
        if told is not None:
            answer |= {"seconds": told.seconds, "by": told.by, "left": told.left}
        if home is not None:
            answer["home"] = {"taken": home.taken, "size": home.size}
        self.finish(json.dumps(answer))
