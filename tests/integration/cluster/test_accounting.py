"""Slurm itself keeps every account within its budget, and records what its jobs used."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from itertools import count

import psutil
import pytest

from base.errors import InputError
from cluster import embedded
from cluster.accounting import COURSES, establish
from cluster.accounting_daemons import database_socket
from cluster.command import Commands
from cluster.errors import SlurmRefused
from cluster.jobs import JobState
from spawners.waiting import queued

pytestmark = pytest.mark.integration

MINUTE = timedelta(minutes=1)
OVER_BUDGET = "AssocGrpBillingMinutes"
numbers = count()


@pytest.fixture
def box() -> str:
    """An account's name that no other test uses."""
    return f"box-{next(numbers)}"


@pytest.fixture
def submit(accounted, request_for):
    """Submits a job on a GPU partition; gives its number."""

    async def submit(account, *argv, minutes=1, **changes):
        request = request_for(
            *(argv or ("/bin/sleep", "60")), account=account, time=minutes * MINUTE, partition="gpu", **changes
        )
        return await accounted.slurm.submit(request)

    return submit


async def settled(running, job_ids, seconds=60):
    """The jobs once each of them runs, ended, or waits for a reason of its own."""

    def decided(job):
        return not job.state.waiting or job.reason not in {"", "Priority", "Resources"}

    return await running.until(
        lambda: running.slurm.jobs(job_ids),
        lambda jobs: len(jobs) == len(job_ids) and all(map(decided, jobs.values())),
        seconds,
    )


async def test_what_every_start_needs_is_there_at_once_when_nothing_changed(accounted, monkeypatch):
    asked, run = [], Commands.run

    async def noted(self, program, arguments, **others):
        asked.append(program)
        return await run(self, program, arguments, **others)

    monkeypatch.setattr(Commands, "run", noted)
    await establish(accounted.settings, accounted.state)
    assert asked == ["scontrol"], "one exchange with slurmctld, and none with slurmdbd"


async def test_a_job_that_names_no_account_is_charged_to_the_courses(accounted, accounts, submit):
    before = await accounts.used(COURSES)
    await accounted.ended(await submit(None, "/bin/sleep", "1"))
    used = await accounted.until(lambda: accounts.used(COURSES), lambda used: used.cpu_seconds > before.cpu_seconds)
    assert used.gpu_seconds == before.gpu_seconds


async def test_a_gpu_counts_whole_and_a_shard_as_its_part(accounted, accounts, submit, box):
    await accounts.ensure(box, 60)
    begin = datetime.now(UTC)
    # Two GPUs and eight shards: four shards are one GPU.
    whole, part = await submit(box, "/bin/sleep", "4", gpus=1), await submit(box, "/bin/sleep", "4", shards=2)
    jobs = [await accounted.ended(job_id) for job_id in (whole, part)]
    assert {job.state for job in jobs} == {JobState.COMPLETED}
    long, half = (round((job.ended - job.started).total_seconds()) for job in jobs)
    # Until slurmdbd knows of an end, the job counts as one that runs.
    used = await accounted.until(lambda: accounts.used(box), lambda used: used.cpu_seconds == long + half)
    assert used.gpu_seconds in {long + half // 2, long + (half + 1) // 2}
    assert begin - timedelta(seconds=1) <= used.since <= datetime.now(UTC)


async def test_jobs_that_run_are_counted_while_they_run(accounted, accounts, submit, box):
    await accounts.ensure(box, 60)
    job_id = await submit(box, gpus=2)
    await accounted.until(lambda: accounts.used(box), lambda used: used.gpu_seconds >= 2)
    await accounted.slurm.cancel([job_id])


async def test_an_account_that_never_ran_anything_has_used_nothing(accounts, box):
    await accounts.ensure(box, 1)
    used = await accounts.used(box)
    assert (used.cpu_seconds, used.gpu_seconds, used.since) == (0, 0, None)


async def test_a_new_budget_replaces_the_old_and_lets_a_waiting_job_start(accounted, accounts, submit, box):
    await accounts.ensure(box, 1)
    job_id = await submit(box, gpus=1, minutes=5)
    assert (await settled(accounted, [job_id]))[job_id].reason == OVER_BUDGET
    await accounts.ensure(box, 5)
    await accounted.running(job_id)
    await accounted.slurm.cancel([job_id])
    await accounts.ensure(box, 1)
    again = await submit(box, gpus=1, minutes=5)
    assert (await settled(accounted, [again]))[again].reason == OVER_BUDGET
    await accounts.ensure(box, None)
    await accounted.running(again)
    await accounted.slurm.cancel([again])


async def test_the_person_who_waits_is_told_that_the_budget_is_used_up(accounted, accounts, submit, box):
    await accounts.ensure(box, 1)
    job_id = await submit(box, gpus=1, minutes=2)
    job = (await settled(accounted, [job_id]))[job_id]
    assert queued(job, 3, datetime.now(UTC)).message.code == "start.waiting.budget"
    await accounted.slurm.cancel([job_id])


async def test_without_budget_people_still_reach_their_files_on_a_cpu(accounted, accounts, request_for, box):
    await accounts.ensure(box, 0)
    job_id = await accounted.slurm.submit(request_for("/bin/true", account=box))
    assert (await accounted.ended(job_id)).state is JobState.COMPLETED


async def test_the_same_account_may_be_asked_for_twice_at_once(accounted, accounts, submit, box):
    await asyncio.gather(accounts.ensure(box, 7), accounts.ensure(box, 7), accounts.ensure(box, 7))
    assert (await accounted.ended(await submit(box, "/bin/true", gpus=1))).state is JobState.COMPLETED


async def test_a_removed_account_takes_no_jobs_and_its_use_stays_on_record(accounted, accounts, submit, box):
    await accounts.ensure(box, 60)
    job_id = await submit(box, gpus=1)
    await accounted.until(lambda: accounts.used(box), lambda used: used.gpu_seconds >= 1)
    with pytest.raises(SlurmRefused, match="active"):
        await accounts.remove(box)
    await accounted.slurm.cancel([job_id])
    await accounted.ended(job_id)

    async def removed():
        # slurmdbd may hear of a job's end a moment later than slurmctld's clients.
        try:
            await accounts.remove(box)
        except SlurmRefused:
            return False
        return True

    await accounted.until(removed, bool)
    await accounts.remove(box)
    with pytest.raises(SlurmRefused):
        await submit(box)
    assert (await accounts.used(box)).gpu_seconds >= 1


@pytest.mark.parametrize("name", ["", "root", "-a", "Box", "box a", "box,courses", "box;x", "box\n", "b" * 41, "é"])
async def test_names_that_mean_something_else_to_slurm_are_refused(accounts, name):
    for refused in (accounts.ensure(name, 1), accounts.remove(name), accounts.used(name)):
        with pytest.raises(InputError):
            await refused


async def test_the_courses_account_is_never_removed(accounts):
    with pytest.raises(InputError):
        await accounts.remove(COURSES)


async def test_jobs_start_in_the_order_in_which_they_came(accounted, request_for):
    blocker = await accounted.slurm.submit(request_for("/bin/sleep", "300", cpus=16))
    await accounted.running(blocker)
    waiting = [await accounted.slurm.submit(request_for("/bin/true", cpus=16)) for _ in range(4)]
    jobs = await accounted.slurm.jobs(waiting)
    assert [jobs[job_id].position for job_id in waiting] == [1, 2, 3, 4]
    await accounted.slurm.cancel([blocker])
    started = [(await accounted.ended(job_id)).started for job_id in waiting]
    assert started == sorted(started)


# Attacks: each with the same jobs where only the budget, or the check of accounts, is missing.


@pytest.mark.attack
async def test_a_job_cannot_be_charged_to_somebody_elses_account(accounted, submit):
    with pytest.raises(SlurmRefused, match="Invalid account"):
        await submit("box-of-others")


@pytest.mark.attack
async def test_that_is_because_slurm_checks_accounts(cluster, request_for):
    """The control: a Slurm without accounting takes the same job."""
    job_id = await cluster.slurm.submit(request_for("/bin/true", account="box-of-others", partition="gpu"))
    assert (await cluster.ended(job_id)).state is JobState.COMPLETED


OVER = [
    pytest.param([{"shards": 1, "minutes": 4}] * 4, 1, id="several-small-jobs-at-once"),
    pytest.param([{"gpus": 1, "minutes": 3}], 0, id="more-minutes-than-are-left"),
    pytest.param([{"gpus": 2, "minutes": 2}], 0, id="more-gpus-for-fewer-minutes"),
    pytest.param([{"shards": 4, "minutes": 3}], 0, id="all-shards-of-a-gpu"),
    pytest.param([{"gpus": 1, "minutes": 2}, {"shards": 1, "minutes": 4}], 1, id="shards-beside-a-whole-gpu"),
]


@pytest.mark.attack
@pytest.mark.parametrize(("jobs", "run"), OVER)
async def test_no_jobs_together_get_more_than_the_budget(accounted, accounts, submit, box, jobs, run):
    # One job of the first kind fits twice in two minutes of a GPU, and four of them do not.
    budget = 1 if len(jobs) == 4 else 2
    await accounts.ensure(box, budget)
    job_ids = [await submit(box, **job) for job in jobs]
    states = [job.state for job in (await settled(accounted, job_ids)).values()]
    assert states.count(JobState.RUNNING) == run
    assert states.count(JobState.PENDING) == len(jobs) - run
    assert {job.reason for job in (await accounted.slurm.jobs(job_ids)).values() if job.state.waiting} == {OVER_BUDGET}
    # The control: with the budget gone, and nothing else, all of them run.
    await accounts.ensure(box, None)
    for job_id in job_ids:
        await accounted.running(job_id)
    await accounted.slurm.cancel(job_ids)
    for job_id in job_ids:
        await accounted.ended(job_id)


@pytest.mark.attack
def test_nobody_outside_this_machine_can_reach_the_database_or_slurmdbd(accounted):
    listening = {
        name: {one.laddr.ip for one in psutil.Process(accounted.processes[name].pid).net_connections("inet")
               if one.status == psutil.CONN_LISTEN}
        for name in ("mariadbd", "slurmdbd")
    }  # fmt: skip
    assert listening == {"mariadbd": set(), "slurmdbd": {"127.0.0.1"}}
    assert database_socket(accounted.state).parent.stat().st_mode & 0o077 == 0


@pytest.mark.attack
async def test_whoever_has_another_munge_key_changes_no_account(accounted, start_slurm, box):
    """The same command by the same unix account; the control is the one with the site's own munge."""
    change = ["--immediate", "add", "account", box, "Description=x", "Organization=x"]

    def attack():
        with start_slurm(only=("munged",)) as other:
            conf = embedded.slurm_conf(other.state)
            own = embedded.slurm_conf(accounted.state).read_text()
            conf.write_text(
                own.replace(str(embedded.munge_socket(accounted.state)), str(embedded.munge_socket(other.state)))
            )
            deadline = time.monotonic() + 30
            while not embedded.munge_socket(other.state).exists():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            return asyncio.run(Commands(conf).run("sacctmgr", change))

    output = await asyncio.to_thread(attack)
    assert output.code
    assert "auth" in output.stderr.lower()
    exists = ["--noheader", "show", "account", box]
    site = Commands(embedded.slurm_conf(accounted.state))
    assert (await site.ask("sacctmgr", exists)).strip() == ""
    assert (await site.run("sacctmgr", change)).code == 0
    assert (await site.ask("sacctmgr", exists)).strip()
