"""What Slurm 22.05, 24.11 and 26.05 printed is read into the same jobs and nodes, as text and as JSON."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from cluster import answers, json_answers
from cluster.answers import QueueFormat
from cluster.commands import Slurm
from cluster.errors import SlurmUnavailable
from cluster.jobs import Job, JobState
from cluster.version import SlurmVersion

RECORDED = Path(__file__).parents[2] / "data/slurm"
OWN = 990
MARK = "0f1e2d3c4b5a6978"
FOLDERS = sorted(path for path in RECORDED.iterdir() if path.is_dir())
JSON = sorted(RECORDED.glob("*/squeue.*.json"))
NAMES = {
    1: "runs", 2: "waits for resources", 3: "waits behind", 4: "held", 5: "later", 6: 'naïve "name" with |, é and \\',
    7: "two partitions", 8: "array", 9: "exits", 10: "is signalled", 11: "ends well",
}  # fmt: skip


def names(path: Path) -> str:
    return str(path.relative_to(RECORDED))


def parser_of(path: Path) -> str:
    return path.name.removeprefix("squeue.").removesuffix(".json")


def text_of(folder: Path) -> dict[int, Job]:
    """The jobs of a recording's text, with the exit codes that a second question gives."""
    codes = answers.parse_exit_codes((folder / "exit_codes.txt").read_text())
    jobs = QueueFormat(MARK, OWN).parse((folder / "squeue.txt").read_text())
    return {job.id: replace(job, exit_code=codes[job.id][0], signal=codes[job.id][1]) if job.state.ended else job
            for job in jobs}  # fmt: skip


def test_all_recordings_are_there() -> None:
    assert [folder.name for folder in FOLDERS] == ["22.05", "24.11", "26.05"]
    assert [parser_of(path) for path in JSON] == [
        "v0.0.40", "v0.0.41", "v0.0.42", "v0.0.43", "v0.0.44", "v0.0.45",
    ]  # fmt: skip


@pytest.mark.parametrize("folder", FOLDERS, ids=names)
def test_the_text_of_every_version_tells_the_same_jobs(folder: Path) -> None:
    jobs = text_of(folder)
    assert {number: job.name for number, job in jobs.items()} == NAMES
    assert jobs[1].state is JobState.RUNNING and jobs[1].nodes == ("gpu01",)
    assert jobs[1].comment == "0123456789ab:1111111111111111"
    assert {number: jobs[number].reason for number in (2, 3, 4, 5)} == {
        2: "Resources", 3: "Priority", 4: "JobHeldUser", 5: "BeginTime",
    }  # fmt: skip
    assert jobs[4].comment == "<mark>8|mark|RUNNING"
    assert jobs[7].partition == "cpu,gpu"
    assert {number: (jobs[number].exit_code, jobs[number].signal) for number in (9, 10, 11)} == {
        9: (3, 0), 10: (0, 9), 11: (0, 0),
    }  # fmt: skip
    assert jobs[5].estimate is not None and jobs[5].started is None and jobs[5].ended is None
    assert jobs[9].ended is not None and jobs[1].ended is None


@pytest.mark.parametrize("path", JSON, ids=names)
def test_json_and_text_of_the_same_moment_tell_the_same_jobs(path: Path) -> None:
    told = {job.id: job for job in json_answers.parse_jobs(path.read_text(), OWN)}
    # Text tells the signal in the reason, JSON beside it; a place needs the whole queue, which is asked for as text.
    text = {
        number: replace(job, position=None, reason=job.reason.partition(":")[0])
        for number, job in text_of(path.parent).items()
    }
    assert told == text


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*/nodes.*.json")), ids=names)
def test_json_and_text_of_the_same_moment_tell_the_same_nodes(path: Path) -> None:
    told = json_answers.parse_nodes(path.read_text())
    assert told == answers.parse_nodes((path.parent / "nodes.txt").read_text())
    assert [(node.name, node.gpus, node.gpus_used, node.usable) for node in told] == [
        ("cpu01", 0, 0, True), ("gpu01", 2, 2, True),
    ]  # fmt: skip


@pytest.mark.attack
@pytest.mark.parametrize("path", JSON, ids=names)
def test_a_job_of_another_account_bears_no_mark_of_ours_in_json_either(path: Path) -> None:
    assert {job.comment for job in json_answers.parse_jobs(path.read_text(), OWN + 1)} == {""}
    # The control: of our own account the marks are there.
    assert "0123456789ab:1111111111111111" in {job.comment for job in json_answers.parse_jobs(path.read_text(), OWN)}


def one_job(**changes: object) -> str:
    told = json.loads(JSON[-1].read_text())
    job = next(job for job in told["jobs"] if job["job_id"] == 1)
    return json.dumps({**told, "jobs": [{**job, **changes}]})


@pytest.mark.parametrize(
    ("flags", "state"),
    [
        (["RUNNING"], JobState.RUNNING),
        (["COMPLETED", "COMPLETING"], JobState.COMPLETING),
        (["CANCELLED", "COMPLETING"], JobState.COMPLETING),
        (["RUNNING", "CONFIGURING"], JobState.CONFIGURING),
        (["PENDING", "REQUEUED"], JobState.REQUEUED),
        (["PENDING", "SPECIAL_EXIT"], JobState.SPECIAL_EXIT),
        (["SOMETHING_NEW"], JobState.UNRECOGNISED),
    ],
)
def test_a_list_of_flags_is_the_word_that_text_would_show(flags: list[str], state: JobState) -> None:
    (job,) = json_answers.parse_jobs(one_job(job_state=flags), OWN)
    assert job.state is state
    assert not job.state.ended


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", "null", '{"jobs": {}}', '{"jobs": [1]}', '{"jobs": [], "errors": [{"error": "no"}]}',
        "[" * 9999,
        one_job(job_state=[]), one_job(job_state=None), one_job(submit_time={"set": False, "infinite": False}),
        one_job(nodes="["), one_job(user_id="x"), one_job(exit_code=0, job_state=["FAILED"]),
    ],
)  # fmt: skip
def test_any_other_json_is_unknown_and_never_an_empty_queue(text: str) -> None:
    with pytest.raises(SlurmUnavailable):
        json_answers.parse_jobs(text, OWN)


@pytest.mark.parametrize("change", [{"state": ["IDLE", "DRAIN"]}, {"state": ["IDLE", "NOT_RESPONDING"]}, {"state": []}])
def test_a_node_that_takes_no_work_is_not_usable(change: dict[str, object]) -> None:
    told = json.loads((JSON[-1].parent / "nodes.v0.0.45.json").read_text())
    (node,) = json_answers.parse_nodes(json.dumps({**told, "nodes": [{**told["nodes"][0], **change}]}))
    assert not node.usable


@pytest.mark.parametrize(
    ("text", "version", "json_told"),
    [
        ("slurm-wlm 22.05.8", (22, 5), False), ("slurm 23.02.7", (23, 2), False),
        ("slurm 23.11.0-0rc1", (23, 11), True),
        ("slurm-wlm 24.11.5", (24, 11), True), ("slurm 26.05.5", (26, 5), True),
    ],
)  # fmt: skip
def test_the_form_follows_from_the_version(text: str, version: tuple[int, int], json_told: bool) -> None:
    found = SlurmVersion.parse(text)
    assert found == version
    assert found.tells_json is json_told
    assert str(found) in text


def test_a_version_that_is_none_is_unknown() -> None:
    with pytest.raises(SlurmUnavailable):
        SlurmVersion.parse("squeue: not found")


REPLAY = """#!/bin/sh
echo "$0 $*" >> {folder}/asked
case "$*" in
    --version) cat {recorded}/version.txt ;;
    *--json*--jobs=*) cat {recorded}/squeue.{parser}.json ;;
    *--json*) cat {recorded}/nodes.{parser}.json ;;
    *exit_code*) cat {recorded}/exit_codes.txt ;;
    *nodes*) cat {recorded}/nodes.txt ;;
    *) mark=$(printf %s "$SQUEUE_FORMAT" | sed 's/^<\\([0-9a-f]*\\)>.*/\\1/')
       sed "s/0f1e2d3c4b5a6978/$mark/g" {recorded}/squeue.txt ;;
esac
"""


@pytest.mark.parametrize("folder", FOLDERS, ids=names)
async def test_the_commands_ask_each_version_in_its_form_and_for_the_version_only_once(
    folder: Path, tmp_path: Path
) -> None:
    parsers = [parser_of(path) for path in JSON if path.parent == folder]
    for program in ("squeue", "scontrol"):
        script = tmp_path / program
        script.write_text(REPLAY.format(folder=tmp_path, recorded=folder, parser=parsers[-1] if parsers else "none"))
        script.chmod(0o755)
    (tmp_path / "slurm.conf").write_text("")
    slurm = Slurm(tmp_path / "slurm.conf", commands=tmp_path)
    queue = await slurm.queue()
    first, second = await asyncio.gather(slurm.jobs([9, 10]), slurm.nodes())
    again = await slurm.jobs([11])
    assert {job.id for job in queue.jobs} == set(NAMES)
    assert {number: (job.exit_code, job.signal) for number, job in first.items()} == {9: (3, 0), 10: (0, 9)}
    assert again[11].exit_code == 0
    assert [node.name for node in second] == ["cpu01", "gpu01"]
    asked = (tmp_path / "asked").read_text().splitlines()
    # The two that asked at once may each have asked for it; afterwards nobody does.
    assert 1 <= sum(line.endswith("--version") for line in asked) <= 2
    assert any("--json" in line for line in asked) is bool(parsers)
