"""The ledger says of each job what Slurm's own accounting says, to the second, whatever is interrupted."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from base.quantities import Duration, Size
from cluster.embedded import slurm_conf
from cluster.errors import SlurmUnavailable
from cluster.records import records_of
from cluster.script import job_script
from confinement import seccomp
from confinement.gpu import allotted
from confinement.wall import Wall
from grading.job import VARIABLE, Task
from hub_config.use import Collector
from ledger.settings import EnergySettings
from ledger.store import Ledger
from ledger.use import By, Place, Purpose, UseLedger
from spawners import use
from spawners.settings import Profile, Title

JOB = Path(__file__).resolve().parents[3] / "grading" / "job.py"
BUSY = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass\n"

pytestmark = [pytest.mark.integration, pytest.mark.slow]
numbers = count()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[UseLedger]:
    key = tmp_path / "key"
    key.write_text("a" * 64)
    with closing(Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}", key)) as made:
        yield UseLedger(made)


@pytest.fixture
def site(accounted):
    if not (filter_file := accounted.state.generated / "seccomp.bpf").exists():
        seccomp.write_filter(filter_file)
    for folder in use.uncollected(accounted.state):
        use.forget(folder)
    return accounted


def collector(site, ledger: UseLedger, **parts: Any) -> Collector:
    given = {"slurm": site.slurm, "records": records_of(site.settings, site.state)} | parts
    return Collector(site.state, ledger, EnergySettings(), site.settings, **given)


@pytest.fixture
def run(site, request_for):
    """Submits the real wrapper with a program behind a real wall; gives the job's number and comment."""

    async def run(program: str, purpose: Purpose, *, partition="cpu", cpus=1, gpus=0, shards=0) -> tuple[int, str]:
        name = f"{os.getpid():012x}{next(numbers):012x}"
        comment = f"0123456789ab:grading:{name}"
        profile = Profile(
            id="p", title=Title(nl="p", en="p"), partition=partition, cpus=cpus, memory=Size.parse("128M"),
            time=Duration.parse("10m"), gpus=gpus, shards=shards,
        )  # fmt: skip
        counted = use.begin(site.state, name, comment, purpose, profile)
        folder = site.state.jobs / name
        (folder / "home").mkdir(parents=True)
        wall = Wall(
            command=("/usr/bin/python3", "-I", "-c", program), home=folder / "home",
            seccomp=site.state.generated / "seccomp.bpf",
        )  # fmt: skip
        task = Task(wall, 300, folder / "outcome.json", folder / "notebook.log", counted)
        request = request_for(
            "/bin/true", comment=comment, partition=partition, cpus=cpus, gpus=gpus, shards=shards,
            time=timedelta(minutes=10), script=job_script(["/usr/bin/python3", "-I", "-S", str(JOB)]),
            environment={VARIABLE: task.to_json()},
        )  # fmt: skip
        job = await site.slurm.submit(request)
        use.submitted(site.state, name, job)
        return job, comment

    return run


def sacct(site, job: int) -> tuple[int, int, dict[str, str]]:
    """Elapsed seconds, core seconds and AllocTRES of a job, by sacct itself, once slurmdbd has heard of its end."""
    until = time.monotonic() + 60
    while True:
        found = subprocess.run(
            ["sacct", "-X", "-n", "-P", f"--jobs={job}", "--format=ElapsedRaw,CPUTimeRAW,AllocTRES,End"], check=True,
            env={**os.environ, "SLURM_CONF": str(slurm_conf(site.state)), "SLURM_TIME_FORMAT": "%s"},
            capture_output=True, text=True, timeout=20,
        ).stdout.strip()  # fmt: skip
        elapsed, cores, tres, end = found.split("|")
        if end.isdecimal():
            return int(elapsed), int(cores), dict(part.split("=") for part in tres.split(","))
        assert time.monotonic() < until, found
        time.sleep(0.2)


async def all_in(site, made: Collector, ledger: UseLedger, jobs: int) -> None:
    """Wait until the ledger has the last word on so many jobs; slurmdbd hears of an end a moment later."""

    async def look() -> int:
        await made.look()
        return sum(row.final for row in ledger.rows())

    await site.until(look, lambda final: final == jobs, 30)


async def test_rows_agree_with_sacct_to_the_second(site, run, ledger: UseLedger) -> None:
    course, box = Purpose("sanne", Place.COURSE, "klein"), Purpose("mila", Place.SANDBOX, "abcdefgh")
    jobs = [
        await run(BUSY.format(1.5), course, cpus=2),
        await run("import time; time.sleep(2)", box, partition="gpu", gpus=1),
        await run("import time; time.sleep(3)", box, partition="gpu", shards=2),
        await run("raise SystemExit(3)", Purpose("", Place.COURSE, "klein")),
    ]
    for job, _ in jobs:
        await site.ended(job, 60)
    await all_in(site, collector(site, ledger), ledger, len(jobs))
    rows = {row.job: row for row in ledger.rows()}
    for job, comment in jobs:
        elapsed, core_seconds, tres = sacct(site, job)
        row = rows[job]
        assert (row.id, row.source, row.final) == (comment, "sacct", True)
        assert row.seconds == elapsed
        assert row.core_seconds == core_seconds
        assert row.gpu_thousandths == elapsed * int(tres.get("billing", 0) if row.place is Place.SANDBOX else 0)
        assert row.least <= row.joules <= row.most
    busy, whole, part, _ = (rows[job] for job, _ in jobs)
    assert 1.5 <= busy.cpu_seconds < 4
    assert busy.joules == pytest.approx(busy.cpu_seconds * 6)
    # Nothing here can measure a GPU: its energy is missing, and the ledger says so.
    assert whole.gpu_joules is None and part.gpu_joules is None and busy.gpu_joules == 0
    total = ledger.total(place=Place.SANDBOX, place_id="abcdefgh")
    assert total.seconds == whole.seconds + part.seconds
    # Two GPUs and eight shards: two shards are half a GPU.
    assert total.gpu_thousandths == whole.seconds * 1000 + part.seconds * 500 == total.unmetered
    assert ledger.total(person="sanne").jobs == 1 and ledger.total(person="mila").jobs == 2
    assert set(ledger.totals(By.PLACE)) == {("course", "klein"), ("sandbox", "abcdefgh")}
    assert list(use.uncollected(site.state)) == []


@pytest.mark.slow
async def test_a_job_that_runs_is_in_the_ledger_and_counted_anew_at_its_end(site, run, ledger: UseLedger) -> None:
    job, _ = await run("import time; time.sleep(60)", Purpose("sanne", Place.OWN))
    await site.running(job)
    made = collector(site, ledger)

    async def seen() -> list[Any]:
        await made.look()
        return ledger.rows()

    (row,) = await site.until(seen, lambda rows: len(rows) == 1 and rows[0].seconds >= 2)
    assert not row.final
    await site.slurm.cancel([job])
    await site.ended(job)
    await all_in(site, made, ledger, 1)
    assert [one.seconds for one in ledger.rows()] == [sacct(site, job)[0]]


@pytest.mark.slow
async def test_a_job_that_was_cancelled_while_it_waited_used_nothing(site, run, ledger: UseLedger) -> None:
    first = await run("import time; time.sleep(60)", Purpose("sanne", Place.OWN), cpus=16)
    await site.running(first[0])
    second = await run("pass", Purpose("sanne", Place.OWN), cpus=16)
    made = collector(site, ledger)

    async def seen() -> list[Any]:
        await made.look()
        return ledger.rows()

    await site.until(seen, lambda rows: bool(rows) and rows[0].seconds >= 1)
    await site.slurm.cancel([second[0], first[0]])
    await site.ended(first[0])
    await site.ended(second[0])
    await all_in(site, collector(site, ledger), ledger, 1)
    await site.until(lambda: collector(site, ledger).look(), lambda _: not list(use.uncollected(site.state)), 30)
    assert [row.job for row in ledger.rows()] == [first[0]]


@pytest.mark.slow
@pytest.mark.fault
async def test_a_hub_killed_between_reading_and_writing_counts_each_job_once(
    site, run, ledger: UseLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = await run(BUSY.format(0.5), Purpose("sanne", Place.OWN))
    await site.ended(job, 60)

    class Killed(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Killed

    made = collector(site, ledger)
    for where in ("put", "forget"):  # Before anything is in the ledger; and after, before the file is gone.
        with monkeypatch.context() as broken:
            broken.setattr(ledger, "put", die) if where == "put" else broken.setattr("hub_config.use.forget", die)
            until = time.monotonic() + 20
            with pytest.raises(Killed):
                while time.monotonic() < until:
                    await made.look()
                    if where == "forget":
                        await asyncio.sleep(0.1)
        assert len(list(use.uncollected(site.state))) == 1
        assert len(ledger.rows()) == (where == "forget")
    before = ledger.rows()
    await all_in(site, collector(site, ledger), ledger, 1)
    assert ledger.rows() == before
    assert list(use.uncollected(site.state)) == []


@pytest.mark.slow
@pytest.mark.fault
async def test_while_sacct_is_away_nothing_is_lost_and_nothing_is_final(site, run, ledger: UseLedger) -> None:
    job, _ = await run(BUSY.format(0.3), Purpose("sanne", Place.OWN))
    await site.ended(job, 60)

    class Away:
        async def of(self, _jobs: Any) -> Any:
            raise SlurmUnavailable("sacct: away", "", "")

    with pytest.raises(SlurmUnavailable):
        await collector(site, ledger, records=Away()).look()
    assert ledger.rows() == [] and len(list(use.uncollected(site.state))) == 1
    site.end("slurmdbd")
    try:
        with pytest.raises(SlurmUnavailable):
            await collector(site, ledger).look()
    finally:
        site.start("slurmdbd")
    await site.until(lambda: answering(site), bool, 30)
    await all_in(site, collector(site, ledger), ledger, 1)
    assert [row.seconds for row in ledger.rows()] == [sacct(site, job)[0]]


async def answering(site) -> bool:
    try:
        records = records_of(site.settings, site.state)
        assert records is not None
        await records.of([1])
    except SlurmUnavailable:
        return False
    return True


async def test_without_accounting_slurm_tells_as_long_as_it_remembers(cluster, request_for, ledger: UseLedger) -> None:
    state, profile = cluster.state, Profile(
        id="p", title=Title(nl="p", en="p"), partition="gpu", cpus=1, memory=Size.parse("128M"),
        time=Duration.parse("10m"), shards=2,
    )  # fmt: skip
    name = f"{os.getpid():012x}{next(numbers):012x}"
    comment = f"0123456789ab:grading:{name}"
    use.begin(state, name, comment, Purpose("sanne", Place.OWN), profile)
    job = await cluster.slurm.submit(request_for("/bin/sleep", "2", comment=comment, partition="gpu", shards=2))
    ended = await cluster.ended(job)
    made = Collector(state, ledger, EnergySettings(), cluster.settings, slurm=cluster.slurm, records=None)
    await made.look()
    (row,) = ledger.rows()
    assert (row.source, row.final) == ("slurm", True)
    assert row.seconds == round((ended.ended - ended.started).total_seconds())
    assert row.gpu_thousandths == row.seconds * 500
    # No wrapper counted: the job may have used its core all the time, or never.
    assert (row.joules, row.least) == (0, 0) and row.most == row.seconds * 6 * 2


@pytest.mark.parametrize("asked", [{"gpus": 1}, {"gpus": 2}, {"shards": 2}, {}])
async def test_what_slurmd_says_of_gpus_is_what_the_wall_goes_by(cluster, request_for, asked) -> None:
    output = cluster.state.jobs / f"environment-{next(numbers)}"
    request = request_for(
        "/usr/bin/env", partition="gpu", output=output, environment={"CUDA_VISIBLE_DEVICES": "0,1,2"}, **asked
    )
    await cluster.ended(await cluster.slurm.submit(request))
    environment = dict(line.partition("=")[::2] for line in output.read_text().splitlines() if "=" in line)
    assert len(allotted(environment)) == (asked.get("gpus") or min(1, asked.get("shards", 0)))
