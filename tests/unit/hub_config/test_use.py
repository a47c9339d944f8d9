"""From what a wrapper counted and what Slurm says to a row of the ledger: sums, bounds, and what breaks in between."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from base.paths import State
from base.quantities import Duration, Size
from cluster.jobs import Job, JobState
from cluster.records import JobRecord, parse, thousandths
from cluster.settings import EmbeddedCluster, EmbeddedPartition, Node
from hub_config.use import LOST, Collector, Ran, row
from ledger.settings import EnergySettings
from ledger.store import Ledger
from ledger.use import By, Place, Purpose, Total, UseLedger
from spawners import use
from spawners.settings import Profile, Title

CLUSTER = EmbeddedCluster(
    kind="embedded",
    nodes=(Node(name="gpu01", cpus=8, memory=Size.parse("8G"), gpus=2, shards=8),),
    partitions=(EmbeddedPartition(name="gpu", nodes=("gpu01",), time=Duration.parse("1h"), default=True),),
)
PROFILE = Profile(
    id="p", title=Title(nl="p", en="p"), partition="gpu", cpus=2, memory=Size.parse("128M"), time=Duration.parse("1h"),
    shards=2,
)  # fmt: skip
NOW = datetime.now(UTC)
COUNTED = use.Counted(7, NOW.timestamp(), 100.0, 2, 50.0, gpus=1, shared=False, gpu=None, last=True)
RAN = Ran("sacct", 7, NOW, 101, 2, 0, True)
ABOUT = use.About("hub:one", Purpose("sanne", Place.COURSE, "klein"), "gpu", 2, 0, 0, NOW)


class Slurm:
    """What squeue would say."""

    def __init__(self, *jobs: Job) -> None:
        self.jobs = jobs

    async def recent(self) -> Sequence[Job]:
        return self.jobs


class Records:
    """What sacct would say."""

    def __init__(self, *records: JobRecord) -> None:
        self.records = records

    async def of(self, jobs: Any) -> dict[int, list[JobRecord]]:
        return {job: [one for one in self.records if one.job == job] for job in jobs}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[UseLedger]:
    key = tmp_path / "key"
    key.write_text("a" * 64)
    with closing(Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}", key)) as made:
        yield UseLedger(made)


@pytest.fixture
def state(tmp_path: Path) -> State:
    made = State(tmp_path / "s")
    made.make()
    return made


def collector(state: State, ledger: UseLedger, slurm: Slurm, records: Records | None = None) -> Collector:
    return Collector(state, ledger, EnergySettings(), CLUSTER, slurm=slurm, records=records)


def line(**changes: Any) -> str:
    plain: dict[str, Any] = {
        "job": 7, "time": time.time(), "seconds": 100.0, "cores": 2, "cpu_seconds": 50.0, "gpus": 0, "shared": False,
        "gpu": None, "last": True,
    }  # fmt: skip
    return json.dumps(plain | changes) + "\n"


def begun(state: State, name: str = "one", *lines: str, job: int | None = 7, ago: timedelta = timedelta()) -> Path:
    file = use.begin(state, name, f"hub:{name}", Purpose("sanne", Place.OWN), PROFILE)
    if job is not None:
        use.submitted(state, name, job)
    if lines:
        file.write_text("".join(lines))
    about = json.loads((file.parent / use.ABOUT).read_text())
    about["written"] = (datetime.now(UTC) - ago).isoformat()
    (file.parent / use.ABOUT).write_text(json.dumps(about))
    return file.parent


def record(seconds: int = 101, *, ended: bool = True, job: int = 7, submitted: datetime | None = None) -> JobRecord:
    return JobRecord(job, submitted or datetime.now(UTC), datetime.now(UTC), seconds, 2, 500, ended)


def test_processors_are_reckoned_by_the_model() -> None:
    made = row(ABOUT, COUNTED, RAN, 6.0)
    assert (made.joules, made.least, made.most) == (300, 150, 600)
    assert (made.seconds, made.core_seconds, made.gpu_joules, made.measured) == (101, 202, 0, False)


def test_what_a_killed_wrapper_did_not_count_widens_the_upper_bound_only() -> None:
    made = row(ABOUT, replace(COUNTED, last=False), replace(RAN, seconds=130), 6.0)
    assert (made.joules, made.least) == (300, 150)
    assert made.most == (50 + 30 * 2) * 6 * 2


def test_gpus_are_as_their_meter_says_and_a_part_of_one_is_anything_up_to_the_whole() -> None:
    metered = replace(COUNTED, gpu=(10_000.0, 9_500.0, 10_500.0))
    whole = row(ABOUT, metered, replace(RAN, gpu_thousandths=1000), 6.0)
    assert (whole.gpu_joules, whole.joules, whole.least, whole.most) == (10_000, 10_300, 9_650, 11_100)
    assert whole.measured and whole.gpu_thousandths == 101_000
    part = row(ABOUT, replace(metered, shared=True), replace(RAN, gpu_thousandths=250), 6.0)
    assert (part.gpu_joules, part.least, part.most) == (2_500, 150, 11_100)


def test_gpus_without_a_meter_are_missing_and_not_nothing() -> None:
    assert row(ABOUT, COUNTED, replace(RAN, gpu_thousandths=1000), 6.0).gpu_joules is None


def test_a_row_of_the_ledger_is_written_once_more_without_counting_twice(ledger: UseLedger) -> None:
    open_row = replace(row(ABOUT, COUNTED, RAN, 6.0), final=False)
    final = replace(open_row, seconds=200, final=True)
    ledger.put([open_row])
    ledger.put([final])
    ledger.put([open_row])
    assert ledger.rows() == [final]
    assert ledger.total(person="sanne").seconds == 200 and ledger.total(person="jelmer") == Total()
    assert ledger.open() == []


def test_the_ledger_forgets_people_and_keeps_what_it_was_for(ledger: UseLedger) -> None:
    old = replace(row(ABOUT, COUNTED, RAN, 6.0), begun=time.time() - 500 * 86400, id="old")
    ledger.put([old, row(ABOUT, COUNTED, RAN, 6.0)])
    assert ledger.forget(400) == 1
    assert ledger.total(person="sanne").jobs == 1
    assert ledger.total(place=Place.COURSE, place_id="klein").jobs == 2
    assert ledger.total(days=30).jobs == 1
    assert set(ledger.totals(By.PERSON)) == {("",), ("sanne",)}


async def test_the_last_whole_line_counts_and_the_folder_goes_when_all_is_in(state: State, ledger: UseLedger) -> None:
    folder = begun(state, "one", line(cpu_seconds=1.0, last=False), line())
    assert await collector(state, ledger, Slurm(), Records(record())).look() == 1
    (made,) = ledger.rows()
    assert (made.cpu_seconds, made.seconds, made.gpu_thousandths) == (50, 101, 50_500)
    assert not folder.exists()


@pytest.mark.fault
@pytest.mark.parametrize("cut", ['{"job": 7, "time": 1, "sec', "\0\0\0\0", "{}\n", "[]\n", "nonsense\n", "\xff\n"])
async def test_a_line_that_was_cut_off_costs_only_itself(state: State, ledger: UseLedger, cut: str) -> None:
    begun(state, "one", line(cpu_seconds=33.0, last=False), cut)
    await collector(state, ledger, Slurm(), Records(record())).look()
    assert [one.cpu_seconds for one in ledger.rows()] == [33.0]


@pytest.mark.fault
async def test_a_clock_that_was_set_on_the_node_changes_no_seconds(state: State, ledger: UseLedger) -> None:
    begun(state, "one", line(time=12.0, seconds=100.4))
    await collector(state, ledger, Slurm()).look()
    (made,) = ledger.rows()
    assert (made.seconds, made.source, made.final) == (100, "job", True)


async def test_a_number_that_slurm_gave_out_again_is_not_this_job(state: State, ledger: UseLedger) -> None:
    begun(state, "one", line())
    older = record(9999, submitted=datetime.now(UTC) - timedelta(hours=1))
    await collector(state, ledger, Slurm(), Records(older)).look()
    assert ledger.rows() == []
    await collector(state, ledger, Slurm(), Records(older, record())).look()
    assert [one.seconds for one in ledger.rows()] == [101]


async def test_a_job_that_slurmdbd_does_not_know_is_waited_for_and_then_taken_at_its_own_word(
    state: State, ledger: UseLedger
) -> None:
    folder = begun(state, "one", line())
    assert await collector(state, ledger, Slurm(), Records()).look() == 0
    assert folder.exists() and ledger.rows() == []
    begun(state, "one", line(), ago=LOST + timedelta(minutes=1))
    await collector(state, ledger, Slurm(), Records()).look()
    assert [(one.seconds, one.source) for one in ledger.rows()] == [(100, "job")]


async def test_a_job_of_which_nobody_knows_anything_is_forgotten_after_days(state: State, ledger: UseLedger) -> None:
    folder = begun(state, "one", job=None)
    made = collector(state, ledger, Slurm(), Records())
    await made.look()
    assert folder.exists()
    begun(state, "one", job=None, ago=LOST + timedelta(minutes=1))
    await made.look()
    assert not folder.exists() and ledger.rows() == []


async def test_a_job_that_waits_in_the_queue_has_used_nothing(state: State, ledger: UseLedger) -> None:
    begun(state)
    waits = Job(7, JobState.PENDING, "", (), "hub:one", "n", "gpu", datetime.now(UTC))
    assert await collector(state, ledger, Slurm(waits), Records(record(0, ended=False))).look() == 0
    assert ledger.rows() == []


def test_parts_of_a_gpu_are_reckoned_where_accounting_does_not_tell() -> None:
    assert [thousandths(CLUSTER, "gpu", gpus, shards) for gpus, shards in ((2, 0), (0, 1), (0, 4), (0, 0))] == [
        2000, 250, 1000, 0,
    ]  # fmt: skip


def test_sacct_is_read_with_words_for_what_did_not_happen() -> None:
    text = (
        "7|1795890000|1795890005|1795890047|42|COMPLETED|billing=250,cpu=2,gres/shard=1,mem=64M,node=1\n"
        "8|1795890000|Unknown|1795890003|0|CANCELLED by 999|\n"
        "9|1795890001|1795890005|Unknown|3|RUNNING|billing=2,cpu=2,mem=64M,node=1\n"
        "10|1795890001|1795890005|Unknown|4|COMPLETED|billing=2,cpu=2,mem=64M,node=1\n"
    )
    first, cancelled, runs, unsettled = parse(text)
    assert (first.seconds, first.cores, first.gpu_thousandths, first.ended) == (42, 2, 250, True)
    assert (cancelled.started, cancelled.ended) == (None, True)
    # What is billed without any GPU is not GPUs.
    assert (runs.gpu_thousandths, runs.ended) == (0, False)
    # slurmdbd that was away knows the state first, and when it ended later.
    assert not unsettled.ended
