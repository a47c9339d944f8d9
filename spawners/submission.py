"""From a plan to a Slurm job: typed values in the request, secrets in its environment, nothing that a person chose."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from base.paths import State
from cluster.request import JobRequest
from cluster.script import job_script
from ledger.use import Place, Purpose
from spawners import launcher, use
from spawners.facility import Facility
from spawners.job import VARIABLE, Task
from spawners.plan import ServerPlan
from spawners.starts import Start

LOG, SLURM_LOG = launcher.LOG, launcher.SLURM_LOG
AHEAD = "ahead"
"""File in a job's folder that says that somebody else started the server, ahead of a lesson."""
FOR_GRADING = "for-grading"
"""File in a job's folder that says that the site started a course's server, to grade without a teacher."""
OWNER = "owner"
"""File in a job\'s folder with the name of the hub account whose server it runs."""


def inside_environment(plan: ServerPlan, given: Mapping[str, str], base: str, hub_prefix: str) -> dict[str, str]:
    """The server's environment: what JupyterHub gives its servers, with addresses as they are inside the wall.

    Args:
        plan: its own environment comes last, because it is the site's.
        given: `Spawner.get_env()`; only its JUPYTERHUB_* variables enter.
        base: the server's base URL.
        hub_prefix: base URL of the hub, such as `/hub/`.
    """
    environment = {name: value for name, value in given.items() if name.startswith("JUPYTERHUB_") and value is not None}
    api = f"http://127.0.0.1:{plan.api_port}{hub_prefix}api"
    outside = given.get("JUPYTERHUB_API_URL", "")
    environment["JUPYTERHUB_ACTIVITY_URL"] = given["JUPYTERHUB_ACTIVITY_URL"].replace(outside, api, 1)
    environment["JUPYTERHUB_API_URL"] = api
    environment["JUPYTERHUB_SERVICE_URL"] = f"http://127.0.0.1:{plan.wall.publish}{base}"
    # JupyterHub's own names for it; extensions that show or spare memory look for them.
    environment["MEM_LIMIT"] = str(int(plan.profile.memory))
    environment["CPU_LIMIT"] = str(plan.profile.cpus)
    return {**environment, **plan.wall.environment}


def job_folder(facility: Facility, start_id: str) -> Path:
    """Where a start's job writes."""
    return facility.state.jobs / start_id


def is_ahead(state: State, start_id: str) -> bool:
    """Whether a start was made ahead of a lesson, by somebody else than the server's owner."""
    return (state.jobs / start_id / AHEAD).exists()


def is_for_grading(state: State, start_id: str) -> bool:
    """Whether a start of a course's server was made to grade without a teacher."""
    return (state.jobs / start_id / FOR_GRADING).exists()


def task_of(
    facility: Facility, plan: ServerPlan, start: Start, secret: str, *,
    person: str, environment: Mapping[str, str], base: str, hub_prefix: str,
) -> Task:  # fmt: skip
    """What the job of one start has to do; writes down for whom and for what it will be.

    Args:
        facility: the hub's surroundings.
        plan: what to start.
        start: the start that is committed already.
        secret: its one-time secret.
        person: whose server it is.
        environment: of `inside_environment`.
        base: the server's base URL.
        hub_prefix: base URL of the hub.
    """
    purpose = plan.purpose or Purpose(person, Place.OWN)
    counted = use.begin(facility.state, start.id, start.comment(facility.hub), purpose, plan.profile)
    return Task(
        wall=replace(plan.wall, environment=dict(environment)),
        report_to=facility.report_to,
        report_path=f"{hub_prefix}api/leerlab/starts/{start.id}",
        secret=secret,
        base=base,
        publish_on=facility.publish_on,
        log=job_folder(facility, start.id) / LOG,
        log_limit=facility.log_limit,
        use=counted,
        tls=start.tls,
        home_size=plan.home_size,
    )


def job_request(facility: Facility, plan: ServerPlan, start: Start, task: Task) -> JobRequest:
    """The job of one start, of the site's own account.

    Args:
        facility: the hub's surroundings.
        plan: what to start.
        start: the start that is committed already.
        task: of `task_of`.
    """
    return JobRequest(
        name="leerlab-server",
        comment=start.comment(facility.hub),
        **plan.profile.resources,
        script=job_script(facility.wrapper),
        output=job_folder(facility, start.id) / SLURM_LOG,
        environment={VARIABLE: task.to_json()},
        account=plan.profile.account or plan.account,
    )


def handing_over(facility: Facility, plan: ServerPlan, start: Start, task: Task) -> Callable[[], Awaitable[int]]:
    """What hands the job of one start to Slurm, as the account that the start names; gives the job's number.

    Args:
        facility: the hub's surroundings.
        plan: what to start.
        start: the start that is committed already.
        task: of `task_of`.
    """
    if start.uid is not None and facility.launcher is not None:
        return partial(facility.launcher.submit, start.uid, launch_order(facility.hub, plan, start, task))
    return partial(facility.slurm.submit, job_request(facility, plan, start, task))


def launch_order(hub: str, plan: ServerPlan, start: Start, task: Task) -> dict[str, Any]:
    """The order to `spawners.launcher` for the job of one start; the rest of the task is the launcher's to say.

    Args:
        hub: id of this hub.
        plan: what to start.
        start: the start that is committed already.
        task: of `task_of`.
    """
    asked = plan.profile.resources
    return {
        "start": start.id,
        "hub": hub,
        "job": {
            **{name: asked[name] for name in ("partition", "cpus", "gpus", "gpu_type", "shards", "qos", "reservation")},
            "memory": int(asked["memory"]),
            "seconds": round(asked["time"].total_seconds()),
            "account": plan.profile.account or plan.account,
        },
        "task": {
            "wall": task.wall.to_json(), "report_path": task.report_path, "secret": task.secret, "base": task.base,
            "log_limit": task.log_limit, "home_size": task.home_size,
        },
    }  # fmt: skip
