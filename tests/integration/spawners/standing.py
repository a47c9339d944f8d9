"""Where a start or a server stands, asked of all who could know: Slurm, the hub and what the page shows."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx


def in_slurm(hub: Any, name: str) -> list[str]:
    """The states of the jobs of a person's present start."""
    start = hub.start_state(name).get("start")
    mark = f"{hub.settings['hub']}:{start['id']}" if start else None
    return [state for _, state, comment in hub.cluster.jobs() if comment == mark]


def answers(hub: Any, name: str) -> bool:
    """Whether the server itself answers through the proxy."""
    token = hub.api("POST", f"/users/{name}/tokens", {}).json()["token"]
    answer = httpx.get(f"{hub.public}/user/{name}/x", headers={"Authorization": f"token {token}"}, timeout=20)
    return answer.status_code == 200 and answer.json()["environment"]["JUPYTERHUB_USER"] == name


def runs(hub: Any, name: str, seconds: float = 150) -> None:
    """One job runs, the hub calls the server ready, and it answers."""
    hub.ready(name, seconds=seconds)
    assert in_slurm(hub, name) == ["R"]
    assert answers(hub, name)


def is_gone(hub: Any, name: str, job: int | None = None, seconds: float = 150) -> None:
    """The hub knows no server, its database no start, Slurm no job of it, and its address leads nowhere."""
    hub.until(lambda: not hub.server(name), seconds, f"no server of {name}")
    hub.until(lambda: "start" not in hub.start_state(name), seconds, f"no start of {name}")
    hub.until(lambda: job not in [number for number, _, _ in hub.cluster.jobs()], seconds, f"no job {job}")
    token = hub.api("POST", f"/users/{name}/tokens", {}).json()["token"]
    answer = httpx.get(f"{hub.public}/user/{name}/x", headers={"Authorization": f"token {token}"}, timeout=40)
    assert answer.status_code != 200


def job_of(hub: Any, name: str, seconds: float = 60) -> int:
    """The number of the job of a person's start, once the hub has stored it."""
    number: int = hub.until(lambda: hub.start_state(name).get("start", {}).get("job"), seconds, f"job of {name}")
    return number


def shown(hub: Any, name: str, code: str, seconds: float = 150) -> dict[str, Any]:
    """The page's event with this code, or one whose code begins so; the page waits for it."""
    seen = hub.events(name, lambda events: events[-1].get("code", "").startswith(code), seconds)
    found: dict[str, Any] = seen[-1]
    assert found.get("code", "").startswith(code), [event.get("code") for event in seen]
    return found


def failed(hub: Any, name: str, code: str, cause: Callable[[], object] = lambda: None, seconds: float = 120) -> str:
    """The start fails with this code on the page, leaves no job and no server, and the next one works.

    Args:
        hub, name: whose start.
        code: of the message; the tests' hub puts it before each sentence.
        cause: what makes it fail, done while the page is open.
        seconds: most that it may take.

    Returns:
        What the page said.
    """
    with ThreadPoolExecutor(1) as thread:
        page = thread.submit(hub.events, name, lambda events: events[-1].get("failed", False), seconds)
        cause()
        said = "\n".join(event.get("message", "") for event in page.result())
    assert f"[{code}]" in said, said
    is_gone(hub, name)
    assert hub.begin(name, "tiny").status_code in (201, 202)
    runs(hub, name)
    return said
