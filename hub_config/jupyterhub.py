"""site.yaml to JupyterHub's settings, by small functions that only set."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from assistant.configuration import SERVICE as ASSISTANT
from base.database_url import for_sqlalchemy, is_postgresql
from base.paths import Installation, State
from cluster.accounting import accounts_of
from cluster.records import records_of
from grading.plans import HUB_PORT
from hub_config import named_servers
from hub_config.assistant import ASSISTANT_TOKEN
from hub_config.audit import Audit, open_ledger
from hub_config.charging import Charging
from hub_config.course_accounts import CourseAccounts
from hub_config.courses import Courses
from hub_config.https import cookie_settings, set_https
from hub_config.idle_token import SERVICE as IDLE_SERVICE
from hub_config.idle_token import TOKEN_FILE as IDLE_TOKEN
from hub_config.images import roots_of_profiles
from hub_config.lab_certificates import hub_settings
from hub_config.lessons import Lessons
from hub_config.login import oidc
from hub_config.login.demo import DemoAuthenticator
from hub_config.login.hosts import Hosts
from hub_config.login.names import BOX_ACCOUNT
from hub_config.login.names import COURSE_ACCOUNT as COURSE_NAME
from hub_config.login.people import DemoLogin, DemoPerson
from hub_config.login.settings import OidcLoginSettings
from hub_config.plans import Plans, facility
from hub_config.quota import Quota
from hub_config.roles import COURSE_ACCOUNT, METRICS, course_roles, person_roles, service_roles
from hub_config.run.keys import secret
from hub_config.run.ports import remembered
from hub_config.sandboxes import Accounts, Members, WayOut
from hub_config.site import Site
from hub_config.slurm import people_of, slurm_of
from hub_config.unix_accounts import accounts_of_people, fetching_of
from hub_config.use import Collector
from ledger.openings import OpeningLedger
from ledger.sandboxes import SandboxLedger
from ledger.use import UseLedger
from portal.configuration import CALLBACK, CLIENT, SERVICE
from portal.hub_pages import template_vars
from portal.login import SCOPES
from portal.profiles import options_form
from sandboxes.egress import Egress
from spawners.spawner import LeerlabSpawner

# A page may load only what its own origin serves, may not be framed, and tells other sites nothing.
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; object-src 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def configure(c: Any, site: Site, state: State, installation: Installation) -> None:
    """Set everything.

    Args:
        c: the traitlets Config object that JupyterHub reads.
        site: the checked settings.
        state: the site's state folder.
        installation: the environments to use.
    """
    audit = Audit(open_ledger(site, state))
    courses = Courses(site, state, installation.code)
    set_addresses(c, site, state)
    set_proxy(c, site, state)
    set_storage(c, site, state)
    set_login(c, site, state, audit, courses)
    set_roles(c, site, state, courses)
    members = set_sandboxes(c, site, state, audit)
    set_starts(c, site, state, installation, audit=audit, members=members, courses=courses)
    set_use(c, site, state, audit)
    set_pages(c, site)


def set_addresses(c: Any, site: Site, state: State) -> None:
    """Public address with an origin per person and service; the hub itself listens on unix sockets only."""
    hub_socket = "http+unix://" + str(state.run / "hub.sock").replace("/", "%2F")
    c.JupyterHub.bind_url = f"http://{site.hub.bind}:{site.hub.port}"
    c.JupyterHub.subdomain_host = site.hub.address
    set_https(c, site)
    c.JupyterHub.hub_bind_url = hub_socket
    c.JupyterHub.hub_connect_url = hub_socket
    c.JupyterHub.hub_socket_mode = 0o600
    c.LeerlabHub.inner_api_socket = str(state.run / "hub-api.sock")
    c.LeerlabHub.server_tls = hub_settings(site, state)
    c.LeerlabHub.inner_api_group = site.people or ""


def set_proxy(c: Any, site: Site, state: State) -> None:
    """The proxy is a process of its own and outlives the hub."""
    c.JupyterHub.proxy_class = "jupyterhub.proxy.ConfigurableHTTPProxy"
    c.ConfigurableHTTPProxy.should_start = False
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{remembered(state).proxy_api}"
    c.ConfigurableHTTPProxy.auth_token = secret(state, "proxy-token")
    ports = remembered(state)
    c.Proxy.extra_routes = {f"{SERVICE}.{site.hub.domain}/": f"http://127.0.0.1:{ports.portal}"}
    c.JupyterHub.cleanup_proxy = False
    c.JupyterHub.cleanup_servers = False


def set_storage(c: Any, site: Site, state: State) -> None:
    """The hub's database; the cookie secret in the state folder."""
    database = site.hub.database or f"sqlite:///{state.hub_database}"
    c.JupyterHub.db_url = for_sqlalchemy(database)
    if is_postgresql(database):
        c.JupyterHub.db_kwargs = {"connect_args": {"connect_timeout": 10}}
    c.JupyterHub.cookie_secret_file = str(state.secrets / "cookie-secret")


def set_login(c: Any, site: Site, state: State, audit: Audit, courses: Courses) -> None:
    """The identity providers of site.yaml, or its demo people."""
    if isinstance(site.login, OidcLoginSettings):
        oidc.configure(c, site, site.login, state, audit)
        return
    people = tuple(DemoPerson(person.name, person.title, person.all_groups) for person in site.login.people)
    names = [person.name for person in people]
    # A course may be published while the site runs.
    others = f"(?:{BOX_ACCOUNT}|{COURSE_NAME})"
    hub = site.hub
    hosts = Hosts.of(hub.domain, hub.port, names, str(hub.bind), pattern=others, https=hub.https)
    c.JupyterHub.authenticator_class = DemoAuthenticator
    c.GuardedHub.hosts = hosts
    c.DemoAuthenticator.demo = DemoLogin(people, hosts, state, audit.record, given=courses.groups_of)


def set_roles(c: Any, site: Site, state: State, courses: Courses) -> None:
    """Who may reach which server, and what our own services may read."""
    assistant, idle = site.assistant is not None, site.hub.idle is not None
    services = service_roles(assistant=assistant, idle=idle)
    c.JupyterHub.load_roles = [*person_roles(), *course_roles(courses.now()), *services]
    gateway = {"name": ASSISTANT, "api_token": secret(state, ASSISTANT_TOKEN), "display": False} if assistant else None
    culler = {"name": IDLE_SERVICE, "api_token": secret(state, IDLE_TOKEN), "display": False} if idle else None
    c.JupyterHub.services = [
        *([gateway] if gateway else []),
        *([culler] if idle else []),
        {"name": "grading", "api_token": secret(state, "grading-token"), "display": False},
        {"name": METRICS, "api_token": secret(state, "metrics-token"), "display": False},
        {
            "name": SERVICE,
            "api_token": secret(state, "portal-token"),
            "display": False,
            "oauth_client_id": CLIENT,
            "oauth_redirect_uri": site.portal + CALLBACK,
            "oauth_no_confirm": True,
            "oauth_client_allowed_scopes": list(SCOPES),
        },
    ]
    c.LeerlabHub.course_accounts = [COURSE_ACCOUNT + course for course in courses.now()]
    c.LeerlabHub.courses = CourseAccounts(courses)


def set_sandboxes(c: Any, site: Site, state: State, audit: Audit) -> Members:
    """Accounts for the members of sandboxes, where the site has sandboxes."""
    members = Members()
    if site.sandboxes is None:
        return members
    hours = site.sandboxes.gpu_hours
    c.LeerlabHub.sandboxes = Accounts(
        SandboxLedger(audit.ledger), members,
        way_out=WayOut(OpeningLedger(audit.ledger), Egress(state, site.sandboxes.hosts)),
        slurm=accounts_of(site.cluster, state), gpu_minutes=None if hours is None else hours * 60,
    )  # fmt: skip
    c.LeerlabHub.quota = Quota(state, int(site.sandboxes.size), members)
    return members


def set_starts(
    c: Any, site: Site, state: State, installation: Installation, *, audit: Audit, members: Members, courses: Courses
) -> None:
    """Notebook servers as Slurm jobs."""
    c.JupyterHub.spawner_class = LeerlabSpawner
    c.JupyterHub.init_spawners_timeout = 1
    # Slurm is the queue: a start that waits there must not keep anybody else from starting.
    c.JupyterHub.concurrent_spawn_limit = 0
    c.JupyterHub.active_server_limit = 0
    c.JupyterHub.allow_named_servers = any(one.named_servers for one in site.limits)
    c.JupyterHub.named_server_limit_per_user = named_servers.limit(site.limits)
    c.Spawner.options_form = options_form
    c.Spawner.hub_connect_url = f"http://127.0.0.1:{HUB_PORT}"
    c.Spawner.pre_spawn_hook = recorder(audit, "server.start")
    c.Spawner.post_stop_hook = recorder(audit, "server.stop")
    charging = Charging(site, people_of(site, state))
    c.LeerlabHub.charging = charging
    c.LeerlabHub.lessons = Lessons(
        courses, site.profiles, charging=charging, audit=audit, state=state, language=site.site.language,
        unused=site.lessons.unused,
    )  # fmt: skip
    images = roots_of_profiles(site, state)
    accounts = accounts_of_people(site, audit.ledger)
    plans = Plans(site, state, installation, members, courses, charging, images, accounts)
    LeerlabSpawner.facility = facility(plans)


def set_use(c: Any, site: Site, state: State, audit: Audit) -> None:
    """What jobs use, collected into the ledger."""
    c.LeerlabHub.use = Collector(
        state, UseLedger(audit.ledger), site.energy, site.cluster,
        slurm=slurm_of(site, state), records=records_of(site.cluster, state), fetching=fetching_of(site, state),
    )  # fmt: skip


def recorder(audit: Audit, action: str) -> Callable[[Any], Awaitable[None]]:
    """A spawner hook that writes one line of the audit trail.

    Args:
        audit: where to.
        action: what the line says was done.
    """

    async def hook(spawner: Any) -> None:
        await audit.record(spawner.user.name, action, spawner.user.name, {})

    return hook


def set_pages(c: Any, site: Site) -> None:
    """Our templates, in Dutch and English; who has no other goal goes to the portal."""
    title = {"nl": site.site.title.nl, "en": site.site.title.en}
    c.JupyterHub.template_vars = template_vars(title, demo=site.login.kind == "demo")
    c.JupyterHub.default_url = "/hub/home"
    c.JupyterHub.redirect_to_server = False
    c.GuardedHub.language = site.site.language
    c.JupyterHub.tornado_settings = {
        "slow_spawn_timeout": 0,
        "leerlab_portal": site.portal,
        "leerlab_domain": site.hub.domain,
        "headers": SECURITY_HEADERS,
        **cookie_settings(site),
    }
