"""A class comes in: how long until the servers are ready that everybody asks for at about the same moment."""

from __future__ import annotations

import asyncio
import math
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from base.paths import Installation
from base.ports import LOOPBACK, free_ports
from bench.errors import BenchmarkFailed
from bench.light_hub import HUB_ID, plan
from bench.light_hub import facility as facility_of
from bench.light_hubs import POLLS, PRODUCT, LightHub, forget, light_hub, peer
from bench.light_slurm import ROOM, LightSlurm, light_slurm
from bench.result import Result
from bench.spawn_latency import FOLDER, say
from cluster.commands import Slurm
from spawners.starts import Start, utcnow
from spawners.submission import inside_environment, job_folder, job_request, task_of

NAME = "class-start"
PEOPLE = 100
WITHIN_SECONDS = 10.0
"""All ask within so many seconds, evenly."""
GOAL = 1.3
PART = 0.95
MOST_SECONDS = 600.0
"""After which a server that is not ready counts as one that failed."""
_LOOK_SECONDS = 0.25
_BODY = 4096


@dataclass(frozen=True)
class ClassStart:
    """One class on one side.

    Args:
        seconds: from the first request until 95 of 100 were ready; `MOST_SECONDS` when they never were.
        failed: how many never were.
    """

    seconds: float
    failed: int


def run(n: int) -> Result:
    """Direct submission, product and both peers, one after another, each repetition.

    Args:
        n: repetitions.

    Raises:
        LeerlabError: a side does not start.
    """
    return measure(n, PEOPLE, WITHIN_SECONDS)


def measure(n: int, people: int, within: float) -> Result:
    """The same with another class.

    Args:
        n: repetitions.
        people: how many ask.
        within: seconds.
    """
    folder = Path(tempfile.mkdtemp(prefix=FOLDER, dir="/tmp"))
    found: dict[str, list[ClassStart]] = {}
    loads = []
    try:
        with light_slurm(folder) as slurm:
            for repetition in range(n):
                loads.append(os.getloadavg()[0])
                # Each side goes first as often as the others.
                sides: list[float | str | None] = ["limit", None, *POLLS]
                first = repetition % len(sides)
                for place, side in enumerate([*sides[first:], *sides[:first]]):
                    name = side if isinstance(side, str) else PRODUCT if side is None else peer(side)
                    say(f"{NAME}: {name}, {repetition + 1} of {n}")
                    if isinstance(side, str):
                        one = _direct(slurm, people, within)
                    else:
                        with light_hub(slurm, folder / f"hub-{repetition}-{place}", side) as hub:
                            one = _through(hub, people, within)
                    found.setdefault(name, []).append(one)
                    slurm.empty()
    except BaseException:
        say(f"the logs stay in {folder}")
        raise
    forget(folder)
    return _result(found, people, within, loads)


def part_of(times: Sequence[float], people: int) -> ClassStart:
    """The moment at which 95 of 100 were ready.

    Args:
        times: seconds from the first request at which each that became ready did.
        people: how many asked.
    """
    wanted = math.ceil(PART * people)
    reached = sorted(times)[wanted - 1] if len(times) >= wanted else MOST_SECONDS
    return ClassStart(reached, people - len(times))


def _through(hub: LightHub, people: int, within: float) -> ClassStart:
    """Ask a hub for everybody's server, and look at all of them in one question."""
    ready: dict[str, float] = {}
    asked = 0
    with hub.client() as client:
        begin = time.monotonic()
        while (now := time.monotonic() - begin) < MOST_SECONDS:
            while asked < people and asked * within / people <= time.monotonic() - begin:
                hub.ask_for(client, f"r{asked:03d}")
                asked += 1
            standing = hub.standing(client)
            now = time.monotonic() - begin
            for name in [name for name, how in standing.items() if how == "ready"]:
                ready.setdefault(name, now)
            # Asked for, neither ready nor on its way: failed.
            if asked == people and all(how == "ready" for how in standing.values()):
                break
            coming = asked * within / people - (time.monotonic() - begin) if asked < people else _LOOK_SECONDS
            time.sleep(min(max(coming, 0.0), _LOOK_SECONDS))
    return part_of(list(ready.values()), people)


def _direct(slurm: LightSlurm, people: int, within: float) -> ClassStart:
    """The same job scripts without a hub: submitted when a person would ask, ready when the job reports."""
    return part_of(asyncio.run(_submitted(slurm, people, within)), people)


async def _submitted(slurm: LightSlurm, people: int, within: float) -> list[float]:
    (port,) = free_ports(1)
    reports: dict[str, float] = {}
    everybody = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What a job asks of the hub: its version, and to take the port."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, path, _ = head.split(" ", 2)
            if method == "POST":
                reports.setdefault(path.rpartition("/")[2], time.monotonic())
                writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()
        if len(reports) == people:
            everybody.set()

    installation = Installation.current()
    report_to = f"tcp:{LOOPBACK}:{port}"
    surroundings = facility_of(slurm.state, slurm.conf, report_to, installation.code, frozenset({port}))
    commands = Slurm(slurm.conf)
    server = await asyncio.start_server(answer, LOOPBACK, port, limit=_BODY * 16)
    async with server:
        begin = time.monotonic()

        async def one(number: int) -> None:
            await asyncio.sleep(max(0.0, begin + number * within / people - time.monotonic()))
            name = f"r{number:03d}"
            start, secret = Start.new(ROOM, None, utcnow())
            job_folder(surroundings, start.id).mkdir(mode=0o700)
            base, prefix = f"/user/bench/{name}/", "/hub/"
            given = {
                "JUPYTERHUB_API_URL": f"http://{LOOPBACK}:{port}{prefix}api", "JUPYTERHUB_USER": "bench",
                "JUPYTERHUB_ACTIVITY_URL": f"http://{LOOPBACK}:{port}{prefix}api/users/bench/activity",
                "JUPYTERHUB_API_TOKEN": secrets.token_hex(16),
            }  # fmt: skip
            planned = plan(slurm.state, report_to, ROOM, installation.code, "bench")
            task = task_of(
                surroundings, planned, start, secret, person="bench",
                environment=inside_environment(planned, given, base, prefix), base=base, hub_prefix=prefix,
            )  # fmt: skip
            request = job_request(surroundings, planned, start, task)
            await commands.submit(replace(request, comment=start.comment(HUB_ID)))

        await asyncio.gather(*(one(number) for number in range(people)))
        try:
            await asyncio.wait_for(everybody.wait(), MOST_SECONDS)
        except TimeoutError:
            sys.stderr.write(f"{NAME}: {people - len(reports)} jobs submitted directly did not report\n")
    return [at - begin for at in reports.values()]


def _result(found: dict[str, list[ClassStart]], people: int, within: float, loads: Sequence[float]) -> Result:
    limit = found.pop("limit")
    if any(one.failed for one in limit):
        raise BenchmarkFailed("Jobs that were submitted directly did not report.", "There is no limit to compare with.")
    failed = {name: sum(one.failed for one in all_of) for name, all_of in found.items()}
    seconds = {name: [one.seconds for one in all_of] for name, all_of in found.items()}
    notes = [
        f"{people} light servers asked for within {within:g} s: until {PART:.0%} are ready, from the first request "
        f"(goal: at most {GOAL} times the limit, and no failed start)",
        "limit: the product's own job scripts, wall included, submitted directly at the same pace, until a job reports",
        "starts that failed or were not ready after "
        f"{MOST_SECONDS:.0f} s: " + ", ".join(f"{name} {number}" for name, number in failed.items()),
        "ready: the hub says so, asked for all at once every "
        f"{_LOOK_SECONDS:g} s; stock's servers run without a wall, inside batchspawner's wrapper",
        f"{os.cpu_count()} processors; load average at the start of each repetition at most {max(loads):.2f}",
    ]
    return Result(NAME, "s", seconds.pop(PRODUCT), seconds, [one.seconds for one in limit], notes)
