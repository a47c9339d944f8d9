"""What Slurm prints is read exactly, and what is not understood is unknown."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cluster import answers
from cluster.answers import QueueFormat
from cluster.errors import SlurmUnavailable
from cluster.jobs import JobState

OURS = 990
FORMAT = QueueFormat("mark", OURS)


def row(*, number="7", state="RUNNING", reason="None", nodes="gpu01", start="1795396809", partition="cpu", priority="9",
        comment="hub:1", end="N/A", submitted="1795396800", user=OURS):  # fmt: skip
    fields = (number, state, reason, nodes, submitted, start, end, "lab", partition, priority, str(user), comment)
    return "<mark>" + "|mark|".join(fields) + "\n"


def test_a_running_job():
    (job,) = FORMAT.parse(row())
    assert job.state is JobState.RUNNING
    assert job.nodes == ("gpu01",)
    assert job.reason == ""
    assert job.started == datetime.fromtimestamp(1795396809, UTC)
    assert job.estimate is None and job.ended is None


def test_a_waiting_job_has_an_estimate_and_no_start():
    (job,) = FORMAT.parse(row(state="PENDING", reason="Resources", nodes=""))
    assert (job.reason, job.nodes, job.started) == ("Resources", (), None)
    assert job.estimate == datetime.fromtimestamp(1795396809, UTC)
    (job,) = FORMAT.parse(row(state="PENDING", reason="Priority", nodes="", start="N/A"))
    assert job.estimate is None


def test_places_in_the_queue_follow_priority_then_time_per_partition():
    waiting = {"state": "PENDING", "nodes": "", "start": "N/A"}
    jobs = FORMAT.parse(
        row(number="1", priority="5", **waiting)
        + row(number="2", priority="9", **waiting)
        + row(number="3", priority="5", submitted="1795396700", **waiting)
        + row(number="4", priority="1", partition="gpu", **waiting)
        + row(number="5")
    )
    assert {job.id: job.position for job in jobs} == {2: 1, 3: 2, 1: 3, 4: 1, 5: None}


@pytest.mark.parametrize("text", ["a\nb", "<other>8|other|RUNNING", "", "|", "%A", "naïve é"])
def test_a_comment_is_only_ever_a_comment(text):
    jobs = FORMAT.parse(row(comment=text) + row(number="8"))
    assert [(job.id, job.comment) for job in jobs] == [(7, text), (8, "hub:1")]


@pytest.mark.attack
def test_a_job_of_another_account_bears_no_mark_of_ours():
    """Everybody can read a comment, and on a shared cluster give the same to a job of theirs."""
    copied = row(user=OURS + 1)
    assert [job.comment for job in FORMAT.parse(copied)] == [""]
    # The control: were the account not looked at, the copy would be taken for the hub's own job.
    assert [job.comment for job in QueueFormat("mark", OURS + 1).parse(copied)] == ["hub:1"]


@pytest.mark.attack
def test_a_job_of_a_persons_account_is_believed_only_with_that_accounts_own_number():
    people = QueueFormat("mark", OURS, range(70000, 70010))
    for user, comment, believed in (
        (70003, "hub:1:70003", True),
        (70004, "hub:1:70003", False),  # a person plays another's job
        (70003, "hub:1", False),  # a person plays a job of the site's own account
        (OURS, "hub:1", True),
        (OURS, "hub:1:70003", False),
        (80000, "hub:1:80000", False),  # an account that no job of people runs as
    ):
        (job,) = people.parse(row(user=user, comment=comment))
        assert job.comment == (comment if believed else ""), (user, comment)
        (bare,) = FORMAT.parse(row(user=user, comment=comment))
        assert bool(bare.comment) == (believed and user == OURS)


def test_no_two_queries_share_a_separator():
    assert len({QueueFormat.fresh().mark for _ in range(100)}) == 100


def test_an_empty_queue():
    assert FORMAT.parse("") == ()


@pytest.mark.parametrize(
    "text", ["JOBID STATE\n", "<mark>7|mark|RUNNING\n", row(number="x"), row(submitted="N/A"), row(nodes="[")]
)
def test_anything_else_is_unknown(text):
    with pytest.raises(SlurmUnavailable):
        FORMAT.parse(text)


def test_exit_codes_are_read_in_both_forms():
    text = "12          768                 \n13  9\n14 3:0\n15 0:15\n"
    assert answers.parse_exit_codes(text) == {12: (3, 0), 13: (0, 9), 14: (3, 0), 15: (0, 15)}
    with pytest.raises(SlurmUnavailable):
        answers.parse_exit_codes("12 soon")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        ("cpu1", ["cpu1"]),
        ("gpu[01-03,7],cpu1", ["gpu01", "gpu02", "gpu03", "gpu7", "cpu1"]),
        ("r[1-2]n,x", ["r1n", "r2n", "x"]),
    ],
)
def test_host_lists_are_expanded(text, names):
    assert list(answers.expand_hosts(text)) == names


NODE = (
    "NodeName=gpu01 Arch=x86_64 CPUAlloc=2 CPUTot=8 Gres=gpu:a100:2(S:0),shard:8 GresUsed=gpu:a100:1(IDX:0),"
    "shard:(null):0 NodeAddr=10.0.0.1 RealMemory=8192 AllocMem=200 State={state} Partitions=gpu,all "
    "Reason=State=IDLE by hand\n"
)


@pytest.mark.parametrize(
    ("state", "usable"),
    [("IDLE", True), ("MIXED", True), ("MIXED+PLANNED", True), ("IDLE*", False), ("IDLE+DRAIN", False), ("DOWN", False),
     ("IDLE+NOT_RESPONDING", False), ("NEWSTATE", False)],
)  # fmt: skip
def test_a_node_is_usable_only_in_states_known_to_take_work(state, usable):
    (node,) = answers.parse_nodes(NODE.format(state=state))
    assert (node.name, node.address, node.gpus, node.gpus_used) == ("gpu01", "10.0.0.1", 2, 1)
    assert (node.cpus_used, node.memory_used) == (2, 200 * 2**20)
    assert node.usable is usable


@pytest.mark.parametrize(
    ("told", "used"),
    [
        ("GresUsed=gpu:2,shard:0", 0),
        # Slurm 22.05 prints this for three shards of one GPU: it does not tell how many there are.
        ("GresUsed=gpu:0,shard:(null):1(IDX:0)", None),
        ("GresUsed=gpu:0,shard:(null):1(IDX:0) CfgTRES=cpu=8,gres/gpu=2,gres/shard=8 AllocTRES=cpu=1,gres/shard=3", 3),
        ("GresUsed=gpu:2,shard:0 CfgTRES=cpu=8,gres/gpu=2,gres/shard=8 AllocTRES=", 0),
    ],
)
def test_shards_in_use_are_counted_only_where_slurm_counts_them(told, used):
    line = f"NodeName=g NodeAddr=g State=MIXED CPUTot=8 CPUAlloc=1 RealMemory=8 AllocMem=1 Gres=gpu:2,shard:8 {told}"
    (node,) = answers.parse_nodes(line)
    assert (node.shards, node.shards_used) == (8, used)


@pytest.mark.parametrize(
    ("said", "unanswered"),
    [
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)", True),
        ("slurm_load_jobs error: Socket timed out on send/recv operation", True),
        ("sbatch: error: Batch job submission failed: Protocol authentication error", True),
        ("sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received", True),
        ("", True),
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available", False),
        (
            "sbatch: error: invalid partition specified: munge\n"
            "sbatch: error: Batch job submission failed: Invalid partition name specified",
            False,
        ),
        ("sbatch: error: Batch job submission failed: Invalid account or partition combination specified", False),
    ],
)  # fmt: skip
def test_no_answer_is_told_from_a_no(said, unanswered):
    assert answers.is_no_answer(said) is unanswered


def test_the_sentence_is_slurms_own():
    said = "sbatch: error: Memory specification can not be satisfied\nsbatch: error: Batch job submission failed: No.\n"
    assert answers.sentence(said) == "Memory specification can not be satisfied. Batch job submission failed: No"
