"""The walled notebook server of a sandbox's member: what it sees, and the one way out that its allow-list gives it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from base.paths import Installation, State
from confinement.settings import ConfinementSettings
from confinement.wall import Bind, Relay, Wall
from grading.plans import (
    HUB_PORT,
    NOTEBOOK_ENV,
    SERVER_PORT,
    Role,
    lab_environment,
    notebook_binds,
    seccomp_of,
)
from sandboxes.folders import SHARED, Folders
from sandboxes.way_out import SOCKET

EGRESS_PORT = 3128
"""Where a proxy for the web is inside the wall, when there is one."""


def sandbox_wall(
    sandbox: str, person: str, *, size: int, egress: str | None, state: State, installation: Installation,
    confinement: ConfinementSettings,
) -> Wall:  # fmt: skip
    """The wall of one member's server. Neither the exchange nor anything of another sandbox is inside.

    Args:
        sandbox: the sandbox's id.
        person: the member's pseudonym.
        size: bytes that the sandbox may take; no single file may be larger.
        egress: the sandbox's ticket at the door of the way out; None when nothing may be reached.
        state: the site's state folder.
        installation: the environments to use.
        confinement: the section of site.yaml.
    """
    folders = Folders(state, sandbox)
    sizes = confinement.sizes()
    sizes["limits"] = replace(confinement.limits, file_size=min(confinement.limits.file_size, size))
    environment = lab_environment(Role.PLAIN) | {"JUPYTERHUB_ROOT_DIR": str(SHARED)}
    relays = [Relay(HUB_PORT, f"unix:{state.run / 'hub-api.sock'}")]
    if egress is not None:
        relays.append(Relay(EGRESS_PORT, f"unix:{state.run / SOCKET}", egress))
        proxy = f"http://127.0.0.1:{EGRESS_PORT}"
        environment |= {name: proxy for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
        environment |= {name: "localhost,127.0.0.1" for name in ("no_proxy", "NO_PROXY")}
    return Wall(
        command=(f"{NOTEBOOK_ENV}/bin/python", "-m", "jupyterhub.singleuser"),
        home=folders.make_home(person),
        seccomp=seccomp_of(state),
        binds=(*notebook_binds(installation, state), Bind(folders.files, Path(SHARED), writable=True)),
        root=installation.image,
        relays=tuple(relays),
        publish=SERVER_PORT,
        environment=environment,
        **sizes,
    )
