"""`leerlab up`: from a site.yaml to a site that really answers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from base.errors import LeerlabError
from base.paths import Installation, State
from cluster import accounting, embedded
from cluster.existing import ExistingSlurm
from cluster.settings import EmbeddedCluster, ExistingCluster
from confinement import seccomp
from hub_config.catalogue import prepare_catalogue
from hub_config.courses import release_courses
from hub_config.images import prepare_image, with_image
from hub_config.lab_certificates import certificates_of
from hub_config.login import keys as login_keys
from hub_config.run import ports, strays
from hub_config.run.doctor import see_wall
from hub_config.run.folder import make_state
from hub_config.run.keys import secret
from hub_config.run.lock import only_one
from hub_config.run.processes import daemons, environment_of_all, write_configuration
from hub_config.run.ready import DaemonFails, wait_until_ready
from hub_config.run.supervisor_client import Supervisor
from hub_config.site import Site
from hub_config.slurm import people_of
from hub_config.unix_accounts import see_no_old_homes

SUPERVISORD_SECONDS = 30.0
ENDING_SECONDS = 3.0
SITE_COPY = "site.yaml"
Step = Callable[[str], None]
Stay = Callable[[subprocess.Popen[bytes]], None]


@dataclass(frozen=True)
class Started:
    """What `up` tells at its end.

    Args:
        address: where people go.
        login_link: the same with a one-time key for the demo login; good for one browser.
        already_running: the site ran before this call.
        seconds: how long the call took.
        problems: what is wrong with published courses, a sentence each.
    """

    address: str
    login_link: str
    already_running: bool
    seconds: float
    problems: tuple[str, ...] = ()


def site_digest(site: Site, installation: Installation) -> str:
    """Identifies the settings and the code that a running site was started from."""
    text = json.dumps(
        [site.model_dump(mode="json"), str(installation.code), str(installation.notebook_env), str(installation.image)],
        sort_keys=True,
    )
    return hashlib.sha256(text.encode()).hexdigest()


def up(
    site: Site, site_file: Path, state: State, installation: Installation, step: Step, *, stay: Stay | None = None
) -> Started:
    """Start the site, or find it running; returns when everything answers.

    Args:
        site: the checked settings.
        site_file: where they were read from.
        state: the site's state folder.
        installation: the environments to use.
        step: called with one English phrase at each step.
        stay: gets supervisord as a child of this process, with which it ends; without it supervisord goes on alone, and
            a site that runs already is found.

    Raises:
        LeerlabError: something does not start; says what, and where its log is.
    """
    begin = time.monotonic()
    os.umask(0o077)
    make_state(state, site.people)
    installation = with_image(site, state, installation)
    with only_one(state):
        supervisor = Supervisor(state)
        already = _still_runs(supervisor) if stay is not None else supervisor.running()
        if already and stay is not None:
            raise LeerlabError(
                "The site runs already, and not in the foreground.",
                "What was started otherwise cannot be taken over.",
                "Run ./leerlab down, which ends running notebooks, and then start this.",
            )
        digest_file = state.run / "digest"
        if already:
            if not digest_file.exists() or digest_file.read_text() != site_digest(site, installation):
                raise LeerlabError(
                    "The site is running with other settings or other code than these.",
                    "A change takes effect at the next start.",
                    "Run ./leerlab down, then ./leerlab up. Running notebooks are stopped by that.",
                )
            step("found running, checking")
            supervisor.start_stopped()
        else:
            configuration = _prepare(site, site_file, state, installation, step)
            digest_file.write_text(site_digest(site, installation))
            step("starting the daemons")
            if stay is not None:
                stay(_begin_supervisord(configuration, state, installation))
                _await_supervisord(supervisor, state)
            else:
                _start_supervisord(configuration, state, installation)
        step("checking datasets and models")
        prepare_catalogue(site, state, installation, step)
        try:
            wait_until_ready(site, state, supervisor, step)
        except DaemonFails:
            if not already:
                step("stopping what did start")
                supervisor.shutdown()
            raise
        asyncio.run(_establish(site, state))
        step("releasing courses")
        problems = release_courses(site, state, installation)
    link = login_keys.login_link(site, state)
    return Started(site.hub.address, link, already, time.monotonic() - begin, tuple(problems))


async def _establish(site: Site, state: State) -> None:
    """What every start needs in Slurm, once it answers: the account of courses, and site.yaml's limits and QOS."""
    await accounting.establish(site.cluster, state)
    if (people := people_of(site, state)) is not None:
        await people.establish()


def _still_runs(supervisor: Supervisor) -> bool:
    """Whether supervisord runs and goes on running: one whose parent was killed just now is about to end."""
    deadline = time.monotonic() + ENDING_SECONDS
    while running := supervisor.running():
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return running


def _other_port(site_file: Path, installation: Installation) -> str:
    """How a person gives the site another port: in their own file, or in a copy of the one that came with Leerlab."""
    if site_file.is_relative_to(installation.code):
        return f"copy {site_file}, change hub.port in the copy, and start with --site and the copy's name"
    return f"set hub.port in {site_file}"


def _prepare(site: Site, site_file: Path, state: State, installation: Installation, step: Step) -> Path:
    """See that the site can start here, end what a crash left, and write the configuration; starts nothing."""
    step("checking this machine")
    see_wall(state)
    if isinstance(site.cluster, ExistingCluster):
        ExistingSlurm(site.cluster).see_files()
    if site.unix_accounts is not None:
        see_no_old_homes(state)
    # Without supervisord its daemons are nobody's: they would hold ports and sockets. Jobs go on and are found again.
    left = strays.strays_of(state)
    strays.end(left.daemons)
    if ports.in_use(str(site.hub.bind), site.hub.port):
        raise LeerlabError(
            f"Port {site.hub.port} on {site.hub.bind} is in use by another program.",
            "Leerlab's pages cannot be served there, and nothing was started.",
            f"Stop that program (ss -ltnp 'sport = :{site.hub.port}' names it), "
            f"or {_other_port(site_file, installation)}.",
        )
    step("writing the configuration")
    seccomp.write_filters(state.generated)
    for name in ("proxy-token", "grading-token", "cookie-secret", "ledger-key"):
        secret(state, name)
    if (papers := certificates_of(site, state)) is not None:
        papers.make()
    prepare_image(site, state, step, jobs_run=bool(left.jobs))
    # A daemon that is restarted must find the settings that this run began with.
    copy = state.generated / SITE_COPY
    shutil.copyfile(site_file, copy)
    needed = embedded.ports_needed(site.cluster) if isinstance(site.cluster, EmbeddedCluster) else 0
    chosen = ports.choose(state, needed, jobs_run=bool(left.jobs))
    return write_configuration(state, daemons(site, copy, state, installation, chosen))


def _supervisord(configuration: Path, state: State, installation: Installation, *options: str) -> dict[str, Any]:
    """What supervisord is started with, as words and options of `subprocess`."""
    return {
        "args": [*options, str(installation.hub_env / "bin/supervisord"), "-c", str(configuration)],
        "cwd": state.root,
        "env": {"PATH": "/usr/bin:/bin", "HOME": str(Path.home()), "LANG": "C.UTF-8", **environment_of_all(state)},
        "stdin": subprocess.DEVNULL,
        "stderr": subprocess.STDOUT,
        # Ctrl-C is for `up`; what it has started is stopped in order.
        "start_new_session": True,
    }


def _start_supervisord(configuration: Path, state: State, installation: Installation) -> None:
    """Have supervisord go on alone."""
    with _messages(state).open("wb") as log:
        how = _supervisord(configuration, state, installation)
        result = subprocess.run(**how, stdout=log, timeout=SUPERVISORD_SECONDS, check=False)
    if result.returncode:
        raise _no_supervisord(state)


def _begin_supervisord(configuration: Path, state: State, installation: Installation) -> subprocess.Popen[bytes]:
    """supervisord as a child, which the kernel ends when this process is killed: nobody else would."""
    with _messages(state).open("wb") as log:
        how = _supervisord(configuration, state, installation, "/usr/bin/setpriv", "--pdeathsig", "TERM", "--")
        how["args"] += ["--nodaemon", "--silent"]
        return subprocess.Popen(**how, stdout=log)


def _await_supervisord(supervisor: Supervisor, state: State) -> None:
    deadline = time.monotonic() + SUPERVISORD_SECONDS
    while not supervisor.running():
        if time.monotonic() > deadline:
            raise _no_supervisord(state)
        time.sleep(0.05)


def _messages(state: State) -> Path:
    return state.logs / "supervisord.out"


def _no_supervisord(state: State) -> LeerlabError:
    return LeerlabError("supervisord did not start.", "Nothing is running.", f"Its message is in {_messages(state)}.")
