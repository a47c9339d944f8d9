"""The one thing that a job may tell the hub: on which port its server answers, once, with the start's own secret.

Where servers are on a network, the answer is the certificate with which the server is offered there.

Importing this module removes BatchSpawner's own handler, which sets any attribute of a spawner that a server's token
names. It must be gone from the list before JupyterHub reads it, which is after it imported the spawner class.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import batchspawner.api
from jupyterhub import apihandlers
from tornado.web import HTTPError, RequestHandler, stream_request_body

BODY_LIMIT = 64
_SCHEME = "start "
_LEAST_PORT, _MOST_PORT = 1024, 65535
_WHOLE = re.compile(r"^[1-9][0-9]{3,4}$")


@dataclass
class Expected:
    """A start that may report.

    Args:
        is_secret: compares a secret in constant time.
        accept: stores the port; False when the port cannot be this job's.
        port: what it has reported; None before.
        certify: gives the server's certificate (`spawners.certificates`), None while the hub does not know where its
            node is; None: servers need none.
    """

    is_secret: Callable[[str], bool]
    accept: Callable[[int], bool]
    port: int | None = None
    certify: Callable[[], Awaitable[Mapping[str, str] | None]] | None = None


EXPECTED: dict[str, Expected] = {}
"""The starts of this hub that may report, by start id."""


def read_port(body: bytes) -> int:
    """The port of a report.

    Args:
        body: exactly `{"port": N}` with N from 1024 to 65535, written as a plain whole number.

    Raises:
        ValueError: it is anything else.
    """

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        if [key for key, _ in items] != ["port"]:
            raise ValueError("exactly one key, port")
        return dict(items)

    def whole(text: str) -> int:
        if not _WHOLE.match(text):
            raise ValueError("not a port")
        return int(text)

    def refuse(_text: str) -> Any:
        raise ValueError("not a whole number")

    try:
        value = json.loads(body, object_pairs_hook=pairs, parse_int=whole, parse_float=refuse, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("nested") from error
    port = value["port"] if isinstance(value, dict) else None
    if type(port) is not int or not _LEAST_PORT <= port <= _MOST_PORT:
        raise ValueError("not a port")
    return port


@stream_request_body
class StartReport(RequestHandler):
    """POST /api/leerlab/starts/<start id>: 204 accepted, 400 no port, 403 wrong secret, 404 no such start, 409 burnt.

    200 with a certificate is what 204 is where servers are on a network; 503 that the hub cannot make it yet.

    A job that did not hear the first answer, because the hub was killed, says the same port again and gets 204 again.
    409 is for another port: a secret that somebody else has got hold of, or a job that Slurm has run a second time.
    Not one of JupyterHub's own handlers: it knows no cookies, tokens, users or sessions, so that none can be abused.
    """

    def initialize(self) -> None:
        self._body = bytearray()
        self._expected: Expected | None = None

    def check_xsrf_cookie(self) -> None:
        """No cookie has a meaning here, so there is nothing that another site could forge."""

    def set_default_headers(self) -> None:
        """Nothing to say about the hub."""
        self.clear_header("Server")

    def write_error(self, status_code: int, **_kwargs: Any) -> None:
        """Only the status: no reason, no version, no page."""
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"status": status_code}))

    def prepare(self) -> None:
        """Decide by the headers alone whether the body may come."""
        if self.request.method != "POST":
            return
        expected = EXPECTED.get(self.path_args[0])
        if expected is None:
            raise HTTPError(404)
        given = self.request.headers.get("Authorization", "")
        if not given.startswith(_SCHEME) or not expected.is_secret(given[len(_SCHEME) :]):
            raise HTTPError(403)
        if int(self.request.headers.get("Content-Length", "0")) > BODY_LIMIT:
            raise HTTPError(400)
        # For a body that does not say how long it is: the connection is closed when it gets longer.
        connection: Any = self.request.connection
        connection.set_max_body_size(BODY_LIMIT)
        self._expected = expected

    def data_received(self, chunk: bytes) -> None:
        """Take the body's bytes; none come above the limit."""
        self._body += chunk[: BODY_LIMIT + 1]

    async def post(self, _start: str) -> None:
        """Take the port."""
        expected = self._expected
        if expected is None:
            raise HTTPError(403)
        try:
            port = read_port(bytes(self._body))
        except ValueError as error:
            raise HTTPError(400) from error
        # Two reports may have passed `prepare` together: the first whole one counts.
        if expected.port not in (None, port):
            raise HTTPError(409)
        if expected.port is None and not expected.accept(port):
            raise HTTPError(400)
        expected.port = port
        if expected.certify is None:
            self.set_status(204)
            return
        papers = await expected.certify()
        if papers is None:
            raise HTTPError(503)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(dict(papers)))


def _stock(handler: object) -> bool:
    return isinstance(handler, type) and issubclass(handler, batchspawner.api.BatchSpawnerAPIHandler)


def install(handlers: list[Any]) -> None:
    """Take BatchSpawner's handler out of JupyterHub's list, in place, and put ours in.

    Args:
        handlers: `jupyterhub.apihandlers.default_handlers`.

    Raises:
        RuntimeError: the stock handler is still there.
    """
    handlers[:] = [entry for entry in handlers if not _stock(entry[1]) and entry[1] is not StartReport]
    handlers.append((r"/api/leerlab/starts/([0-9a-f]{16})", StartReport))
    if any(_stock(entry[1]) or "batchspawner" in str(entry[0]) for entry in handlers):
        raise RuntimeError("BatchSpawner's own API handler is still registered: the hub must not start.")


install(apihandlers.default_handlers)
