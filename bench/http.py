"""One request for a server, and the wait until the server itself answers: the same for every side of a benchmark."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from bench.errors import BenchmarkFailed

POLL_SECONDS = 0.02
"""Between two looks at whether the server answers; the same on all sides."""
LIFE_SECONDS = 2.0
START_SECONDS = 90.0
STOP_SECONDS = 60.0
_REQUEST_SECONDS = 30.0


@dataclass(frozen=True)
class HubSide:
    """One hub and one server of one person on it.

    Args:
        name: how the side is called in the result.
        address: `http://127.0.0.1:port` of its proxy.
        hub_host: value of the Host header for the hub.
        server_host: value of the Host header for the server.
        user: the person's name.
        server: name of the server; empty for the default one.
        token: token that may start and stop it.
        log: where to look when it fails.
    """

    name: str
    address: str
    hub_host: str
    server_host: str
    user: str
    server: str
    token: str
    log: str

    @property
    def _api(self) -> str:
        server = f"servers/{self.server}" if self.server else "server"
        return f"{self.address}/hub/api/users/{self.user}/{server}"

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"token {self.token}", "Host": self.hub_host}

    def start(self) -> float:
        """Start the server.

        Returns:
            Seconds from the request to the first HTTP 200 of the server's `api` through the proxy.

        Raises:
            BenchmarkFailed: the hub refused, or the server does not answer in time.
        """
        server = f"{self.server}/" if self.server else ""
        url = f"{self.address}/user/{self.user}/{server}api"
        with httpx.Client(timeout=_REQUEST_SECONDS, trust_env=False) as client:
            begin = time.monotonic()
            answer = client.post(self._api, headers=self._headers, json={})
            if answer.status_code not in (201, 202):
                raise self._failed(f"its hub answered {answer.status_code} to the request for a server")
            return wait_for_server(
                client,
                url,
                {"Host": self.server_host},
                begin=begin,
                failed=self._failed,
                lives=lambda: bool(self._standing(client)),
            )

    def stop(self) -> None:
        """Stop the server, and wait until its hub says that it is gone.

        Raises:
            BenchmarkFailed: it does not stop in time.
        """
        with httpx.Client(timeout=_REQUEST_SECONDS, trust_env=False) as client:
            until = time.monotonic() + STOP_SECONDS
            while time.monotonic() < until:
                # 202: it is stopping; 204: it has stopped; 404: no such server, 400: not running or still starting.
                answer = client.delete(self._api, headers=self._headers)
                if answer.status_code in (204, 404, 400) and not self._standing(client):
                    return
                time.sleep(0.1)
        raise self._failed("its server did not stop")

    def _standing(self, client: httpx.Client) -> str:
        """What the hub says of the server: `ready`, what it is doing with it (`spawn`, `stop`), or nothing."""
        answer = client.get(f"{self.address}/hub/api/users/{self.user}", headers=self._headers)
        if answer.status_code != 200:
            raise self._failed(f"its hub answered {answer.status_code} to a question about the person")
        server = (answer.json().get("servers") or {}).get(self.server) or {}
        return "ready" if server.get("ready") else str(server.get("pending") or "")

    def _failed(self, what: str) -> BenchmarkFailed:
        return BenchmarkFailed(f"{self.name}: {what}.", "There is no figure to compare.", f"Its log: {self.log}")


def wait_for_server(
    client: httpx.Client,
    url: str,
    headers: dict[str, str],
    *,
    begin: float,
    failed: Callable[[str], BenchmarkFailed],
    lives: Callable[[], bool],
) -> float:
    """Ask until a Jupyter server answers, and see that it is one.

    Args:
        client: to ask with.
        url: the server's `api`.
        headers: of each request.
        begin: when the time began to count, on the monotonic clock.
        failed: makes the error from what happened.
        lives: whether it may still come; asked every `LIFE_SECONDS`.

    Returns:
        Seconds from `begin` to the answer.

    Raises:
        BenchmarkFailed: no Jupyter server answers in time.
    """
    last, look = "nothing", begin + LIFE_SECONDS
    while (now := time.monotonic()) - begin < START_SECONDS:
        try:
            answer = client.get(url, headers=headers)
        except httpx.TransportError as error:
            last = repr(error)
        else:
            seconds = time.monotonic() - begin
            if answer.status_code == 200 and "version" in answer.json():
                return seconds
            last = str(answer.status_code)
        if now > look:
            look = now + LIFE_SECONDS
            if not lives():
                raise failed(f"its server ended before it answered (the last answer was {last})")
        time.sleep(max(0.0, now + POLL_SECONDS - time.monotonic()))
    raise failed(f"no server answered within {START_SECONDS:.0f} s (the last answer was {last})")
