"""All reasons that Slurm gives: each has a sentence, and the sentence fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from spawners.reasons import code_of

# squeue(1), JOB REASON CODES, and what the library of 22.05 and the sources up to 25.11 can print beside it.
ALL = (Path(__file__).parents[2] / "data/slurm/reasons.txt").read_text().split()


def test_slurm_gives_no_reason_that_people_are_told_as_a_mere_word() -> None:
    assert len(ALL) > 190
    assert [word for word in ALL if code_of(word) == "start.waiting.other"] == []


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("", "scheduling"),
        ("Prolog", "preparing"),
        ("Resources", "resources"),
        ("Priority", "priority"),
        ("Dependency", "dependency"),
        ("BeginTime", "begin-time"),
        ("ReqNodeNotAvail, UnavailableNodes:gpu01", "nodes"),
        ("ReqNodeNotAvail(Unavailable:gpu01)", "nodes"),
        ("ReqNodeNotAvail, Reserved for maintenance", "maintenance"),
        ("ReqNodeNotAvail, May be reserved for other job", "reserved"),
        ("Nodes_required_for_job_are_DOWN,_DRAINED_or_reserved_for_jobs_in_higher_priority_partitions", "nodes"),
        ("PartitionDown", "closed"),
        ("Reservation", "reservation"),
        ("ReservationDeleted", "reservation-gone"),
        ("JobHeldAdmin", "held"),
        ("job requeued in held state", "held"),
        ("launch failed requeued held", "launch-failed"),
        ("launch_failed_requeued_held", "launch-failed"),
        ("PartitionTimeLimit", "never"),
        ("QOSMaxGRESPerJob", "never"),
        ("QOSMaxWallDurationPerJobLimit", "never"),
        ("AssocMaxMemPerNode", "never"),
        ("QOSMinGRES", "never"),
        ("InvalidAccount", "not-allowed"),
        ("Job's QOS not permitted to use this partition (gpu allows a not b)", "not-allowed"),
        ("QOSMaxGRESPerUser", "own-limit"),
        ("QOSMaxJobsPerUserLimit", "own-limit"),
        ("AssocMaxJobsLimit", "own-limit"),
        ("QOSGrpGRES", "limit"),
        ("AssocGrpCpuLimit", "limit"),
        ("MaxGRESPerAccount", "limit"),
        # What running jobs may still use comes free as they end; what all jobs may use in all does not.
        ("QOSGrpGRESRunMinutes", "limit"),
        ("AssocGrpCPURunMinutesLimit", "limit"),
        ("QOSGrpGRESMinutes", "budget"),
        ("AssocGrpBillingMinutes", "budget"),
        ("AssocGrpWallLimit", "budget"),
        ("QOSNewKindOfLimit", "limit"),
        ("PowerNotAvail", "power"),
        ("BurstBufferStageIn", "storage"),
        ("SomethingNew", "other"),
        ("<script>", "other"),
    ],
)
def test_a_reason_means_what_a_person_can_do_about_it(reason: str, code: str) -> None:
    assert code_of(reason) == f"start.waiting.{code}"
