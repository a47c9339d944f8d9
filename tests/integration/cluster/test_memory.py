"""A job that takes more memory than it asked for is ended, also where no cgroup is there to do it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from base.errors import LeerlabError
from base.paths import Installation
from base.quantities import Size
from cluster import embedded
from cluster.jobs import JobState
from cluster.request import JobRequest
from cluster.script import job_script
from hub_config.run.limits import see_memory
from hub_config.site import load

pytestmark = [pytest.mark.integration, pytest.mark.attack]

# 200 MiB, touched; then as long as three looks of slurmstepd, and until the guarded ones have ended, or a minute.
TAKE = (
    "b = bytearray(200 << 20); b[::4096] = b'x' * len(b[::4096]); "
    "import os, sys, time; time.sleep(7); "
    "any(time.sleep(0.1) for _ in range(530) if not os.path.exists(sys.argv[1])); print('kept it', flush=True)"
)
HIDE = "import ctypes; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); "
PYTHON = ("/usr/bin/python3", "-c")
WALL = ("/usr/bin/bwrap", "--unshare-user", "--unshare-pid", "--bind", "/", "/", "--dev", "/dev", "--proc", "/proc")

PAYLOADS = {
    "openly": (*PYTHON, TAKE),
    "with-its-maps-made-unreadable": (*PYTHON, HIDE + TAKE),
    "inside-the-wall": (*WALL, *PYTHON, TAKE),
}


@pytest.fixture(scope="module")
def unguarded(start_slurm_for_module):
    """The same Slurm with only the defence removed."""

    def without_the_check(state):
        conf = embedded.slurm_conf(state)
        text = conf.read_text()
        assert "JobAcctGatherParams=OverMemoryKill\n" in text
        conf.write_text(text.replace("JobAcctGatherParams=OverMemoryKill\n", ""))

    with start_slurm_for_module(change=without_the_check) as running:
        yield running


@dataclass(frozen=True)
class Ended:
    """How a job ended, and what it and Slurm wrote."""

    state: JobState
    log: str


@pytest.fixture(scope="module")
def ended(cluster, unguarded, tmp_path_factory) -> dict[str, tuple[Ended, Ended]]:
    """Every payload on both Slurms, all at once: guarded and control, by the payload's name."""
    folder = tmp_path_factory.mktemp("memory")
    enough = folder / "enough"

    async def run(where, payload, log: Path) -> Ended:
        request = JobRequest(
            name="test", comment=f"hub:{uuid4().hex}", partition="cpu", cpus=1, memory=Size.parse("64M"),
            time=timedelta(minutes=5), script=job_script((*payload, str(enough))), output=log,
            environment={"PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        job = await where.ended(await where.slurm.submit(request), seconds=100)
        return Ended(job.state, await asyncio.to_thread(log.read_text))

    async def run_all() -> list[Ended]:
        runs = [
            asyncio.create_task(run(where, payload, folder / f"{name}-{kind}"))
            for name, payload in PAYLOADS.items()
            for kind, where in (("guarded", cluster), ("control", unguarded))
        ]
        await asyncio.wait(runs[::2])
        enough.touch()
        return list(await asyncio.gather(*runs))

    found = asyncio.run(run_all())
    return dict(zip(PAYLOADS, zip(found[::2], found[1::2], strict=True), strict=True))


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_job_that_takes_too_much_is_ended(ended, payload):
    guarded, control = ended[payload]
    assert control.state is JobState.COMPLETED
    assert "kept it" in control.log
    assert guarded.state is not JobState.COMPLETED
    assert "exceeded memory limit" in guarded.log
    assert "kept it" not in guarded.log


async def test_the_doctor_finds_out_whether_jobs_are_kept_to_their_memory(cluster, unguarded):
    demo = load(Installation.current().code / "hub_config/demo.yaml")

    def site(where):
        return demo.model_copy(update={"cluster": where.settings})

    assert "was ended" in await see_memory(cluster.slurm, site(cluster), cluster.state)
    with pytest.raises(LeerlabError, match="was not ended") as wrong:
        await see_memory(unguarded.slurm, site(unguarded), unguarded.state)
    assert "OverMemoryKill" in wrong.value.do
    assert not list(cluster.state.jobs.glob("doctor-*")) and not list(unguarded.state.jobs.glob("doctor-*"))
