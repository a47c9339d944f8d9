"""What the watcher costs a real slurmctld, counted by slurmctld itself (sdiag)."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cluster import embedded
from cluster.jobs import JobState
from cluster.settings import Interval
from cluster.watcher import UNKNOWN, Watcher

pytestmark = pytest.mark.integration

INTERVAL = Interval(starting=0.5, idle=1.0, failing=5.0)
SECONDS = 8.0
PER_QUERY = 3
"""Remote calls of one squeue at most: jobs, partitions, and on some sites the federation."""


async def calls(conf: Path) -> dict[str, int]:
    """Remote procedure calls that slurmctld has taken, by kind, without those of sdiag."""
    told = await asyncio.to_thread(
        subprocess.run, ["/usr/bin/sdiag"], env={"SLURM_CONF": str(conf), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    part = told.stdout.partition("by message type")[2].partition("by user")[0]
    counts = {kind: int(count) for kind, count in re.findall(r"(\w+)\s*\(\s*\d+\) count:(\d+)", part)}
    counts.pop("REQUEST_STATS_INFO", None)
    return counts


async def cost(watcher: Watcher, conf: Path, jobs: list[tuple[int, datetime]]) -> tuple[int, float]:
    """Remote calls of questions while everybody looks at their job, and the seconds in which they came."""
    before, begin = await calls(conf), time.monotonic()
    while (left := begin + SECONDS - time.monotonic()) > 0:
        known = [watcher.job(*each) for each in jobs]
        waits = [watcher.wait_change(*each, answer, 1.0) for each, answer in zip(jobs, known, strict=True)]
        await asyncio.gather(asyncio.sleep(min(1.0, left)), *waits)
    seconds, after = time.monotonic() - begin, await calls(conf)
    return sum(after[kind] - before.get(kind, 0) for kind in after if kind.endswith("_INFO")), seconds


@pytest.mark.slow
async def test_the_calls_of_a_minute_do_not_grow_with_the_servers_that_run_and_wait(
    breakable, request_for, tmp_path, monkeypatch
):
    monkeypatch.setattr("cluster.watcher._EAGER", 0.0)
    slurm, conf = breakable.slurm, embedded.slurm_conf(breakable.state)
    found: dict[int, float] = {}
    submitted: list[tuple[int, datetime]] = []
    async with Watcher(slurm, INTERVAL) as watcher:
        # 16 cores: the last of these wait.
        for servers in (0, 4, 24):
            while len(submitted) < servers:
                output = tmp_path / str(len(submitted))
                submitted.append(
                    (await slurm.submit(request_for("/bin/sleep", "600", output=output)), datetime.now(UTC))
                )
            await breakable.until(
                lambda: _states(watcher, submitted),
                lambda states: states.count(JobState.RUNNING) == min(len(submitted), 16) and UNKNOWN not in states,
            )
            number, seconds = await cost(watcher, conf, submitted)
            # The control: it did ask.
            assert number >= 1
            found[servers] = number / seconds
    assert all(rate <= PER_QUERY * (1 / INTERVAL.idle) + 1 for rate in found.values()), found


async def _states(watcher: Watcher, jobs: list[tuple[int, datetime]]) -> list[object]:
    return [getattr(watcher.job(*each), "state", UNKNOWN) for each in jobs]
