"""A site behind a TLS proxy: what JupyterHub is told of it, and of its cookies."""

from __future__ import annotations

from typing import Any

from hub_config.site import Site


def set_https(c: Any, site: Site) -> None:
    """Behind a TLS proxy all cookies are Secure, whatever a proxy says, and no host below the domain can set them."""
    if site.hub.https:
        c.JupyterHub.public_url = f"{site.hub.address}/"
        c.JupyterHub.cookie_host_prefix_enabled = True


def cookie_settings(site: Site) -> dict[str, Any]:
    """What tornado is told of the hub's own cookies."""
    secure = {"secure": True} if site.hub.https else {}
    return {"cookie_options": {"SameSite": "Lax", **secure}, "xsrf_cookie_kwargs": secure}
