"""A job that takes more memory than it asked for is ended, also where no cgroup is there to do it."""

from __future__ import annotations

import asyncio

import pytest

from base.quantities import Size
from cluster import embedded
from cluster.jobs import JobState

pytestmark = [pytest.mark.integration, pytest.mark.attack]

# 200 MiB, touched; then as long as three looks of slurmstepd.
TAKE = (
    "b = bytearray(200 << 20); b[::4096] = b'x' * len(b[::4096]); "
    "import time; time.sleep(7); print('kept it', flush=True)"
)
HIDE = "import ctypes; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); "
PYTHON = ("/usr/bin/python3", "-c")
WALL = ("/usr/bin/bwrap", "--unshare-user", "--unshare-pid", "--bind", "/", "/", "--dev", "/dev", "--proc", "/proc")

PAYLOADS = [
    pytest.param((*PYTHON, TAKE), id="openly"),
    pytest.param((*PYTHON, HIDE + TAKE), id="with-its-maps-made-unreadable"),
    pytest.param((*WALL, *PYTHON, TAKE), id="inside-the-wall"),
]


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


@pytest.mark.parametrize("payload", PAYLOADS)
async def test_a_job_that_takes_too_much_is_ended(cluster, unguarded, request_for, tmp_path, payload):
    async def run(where, log: str):
        request = request_for(*payload, memory=Size.parse("64M"), output=tmp_path / log)
        return await where.ended(await where.slurm.submit(request), seconds=30)

    guarded, control = await asyncio.gather(run(cluster, "guarded"), run(unguarded, "control"))
    assert control.state is JobState.COMPLETED
    assert "kept it" in (tmp_path / "control").read_text()
    assert guarded.state is not JobState.COMPLETED
    assert "exceeded memory limit" in (tmp_path / "guarded").read_text()
    assert "kept it" not in (tmp_path / "guarded").read_text()
