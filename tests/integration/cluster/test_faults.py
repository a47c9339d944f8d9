"""What breaks in Slurm is told as unknown, never as dead, and heals by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from cluster import embedded
from cluster.commands import Slurm
from cluster.errors import SlurmUnavailable
from cluster.jobs import Job, JobState
from cluster.settings import Interval
from cluster.watcher import UNKNOWN, Watcher

pytestmark = [pytest.mark.integration, pytest.mark.fault]

IMPATIENT = 1.0
QUICK = Interval(starting=0.2, idle=0.5, failing=1.0)


def impatient(running) -> Slurm:
    return Slurm(embedded.slurm_conf(running.state), answer=IMPATIENT)


def children() -> set[int]:
    """The processes that this process has started and not reaped."""
    return {child.pid for child in psutil.Process().children()}


def stop_controller(running):
    running.send("slurmctld", signal.SIGSTOP)


def continue_controller(running):
    running.send("slurmctld", signal.SIGCONT)


def kill_controller(running):
    running.end("slurmctld", signal.SIGKILL)


def restart_controller(running):
    running.start("slurmctld")


def kill_munged(running):
    running.end("munged", signal.SIGKILL)


def restart_munged(running):
    running.start("munged")


FAULTS = [
    pytest.param(stop_controller, continue_controller, id="slurmctld-hangs"),
    pytest.param(kill_controller, restart_controller, id="slurmctld-killed"),
    pytest.param(kill_munged, restart_munged, id="munged-killed"),
]


@pytest.mark.parametrize(("break_it", "mend_it"), FAULTS)
async def test_while_slurm_is_broken_a_job_is_unknown_and_afterwards_it_runs_on(
    breakable, request_for, break_it, mend_it
):
    slurm = impatient(breakable)
    job_id = await breakable.slurm.submit(request_for("/bin/sleep", "300"))
    submitted = datetime.now(UTC)
    before = await breakable.running(job_id)
    await breakable.saved()
    async with Watcher(slurm, QUICK) as watcher:
        seen = await breakable.until(lambda: _now(watcher, job_id, submitted), lambda answer: isinstance(answer, Job))
        break_it(breakable)
        unknown = await watcher.wait_change(job_id, submitted, seen, timeout=30)
        assert unknown is UNKNOWN
        assert not watcher.answering
        actions = (slurm.queue(), slurm.nodes(), slurm.ping(), slurm.job(job_id), slurm.find(before.comment))
        begin = time.monotonic()
        outcomes = await asyncio.gather(*actions, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [SlurmUnavailable] * len(actions)
        assert time.monotonic() - begin < IMPATIENT + 8, "a patient one would wait for each at least ten seconds"
        assert watcher.job(job_id, submitted) is UNKNOWN
        mend_it(breakable)
        answer = await breakable.until(
            lambda: _now(watcher, job_id, submitted), lambda answer: isinstance(answer, Job), seconds=60
        )
    assert answer == before


async def _now(watcher, job_id, submitted):
    return watcher.job(job_id, submitted)


async def test_a_submission_without_an_answer_is_not_a_refusal_and_can_be_looked_up(breakable, request_for):
    slurm = impatient(breakable)
    request = request_for("/bin/sleep", "300")
    stop_controller(breakable)
    with pytest.raises(SlurmUnavailable):
        await slurm.submit(request)
    continue_controller(breakable)
    patient = breakable.slurm
    found = await breakable.until(lambda: patient.find(request.comment), lambda found: True)
    assert len(found) <= 1
    again = await patient.submit(request_for("/bin/true"))
    assert again not in {job.id for job in found}


async def test_cancelling_without_an_answer_is_told(breakable, request_for):
    job_id = await breakable.slurm.submit(request_for("/bin/sleep", "300"))
    await breakable.running(job_id)
    kill_controller(breakable)
    with pytest.raises(SlurmUnavailable):
        await impatient(breakable).cancel([job_id])


async def test_a_command_that_hangs_is_killed_and_reaped(breakable):
    stop_controller(breakable)
    before = children()
    with pytest.raises(SlurmUnavailable):
        await impatient(breakable).queue()
    assert children() == before


async def test_a_cancelled_question_leaves_no_process(breakable):
    stop_controller(breakable)
    before = children()
    task = asyncio.create_task(breakable.slurm.queue())
    await breakable.until(_children, lambda now: now != before)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert children() == before


async def _children() -> set[int]:
    return children()


async def test_without_a_slurm_conf_nothing_is_asked_and_nothing_is_dead(tmp_path):
    with pytest.raises(SlurmUnavailable, match=r"there is no .*slurm\.conf"):
        await Slurm(tmp_path / "slurm.conf").queue()


async def test_without_slurms_programs_the_answer_is_unknown(cluster, tmp_path):
    with pytest.raises(SlurmUnavailable):
        await Slurm(embedded.slurm_conf(cluster.state), commands=tmp_path).queue()


async def test_an_answer_in_an_unknown_form_is_unknown(cluster, tmp_path):
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\necho JOBID PARTITION\n")
    squeue.chmod(0o755)
    with pytest.raises(SlurmUnavailable, match="does not understand"):
        await Slurm(embedded.slurm_conf(cluster.state), commands=tmp_path).queue()


@pytest.mark.slow
async def test_a_job_outlives_its_slurmd(breakable, request_for, tmp_path):
    job_id = await breakable.slurm.submit(request_for("/bin/sh", "-c", "sleep 3; echo done"))
    await breakable.running(job_id)
    breakable.end("slurmd-cpu01", signal.SIGKILL)
    await asyncio.sleep(0.2)
    breakable.start("slurmd-cpu01")
    job = await breakable.ended(job_id, seconds=60)
    assert (job.state, job.exit_code) == (JobState.COMPLETED, 0)
    assert (tmp_path / "log").read_text() == "done\n"


async def test_after_a_restart_of_all_daemons_jobs_are_found_again(breakable, request_for, tmp_path):
    slurm = breakable.slurm
    request = request_for("/bin/sh", "-c", "sleep 6; echo done")
    job_id = await slurm.submit(request)
    await breakable.running(job_id)
    waiting = await slurm.submit(request_for("/bin/true", partition="gpu", memory=request.memory))
    await breakable.ended(waiting)
    key = embedded.munge_key(breakable.state).read_bytes()
    for name in reversed(breakable.daemons):
        breakable.end(name)
    await asyncio.to_thread(breakable.prepare_again)
    assert embedded.munge_key(breakable.state).read_bytes() == key
    for name in breakable.daemons:
        breakable.start(name)
    await asyncio.to_thread(breakable.wait_ready)
    (found,) = await slurm.find(request.comment)
    assert found.id == job_id
    job = await breakable.ended(job_id, seconds=60)
    assert job.state is JobState.COMPLETED
    assert (tmp_path / "log").read_text() == "done\n"
    assert await slurm.submit(request_for("/bin/true")) > waiting


def test_the_daemons_are_ended_by_the_test_itself(breakable):
    pids = [process.pid for process in breakable.processes.values()]
    breakable.end_all()
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists() and os.getpgid(pid)] == []
