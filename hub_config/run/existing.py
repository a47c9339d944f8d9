"""`leerlab doctor` beside an existing cluster: what that Slurm and its nodes lack for this site."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from assistant.configuration import SOCKET as ASSISTANT
from assistant.model_jobs import REPORTS
from base.errors import LeerlabError
from base.paths import Installation, State
from base.quantities import Size
from cluster.accounting import course_account
from cluster.commands import Slurm
from cluster.errors import SlurmError
from cluster.existing import MOST_NAMED, ExistingSlurm
from cluster.jobs import ClusterNode
from cluster.request import JobRequest
from cluster.script import job_script
from cluster.settings import ExistingCluster
from cluster.unix_accounts import MadeAccounts
from grading.plans import nested_seccomp_of, seccomp_of
from hub_config.lab_certificates import certificates_of
from hub_config.site import Site
from hub_config.slurm import hub_id, slurm_of
from hub_config.unix_accounts import known_accounts, launcher_of
from ledger.unix_accounts import UnixAccountLedger
from sandboxes.way_out import SOCKET as WAY_OUT
from spawners.doorway import STUNNEL
from spawners.launcher import USE
from spawners.node_check import MARK, VARIABLE, Wanted

JOBS_SECONDS = 60.0
JOB_MEMORY = Size.parse("128M")
_LOOK = 0.5
# Of a large cluster these are looked at; the others were installed by the same role.
MOST_NODES = 64
FEW = 0.05
"""Of all accounts: when so few are left, the operator is told."""
_INSTALL = "Run ./leerlab install --node there, from the same version as on this machine."


@dataclass(frozen=True)
class _Visit:
    """One small job.

    Args:
        node: where it has to run.
        job: its number.
        output: what it prints.
    """

    node: str
    job: int
    output: Path


async def see_slurm(settings: ExistingCluster) -> str:
    """slurm.conf, the commands, munge and slurmctld.

    Raises:
        LeerlabError: one of them is not as it must be.
    """
    slurm = ExistingSlurm(settings)
    files = slurm.see_files()
    return f"{files}; {await slurm.see_controller()}"


async def see_partitions(site: Site, settings: ExistingCluster, state: State) -> str:
    """What site.yaml says of partitions is so.

    Raises:
        LeerlabError: something is not.
    """
    return await ExistingSlurm(settings).see_partitions(await slurm_of(site, state).nodes())


async def see_accounting(settings: ExistingCluster) -> str:
    """Budgets can be made and are kept.

    Raises:
        LeerlabError: something is missing.
    """
    return await ExistingSlurm(settings).see_accounting()


async def see_accounts(site: Site, ledger: UnixAccountLedger) -> str:
    """The hub can start jobs as people's accounts, and there are enough of them.

    Raises:
        LeerlabError: it cannot, or hardly any is left.
    """
    settings, launcher = site.unix_accounts, launcher_of(site)
    assert settings is not None and launcher is not None
    known = known_accounts(settings)
    for one in known:
        try:
            await launcher.read(one.uid, ["0" * 16], USE)
        except SlurmError as error:
            raise LeerlabError(
                f"No job can be started as {one.name}: {' '.join(str(error).split())}",
                "People's servers do not start.",
                "Let root run leerlab accounts make here, then restart the site.",
            ) from error
    if not isinstance(settings, MadeAccounts):
        return f"jobs can be started as people's accounts{'' if known else '; nobody has logged in yet'}"
    given = ledger.given()
    if settings.count - given <= settings.count * FEW:
        raise LeerlabError(
            f"Of {settings.count} unix accounts {given} have been given to people.",
            "New people cannot start a server once all are given.",
            "Raise unix_accounts.count in site.yaml, and run the playbook.",
        )
    return f"jobs can be started as people's accounts; {settings.count - given} of {settings.count} are left"


async def see_nodes(site: Site, settings: ExistingCluster, state: State, installation: Installation) -> str:
    """Every node that can take work has what notebooks need: a small job on each looks.

    Raises:
        LeerlabError: nodes lack something; says which and what.
    """
    slurm = slurm_of(site, state)
    names = {partition.name for partition in settings.partitions}
    ours = [node for node in await slurm.nodes() if names & set(node.partitions)]
    nodes = [node for node in ours if node.usable][:MOST_NODES]
    away = ", ".join(sorted(f"{node.name} is {node.state}" for node in ours if not node.usable)[:MOST_NAMED])
    if not nodes:
        why = away or "none is in a partition of site.yaml"
        raise LeerlabError(f"No node can take work: {why}.", "No notebook starts.", "See sinfo --list-reasons.")
    shared = state.jobs / f"doctor-{secrets.token_hex(4)}"
    content = secrets.token_hex(16)
    shared.write_text(content)
    visits: list[_Visit] = []
    try:
        wanted = _wanted(site, state, installation, shared, content)
        for node in nodes:
            request = _request(site, state, installation, node, names)
            told = replace(request, environment={VARIABLE: wanted.to_json()})
            visits.append(_Visit(node.name, await slurm.submit(told), request.output))
        lacks, silent = await _told(slurm, visits)
    finally:
        await slurm.cancel([visit.job for visit in visits])
        for path in (shared, *(visit.output for visit in visits)):
            path.unlink(missing_ok=True)
    if lacks:
        first, do = lacks[0]
        more = f" And {len(lacks) - 1} more: {'; '.join(what for what, _ in lacks[1:6])}." if len(lacks) > 1 else ""
        raise LeerlabError(f"{first}.{more}", "Notebooks that Slurm puts there do not start.", do)
    if len(silent) == len(visits):
        raise LeerlabError(
            f"No node could be looked at within {JOBS_SECONDS:.0f} s: {', '.join(silent)}.",
            "Notebooks wait as long.",
            "Look at squeue and sinfo: is the cluster full?",
        )
    busy = f"; too busy to be looked at: {', '.join(silent)}" if silent else ""
    out = f"; not at work, see sinfo --list-reasons: {away}" if away else ""
    return f"{len(visits) - len(silent)} nodes have what notebooks need{busy}{out}"


def _wanted(site: Site, state: State, installation: Installation, shared: Path, content: str) -> Wanted:
    programs = ["/usr/bin/bwrap", str(installation.notebook_env / "bin/python")]
    if certificates_of(site, state) is not None:
        programs.append(STUNNEL)
    sockets = ["hub-api.sock", "grading.sock"]
    if site.assistant is not None:
        programs.append(str(installation.assistant_env / "bin/python"))
        sockets += [ASSISTANT, REPORTS]
    if site.sandboxes is not None and site.sandboxes.hosts:
        sockets.append(WAY_OUT)
    return Wanted(
        programs=tuple(programs),
        folders=tuple(str(folder) for folder in (state.homes, state.jobs)),
        shared=str(shared),
        content=content,
        seccomp=str(seccomp_of(state)),
        nested_seccomp=str(nested_seccomp_of(state)),
        sockets=tuple(str(state.run / name) for name in sockets),
        publish_on=site.cluster.publish_on,
        accounts=tuple(f"{one.name}:{one.uid}" for one in known_accounts(site.unix_accounts)),
    )


def _request(
    site: Site, state: State, installation: Installation, node: ClusterNode, partitions: set[str]
) -> JobRequest:
    return JobRequest(
        name="leerlab-doctor",
        comment=f"{hub_id(state)}:doctor",
        partition=next(name for name in node.partitions if name in partitions),
        cpus=1,
        memory=JOB_MEMORY,
        time=timedelta(minutes=1),
        script=job_script(("/usr/bin/python3", "-I", "-S", str(installation.code / "spawners/node_check.py"))),
        output=state.jobs / f"doctor-{secrets.token_hex(8)}.log",
        account=course_account(site.cluster),
        node=node.name,
    )


async def _told(slurm: Slurm, visits: Sequence[_Visit]) -> tuple[list[tuple[str, str]], list[str]]:
    """What every visit found, and the names of nodes that did not get to run theirs."""
    deadline = time.monotonic() + JOBS_SECONDS
    left = {visit.job: visit for visit in visits}
    lacks: list[tuple[str, str]] = []
    while left and time.monotonic() < deadline:
        await asyncio.sleep(_LOOK)
        for number, job in (await slurm.jobs(list(left))).items():
            if job.state.ended:
                visit = left.pop(number)
                lacks += _lacks(visit, job.state.name)
    return lacks, sorted(visit.node for visit in left.values())


def _lacks(visit: _Visit, ended: str) -> list[tuple[str, str]]:
    try:
        text = visit.output.read_text(errors="replace")
    except OSError:
        what = f"{visit.node}: what a job writes to {visit.output.parent} does not arrive here ({ended})"
        return [(what, "Mount the site's shared storage on that node, at the same path and for the same account.")]
    for line in text.splitlines():
        if line.startswith(MARK):
            found = json.loads(line.removeprefix(MARK))
            return [(f"{visit.node}: {lack['what']}", _sentence(lack["do"])) for lack in found]
    last = (text.strip().splitlines() or ["it printed nothing"])[-1]
    return [(f"{visit.node}: the job could not look ({ended}): {last}", _INSTALL)]


def _sentence(phrase: str) -> str:
    return phrase[0].upper() + phrase[1:] + "."
