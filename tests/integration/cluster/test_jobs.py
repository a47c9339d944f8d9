"""Jobs on a real Slurm: submitted, seen, finished, found, refused and cancelled."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from base.quantities import Size
from cluster.command import ANSWER_SECONDS
from cluster.embedded import KILL_WAIT, slurm_conf
from cluster.errors import InvalidRequest, SlurmRefused
from cluster.jobs import JobState

pytestmark = pytest.mark.integration

PRINT_ENVIRONMENT = "import json, os; print(json.dumps({**os.environ, 'cwd': os.getcwd()}))"
HANDLES_TERM = """
import os, signal, sys, time
def end(*_):
    # Not print: the signal may come while the line above is still being written.
    os.write(1, b"asked to end\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
time.sleep(600)
"""
IGNORES_TERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(600)
"""


def inline(code: str) -> tuple[str, ...]:
    """A Python program in one printable word: job scripts hold no line breaks."""
    return ("/usr/bin/python3", "-c", f"exec({code!r})")


async def printed(command: list[str], environment: dict[str, str], given: str = "") -> str:
    """What a command of Slurm prints, run past the code under test."""
    done = await asyncio.to_thread(
        subprocess.run, command, input=given, env=environment, capture_output=True, text=True, timeout=20, check=True
    )
    return done.stdout


async def test_a_job_runs_where_slurm_says_and_its_output_arrives(cluster, slurm, request_for, tmp_path):
    before = datetime.now(UTC)
    go = tmp_path / "go"
    request = request_for("/bin/sh", "-c", f"echo here; until [ -e {go} ]; do sleep 0.1; done")
    job_id = await slurm.submit(request)
    running = await cluster.running(job_id)
    assert running.nodes == ("cpu01",)
    assert running.partition == "cpu"
    assert running.name == "test"
    assert running.comment == request.comment
    assert running.position is None and running.estimate is None and running.exit_code is None
    assert before - timedelta(seconds=1) <= running.submitted <= running.started <= datetime.now(UTC)
    go.touch()
    job = await cluster.ended(job_id)
    assert (job.state, job.exit_code, job.signal) == (JobState.COMPLETED, 0, 0)
    assert job.ended >= job.started
    assert (tmp_path / "log").read_text() == "here\n"


async def test_a_failed_job_tells_its_exit_code(cluster, slurm, request_for):
    job = await cluster.ended(await slurm.submit(request_for("/bin/sh", "-c", "exit 3")))
    assert (job.state, job.exit_code, job.signal) == (JobState.FAILED, 3, 0)


async def test_only_jobs_that_live_are_in_the_queue(cluster, slurm, request_for):
    asleep = await slurm.submit(request_for("/bin/sleep", "60"))
    over = await slurm.submit(request_for("/bin/true"))
    await cluster.ended(over)
    queue = await slurm.queue()
    ids = {job.id for job in queue.jobs}
    assert asleep in ids and over not in ids
    assert queue.asked <= queue.answered
    await slurm.cancel([asleep])


async def test_slurm_knows_no_job_that_never_was(slurm):
    assert await slurm.job(9_999_999) is None
    assert await slurm.jobs([9_999_998, 9_999_999]) == {}


async def test_the_environment_reaches_the_job_exactly_and_nothing_of_ours_does(
    cluster, slurm, request_for, tmp_path, monkeypatch
):
    monkeypatch.setenv("OF_THE_HUB", "stays there")
    given = {"PATH": "/usr/bin:/bin", "GREETING": "dag, 'wereld' \"$HOME\"\nregel 2", "EMPTY": ""}
    request = request_for("/usr/bin/python3", "-c", PRINT_ENVIRONMENT, environment=given, folder=tmp_path)
    await cluster.ended(await slurm.submit(request))
    seen = json.loads((tmp_path / "log").read_text())
    assert {name: seen[name] for name in given} == given
    assert seen["cwd"] == str(tmp_path)
    assert "OF_THE_HUB" not in seen
    others = {name for name in seen if not name.startswith(("SLURM", "LC_"))}
    assert others - set(given) <= {"cwd", "PWD", "LANG", "TMPDIR", "ENVIRONMENT", "HOSTNAME"}


@pytest.mark.parametrize(("part", "count"), [("shards", 2), ("gpus", 1)])
async def test_a_gpu_or_a_part_of_one_is_named_to_the_job(cluster, slurm, request_for, tmp_path, part, count):
    request = request_for("/bin/sh", "-c", "echo gpu=$CUDA_VISIBLE_DEVICES", partition="gpu", **{part: count})
    assert (await cluster.ended(await slurm.submit(request))).state is JobState.COMPLETED
    assert (tmp_path / "log").read_text() in ("gpu=0\n", "gpu=1\n")


async def test_without_a_gpu_none_is_named(cluster, slurm, request_for, tmp_path):
    await cluster.ended(
        await slurm.submit(request_for("/bin/sh", "-c", "echo gpu=$CUDA_VISIBLE_DEVICES", partition="gpu"))
    )
    assert (tmp_path / "log").read_text() == "gpu=\n"


async def test_two_jobs_never_get_the_same_whole_gpu_and_a_third_waits_its_turn(cluster, slurm, request_for, tmp_path):
    argv = ("/bin/sh", "-c", "echo gpu=$CUDA_VISIBLE_DEVICES; sleep 60")
    ids = [
        await slurm.submit(request_for(*argv, partition="gpu", gpus=1, output=tmp_path / f"log{number}"))
        for number in range(4)
    ]
    for job_id in ids[:2]:
        await cluster.running(job_id)
    seen = {await cluster.text_in(tmp_path / f"log{number}", "gpu=") for number in range(2)}
    assert seen == {"gpu=0\n", "gpu=1\n"}
    third = await cluster.job_once(ids[2], lambda job: job.reason == "Resources" and job.estimate is not None)
    assert third.state is JobState.PENDING
    assert third.estimate > datetime.now(UTC)
    assert third.started is None and third.nodes == ()
    queue = {job.id: job for job in (await slurm.queue()).jobs}
    assert [queue[job_id].position for job_id in ids] == [None, None, 1, 2]
    node = next(node for node in await slurm.nodes() if node.name == "gpu01")
    assert (node.gpus, node.gpus_used) == (2, 2)
    await slurm.cancel(ids)
    for job_id in ids:
        assert (await cluster.ended(job_id)).state is JobState.CANCELLED


async def test_a_request_that_fits_no_node_is_refused_with_slurms_sentence(slurm, request_for):
    with pytest.raises(SlurmRefused) as refusal:
        await slurm.submit(request_for("/bin/true", memory=Size.parse("100G")))
    assert "Memory specification can not be satisfied" in refusal.value.sentence
    assert "Requested node configuration is not available" in refusal.value.sentence


@pytest.mark.parametrize(
    "changes",
    [
        {"time": timedelta(hours=2)},
        {"cpus": 99},
        {"partition": "nowhere"},
        {"partition": "gpu", "gpus": 3},
        {"gpus": 1},
    ],
    ids=str,
)
async def test_what_can_never_run_is_refused_at_once(slurm, request_for, changes):
    request = request_for("/bin/true", **changes)
    with pytest.raises(SlurmRefused):
        await slurm.submit(request)
    assert [job for job in await slurm.find(request.comment) if not job.state.ended] == []


async def test_a_job_is_found_by_its_comment_also_just_after_its_end(cluster, slurm, request_for):
    request, other = request_for("/bin/sleep", "1"), request_for("/bin/true")
    job_id = await slurm.submit(request)
    await slurm.submit(other)
    assert [job.id for job in await slurm.find(request.comment)] == [job_id]
    await cluster.ended(job_id)
    assert [job.id for job in await slurm.find(request.comment)] == [job_id]
    assert await slurm.find(request.comment[:-1]) == []


async def test_a_job_that_heeds_sigterm_ends_by_it_and_soon(start_slurm, request_for, tmp_path):
    def patient(state):
        """A minute in place of KillWait's seconds, which a busy machine may take without any reason."""
        conf = slurm_conf(state)
        text = conf.read_text()
        assert f"KillWait={KILL_WAIT}\n" in text
        conf.write_text(text.replace(f"KillWait={KILL_WAIT}\n", "KillWait=60\n"))

    async def cancelled(cluster):
        job_id = await cluster.slurm.submit(request_for(*inline(HANDLES_TERM)))
        await cluster.text_in(tmp_path / "log", "up")
        begin = time.monotonic()
        await cluster.slurm.cancel([job_id])
        return await cluster.ended(job_id), time.monotonic() - begin

    def run():
        with start_slurm(change=patient) as cluster:
            return asyncio.run(cancelled(cluster))

    job, took = await asyncio.to_thread(run)
    assert job.state is JobState.CANCELLED
    assert "asked to end" in (tmp_path / "log").read_text()
    assert took < 40, "Slurm waited KillWait for a job that had ended by itself"


async def test_a_job_that_ignores_sigterm_is_killed_after_killwait(cluster, slurm, request_for, tmp_path):
    job_id = await slurm.submit(request_for(*inline(IGNORES_TERM)))
    await cluster.text_in(tmp_path / "log", "up")
    begin = time.monotonic()
    await slurm.cancel([job_id])
    job = await cluster.ended(job_id)
    took = time.monotonic() - begin
    assert (job.state, job.signal) == (JobState.CANCELLED, 9)
    assert 3 < took < 25, "Slurm's own KillWait is 30 s"


async def test_cancelling_what_is_over_or_never_was_is_no_error(cluster, slurm, request_for):
    over = await slurm.submit(request_for("/bin/true"))
    await cluster.ended(over)
    await slurm.cancel([over, 9_999_999])
    await slurm.cancel([])


async def test_the_nodes_are_as_the_site_describes_them(slurm):
    nodes = {node.name: node for node in await slurm.nodes()}
    assert set(nodes) == {"gpu01", "cpu01"}
    assert nodes["gpu01"].partitions == ("gpu",)
    assert (nodes["gpu01"].cpus, nodes["gpu01"].memory, nodes["gpu01"].gpus) == (8, Size.parse("8G"), 2)
    assert nodes["cpu01"].gpus == 0
    assert all(node.usable for node in nodes.values())
    assert await slurm.address("cpu01") == "127.0.0.1"
    assert 0 < await slurm.ping() < ANSWER_SECONDS


@pytest.mark.attack
@pytest.mark.parametrize("part", ["comment", "name"])
async def test_a_mark_with_hostile_characters_is_refused_before_slurm_sees_it(slurm, request_for, part):
    """A comment of two lines is a second job to whoever reads a queue line by line; Slurm itself takes it."""
    hostile = "hub:1\n424242 RUNNING"
    with pytest.raises(InvalidRequest):
        request_for("/bin/true", **{part: hostile})
    # The control: the same comment, given to sbatch without our check, is in Slurm's queue as it is.
    environment = {"SLURM_CONF": str(slurm.conf), "PATH": "/usr/bin:/bin"}
    option = {"comment": "--comment", "name": "--job-name"}[part]
    sbatch = ["/usr/bin/sbatch", "--parsable", f"{option}={hostile}", "--mem=16M", "--time=1", "--output=/dev/null"]
    job_id = int(await printed(sbatch, environment, "#!/bin/sh\nexec sleep 30\n"))
    squeue = ["/usr/bin/squeue", "--noheader", f"--jobs={job_id}", "--format=%A %T %k %j"]
    listed = await printed(squeue, environment)
    assert any(line.startswith("424242 RUNNING") for line in listed.splitlines())
    # And where somebody else put it there, it stays one job's text for us.
    found = {job.id: job for job in (await slurm.queue()).jobs}
    assert 424242 not in found
    assert getattr(found[job_id], part) == hostile
    await slurm.cancel([job_id])


@pytest.mark.attack
async def test_a_secret_in_a_jobs_environment_shows_nowhere_else(cluster, slurm, request_for, tmp_path):
    secret = "geheim-8d1f0c52"
    own = {"PATH": "/usr/bin:/bin", "LEERLAB_JOB": secret}
    job_id = await slurm.submit(request_for("/bin/sh", "-c", "env; sleep 60", environment=own))
    assert secret in await cluster.text_in(tmp_path / "log", "LEERLAB_JOB")

    async def shown() -> str:
        environment = {"SLURM_CONF": str(slurm.conf), "PATH": "/usr/bin:/bin"}
        commands = (
            ["/usr/bin/scontrol", "show", "job", "--details", str(job_id)],
            ["/usr/bin/scontrol", "write", "batch_script", str(job_id), "-"],
            ["/usr/bin/squeue", "-o", "%all"],
            ["/usr/bin/ps", "-eo", "args"],
        )
        logs = "".join(path.read_text() for path in cluster.state.logs.iterdir())
        return logs + "".join([await printed(command, environment) for command in commands])

    assert secret not in await shown()
    # The control: the same value as an argument is there for everybody.
    control = await slurm.submit(
        request_for("/bin/sh", "-c", "echo up; sleep 60; :", secret, output=tmp_path / "control")
    )
    await cluster.text_in(tmp_path / "control", "up")
    assert secret in await shown()
    # Slurm keeps environments in its state folder, which nobody else may enter.
    assert [path for path in (cluster.state.root, cluster.state.slurm) if path.stat().st_mode & 0o077] == []
    await slurm.cancel([job_id, control])


async def test_file_names_are_taken_as_they_are(cluster, slurm, request_for, tmp_path: Path):
    output = tmp_path / "met spatie & 'aanhaling'"
    await cluster.ended(await slurm.submit(request_for("/bin/echo", "a b", "$HOME", "c'd", output=output)))
    assert output.read_text() == "a b $HOME c'd\n"
