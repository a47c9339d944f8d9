"""What breaks in accounting costs no job and no record, and lets nobody exceed a budget."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from datetime import timedelta
from itertools import count

import pytest

from base.errors import LeerlabError
from base.paths import State
from cluster import accounting_daemons, embedded
from cluster.accounting import Accounts, accounts_of, establish
from cluster.errors import SlurmError, SlurmRefused, SlurmUnavailable
from cluster.jobs import JobState

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.slow]

OVER_BUDGET = "AssocGrpBillingMinutes"
numbers = count()


@pytest.fixture
def box() -> str:
    return f"box-{next(numbers)}"


@pytest.fixture
def gpu_job(accounted, request_for):
    """Submits a job that has one GPU."""

    async def submit(account, *argv, minutes=1):
        return await accounted.slurm.submit(
            request_for(*argv, account=account, partition="gpu", gpus=1, time=timedelta(minutes=minutes))
        )

    return submit


async def held(running, job_id):
    job = await running.job_once(job_id, lambda job: not job.state.waiting or job.reason == OVER_BUDGET)
    return job.state.waiting


async def standing_again(running):
    """Once slurmdbd answers and slurmctld is connected to it."""

    async def works():
        try:
            await accounts_of(running.settings, running.state).ensure(f"again-{next(numbers)}", None)
        except SlurmError:
            return False
        return True

    await running.until(works, bool, seconds=60)


@pytest.mark.parametrize("broken", ["mariadbd", "slurmdbd"])
async def test_without_it_jobs_run_and_start_and_what_they_use_is_recorded_later(
    accounted, accounts, gpu_job, box, broken
):
    await accounts.ensure(box, 60)
    before = await gpu_job(box, "/bin/sleep", "6")
    await accounted.running(before)
    accounted.end(broken, signal.SIGKILL)
    try:
        with pytest.raises(SlurmUnavailable):
            await Accounts(embedded.slurm_conf(accounted.state), user="x", answer=2).used(box)
        during = await gpu_job(box, "/bin/sleep", "2")
        # Both begin, go on, and end while nobody records them; and a budget holds all the same.
        over = await gpu_job(box, "/bin/true", minutes=60)
        for job_id in (during, before):
            assert (await accounted.ended(job_id)).state is JobState.COMPLETED
        assert await held(accounted, over)
    finally:
        accounted.start(broken)
    # Until the end of a job is known, it counts as one that runs.
    await accounted.until(
        lambda: answer_or_none(accounts, box), lambda used: used and used.gpu_seconds in {8, 9, 10}, 60
    )
    await accounted.slurm.cancel([over])
    await standing_again(accounted)


async def answer_or_none(accounts, box):
    try:
        return await accounts.used(box)
    except SlurmUnavailable:
        return None


async def test_slurmctld_starts_and_keeps_budgets_while_slurmdbd_is_down(accounted, accounts, gpu_job, box):
    await accounts.ensure(box, 2)
    accounted.end("slurmctld")
    accounted.end("slurmdbd")
    await asyncio.to_thread(accounted.prepare_again)
    accounted.start("slurmctld")
    try:
        await asyncio.to_thread(accounted.wait_ready)
        begin = time.monotonic()
        await establish(accounted.settings, accounted.state)
        assert time.monotonic() - begin < 1
        assert (await accounted.ended(await gpu_job(box, "/bin/true"))).state is JobState.COMPLETED
        over = await gpu_job(box, "/bin/true", minutes=3)
        assert await held(accounted, over)
        with pytest.raises(SlurmError):
            await accounts.ensure(box, 3)
        await accounted.slurm.cancel([over])
    finally:
        accounted.start("slurmdbd")
    await standing_again(accounted)
    await accounts.ensure(box, 3)


@pytest.mark.parametrize("how", ["terminated", "its-jobs-forgotten"])
async def test_what_was_used_stays_used_when_slurmctld_starts_anew(accounted, accounts, gpu_job, box, how):
    await accounts.ensure(box, 2)
    ended = await gpu_job(box, "/bin/sleep", "2")
    await accounted.ended(ended)
    # A job of two minutes does not fit beside what was used.
    accounted.end("slurmctld")
    if how == "its-jobs-forgotten":
        embedded.forget_jobs(accounted.state)
    accounted.start("slurmctld")
    await asyncio.to_thread(accounted.wait_ready)
    over = await gpu_job(box, "/bin/true", minutes=2)
    assert await held(accounted, over)
    await accounts.ensure(box, 3)
    assert (await accounted.ended(over)).state is JobState.COMPLETED


async def test_what_was_used_stays_on_record_when_slurmctld_is_killed(accounted, accounts, gpu_job, box):
    """Its budget may forget the last minutes (docs/explanation/accounting.md); the record does not."""
    await accounts.ensure(box, 60)
    ended = await gpu_job(box, "/bin/sleep", "2")
    await accounted.ended(ended)
    await accounted.until(lambda: accounts.used(box), lambda used: used.gpu_seconds >= 2)
    accounted.end("slurmctld", signal.SIGKILL)
    accounted.start("slurmctld")
    await asyncio.to_thread(accounted.wait_ready)
    assert (await accounts.used(box)).gpu_seconds >= 2


async def test_a_crash_between_the_steps_leaves_an_account_that_nobody_can_use_yet(
    accounted, accounts, gpu_job, tmp_path, box
):
    for name in ("scontrol", "sacct"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    sacctmgr = tmp_path / "sacctmgr"
    sacctmgr.write_text('#!/bin/sh\ncase "$*" in *"add user"*) kill -9 $$;; esac\nexec /usr/bin/sacctmgr "$@"\n')
    sacctmgr.chmod(0o755)
    crashing = Accounts(embedded.slurm_conf(accounted.state), user=embedded.account_name(), commands=tmp_path, answer=5)
    with pytest.raises(SlurmError):
        await crashing.ensure(box, 2)
    with pytest.raises(SlurmRefused, match="Invalid account"):
        await gpu_job(box, "/bin/true")
    await accounts.ensure(box, 2)
    assert (await accounted.ended(await gpu_job(box, "/bin/true"))).state is JobState.COMPLETED
    over = await gpu_job(box, "/bin/true", minutes=3)
    assert await held(accounted, over)
    await accounted.slurm.cancel([over])


async def test_mariadb_ends_cleanly_and_quickly(accounted):
    await standing_again(accounted)
    begin = time.monotonic()
    process = accounted.processes["mariadbd"]
    await asyncio.to_thread(accounted.end, "mariadbd")
    took = time.monotonic() - begin
    assert process.returncode == 0
    assert took < 10
    log = accounted.state.logs / "mariadbd.log"
    size = log.stat().st_size
    accounted.start("mariadbd")
    await standing_again(accounted)
    assert "recovery" not in log.read_bytes()[size:].decode()


def test_a_folder_that_cannot_be_written_is_told_before_anything_starts(tmp_path):
    state = State(tmp_path / "s")
    state.make()
    state.slurm.chmod(0o500)
    with pytest.raises(LeerlabError, match=r"database for cluster\.accounting cannot be made in .*Permission denied"):
        accounting_daemons.write_files(state, embedded.account_name(), 1)
    state.slurm.chmod(0o700)
    accounting_daemons.write_files(state, embedded.account_name(), 1)


def test_a_full_disk_is_told_and_leaves_nothing_that_is_taken_for_a_database(tmp_path):
    """A real file system of 12 MB, in a mount namespace of the test's own."""
    code = (
        "import sys; from pathlib import Path; from base.paths import State; from cluster import accounting_daemons\n"
        "from base.errors import LeerlabError\n"
        "state = State(Path(sys.argv[1])); state.make()\n"
        "try: accounting_daemons.write_files(state, 'x', 1)\n"
        "except LeerlabError as error: print(error)\n"
        "print(sorted(path.name for path in (state.slurm / 'accounting').iterdir()))\n"
    )
    folder = tmp_path / "s"
    folder.mkdir()
    done = subprocess.run(
        [
            *("/usr/bin/unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-c"),
            'mount -t tmpfs -o size=12m none "$1" && exec "$2" -c "$3" "$1"',
            *("sh", str(folder), sys.executable, code),
        ],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "cannot be made in" in done.stdout, done.stderr
    assert "Make room" in done.stdout
    assert "'data'" not in done.stdout


async def test_a_first_start_that_was_cut_off_is_begun_again(tmp_path):
    state = State(tmp_path / "s")
    state.make()
    left = state.slurm / "accounting" / "new"
    left.mkdir(parents=True)
    (left / "ibdata1").write_bytes(b"half")
    await asyncio.to_thread(accounting_daemons.write_files, state, embedded.account_name(), 1)
    assert not left.exists()
    assert (state.slurm / "accounting" / "data" / "mysql").is_dir()
