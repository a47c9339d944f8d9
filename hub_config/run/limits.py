"""`leerlab doctor`: a limit that is promised to everybody is really set, tried by going beyond it."""

from __future__ import annotations

import asyncio
import secrets
import time
from datetime import timedelta

from base.errors import LeerlabError
from base.paths import State
from base.quantities import Size
from cluster.accounting import course_account
from cluster.commands import Slurm
from cluster.request import JobRequest
from cluster.script import job_script
from hub_config.site import Site
from hub_config.slurm import hub_id

ASKED = Size.parse("64M")
TAKEN_MIB = 256
KEPT_SECONDS = 30
"""As long as a job that Slurm does not end keeps it; longer than any usual JobAcctGatherFrequency."""
JOB_SECONDS = 60.0
_LOOK = 0.25
_KEPT = "kept it"
_TAKE = (
    f"import time; taken = bytearray({TAKEN_MIB} << 20); taken[::4096] = b'x' * len(taken[::4096]); "
    f"time.sleep({KEPT_SECONDS}); print({_KEPT!r}, flush=True)"
)


async def see_memory(slurm: Slurm, site: Site, state: State) -> str:
    """A job that takes more memory than it asked for is ended.

    Raises:
        LeerlabError: it is not, or it does not run.
    """
    output = state.jobs / f"doctor-{secrets.token_hex(4)}.log"
    request = JobRequest(
        name="leerlab-doctor",
        comment=f"{hub_id(state)}:doctor",
        partition=site.profiles[0].partition,
        cpus=1,
        memory=ASKED,
        time=timedelta(minutes=2),
        account=course_account(site.cluster),
        script=job_script(("/usr/bin/python3", "-I", "-c", _TAKE)),
        output=output,
        environment={"PATH": "/usr/bin:/bin"},
    )
    begun = time.monotonic()
    job = await slurm.submit(request)
    try:
        running: float | None = None
        while True:
            seen, now = await slurm.job(job), time.monotonic()
            if seen is None or seen.state.ended:
                break
            if running is None and not seen.state.waiting:
                running = now
            if now - begun > JOB_SECONDS + KEPT_SECONDS:
                raise LeerlabError(
                    f"A small job did not run within {JOB_SECONDS:.0f} s.",
                    "Whether Slurm keeps jobs to their memory is not known.",
                    "Look at squeue and sinfo: is the cluster full, or are nodes down?",
                )
            await asyncio.sleep(_LOOK)
        if output.exists() and _KEPT in output.read_text("utf-8", "replace"):
            raise LeerlabError(
                f"A job that asked for {ASKED} of memory took {TAKEN_MIB} MiB and was not ended.",
                "One person's notebook could take the memory of all others on the node.",
                "Set ConstrainRAMSpace=yes in cgroup.conf with task/cgroup, or JobAcctGatherParams=OverMemoryKill.",
            )
    finally:
        await slurm.cancel([job])
        output.unlink(missing_ok=True)
    return f"a job that took more than it asked for was ended {time.monotonic() - (running or begun):.0f} s later"
