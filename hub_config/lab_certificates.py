"""TLS between the hub's machine and servers on a network: who goes there, and with which certificate."""

from __future__ import annotations

from base.paths import State
from base.ports import LOOPBACK
from hub_config.site import Site
from spawners.certificates import Certificates


def certificates_of(site: Site, state: State) -> Certificates | None:
    """The site's certificates of servers; None where servers are on the hub's own machine."""
    return Certificates(state.secrets) if site.cluster.publish_on != LOOPBACK else None


def proxy_options(site: Site, state: State) -> tuple[str, ...]:
    """With which the proxy goes to servers: its own certificate, and whom it believes (configurable-http-proxy 5)."""
    papers = certificates_of(site, state)
    if papers is None:
        return ()
    return (
        *("--client-ssl-key", str(papers.hub_key)),
        *("--client-ssl-cert", str(papers.hub)),
        *("--client-ssl-ca", str(papers.authority)),
    )


def hub_settings(site: Site, state: State) -> dict[str, str]:
    """The same for the hub's own looks at servers, as JupyterHub's settings name it (jupyterhub 6.1.1, user.py)."""
    papers = certificates_of(site, state)
    if papers is None:
        return {}
    return {
        "internal_ssl_key": str(papers.hub_key),
        "internal_ssl_cert": str(papers.hub),
        "internal_ssl_ca": str(papers.authority),
    }
