"""The site that a benchmark measures: the product as `leerlab up` starts it, in a folder of its own."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jupyterhub import orm

from base.paths import Installation, State
from base.ports import free_ports
from hub_config.run import start, stop
from hub_config.site import Site, load
from hub_config.slurm import slurm_conf_of

PERSON = "sanne"
COMPANY = "mila"
"""Who asks for sandboxes, where the site has them."""
NODE = "cpu01"
PARTITION = "cpu"
CPUS, MEMORY, MINUTES = 1, "2G", 60
"""What every side asks of Slurm for one server."""
_DATABASE_SECONDS = 30


@dataclass(frozen=True)
class BenchSite:
    """A running site.

    Args:
        site: its settings.
        state: its state folder.
        installation: the environments that it uses.
        token: a token of the one person of the site, good for whatever servers that person may start and stop.
    """

    site: Site
    state: State
    installation: Installation
    token: str

    @property
    def slurm_conf(self) -> Path:
        return slurm_conf_of(self.site, self.state)


def description(port: int, *, sandboxes: bool = False) -> dict[str, object]:
    """The site.yaml of a benchmark: one node, one person with a student's lab, no course.

    Args:
        port: loopback port of the pages.
        sandboxes: whether the person is a company's and may ask for sandboxes, with a budget in Slurm.
    """
    person = {"name": PERSON, "title": "Sanne", "groups": ["nbgrader-bench"]}
    if sandboxes:
        person = {"name": COMPANY, "title": "Mila", "groups": ["companies"]}
    more = {"sandboxes": {"profile": "cpu-small", "gpu_hours": 4, "days_kept": 0}} if sandboxes else {}
    title = {"nl": "Meting", "en": "Measurement"}
    return {
        "site": {"name": "bench", "title": title, "language": "nl"},
        "hub": {"bind": "127.0.0.1", "port": port, "domain": "leerlab.localhost"},
        "login": {"kind": "demo", "people": [person]},
        "cluster": {
            "kind": "embedded",
            "accounting": sandboxes,
            "nodes": [{"name": NODE, "cpus": 32, "memory": "64G"}],
            "partitions": [{"name": PARTITION, "nodes": [NODE], "time": "8h", "default": True}],
        },
        "profiles": [
            {
                "id": "cpu-small",
                "title": title,
                "partition": PARTITION,
                "cpus": CPUS,
                "memory": MEMORY,
                "time": f"{MINUTES}m",
            }
        ],
        "grading": {"profile": "cpu-small"},
        **more,
    }


@contextmanager
def running_site(
    folder: Path, step: Callable[[str], None], *, sandboxes: bool = False, other: Mapping[str, object] | None = None
) -> Iterator[BenchSite]:
    """Start the site, and stop it and all its jobs at the end.

    Args:
        folder: an empty folder with a short path (unix sockets).
        step: called with an English phrase at each step.
        sandboxes: whether it has sandboxes.
        other: sections of site.yaml in the place of `description`'s.

    Raises:
        LeerlabError: it does not start, or does not stop.
    """
    file = folder / "site.yaml"
    # JSON is YAML too, and never has aliases, which site.yaml does not allow.
    sections = {**description(free_ports(1)[0], sandboxes=sandboxes), **(other or {})}
    file.write_text(json.dumps(sections, indent=1))
    site, installation = load(file), Installation.current()
    state = State(folder / "product").checked()
    mask = os.umask(0o077)
    try:
        start.up(site, file, state, installation, step)
        yield BenchSite(site, state, installation, token_of(state, COMPANY if sandboxes else PERSON))
    finally:
        try:
            stop.down(site, state, step)
        finally:
            os.umask(mask)


def token_of(state: State, person: str) -> str:
    """A token of somebody, written where JupyterHub looks for it: nobody logs in by hand in a benchmark."""
    token = secrets.token_urlsafe(32)
    options = {"connect_args": {"timeout": _DATABASE_SECONDS}}
    with orm.new_session_factory(f"sqlite:///{state.hub_database}", **options)() as session:
        user = orm.User.find(session, person)
        if user is None:
            user = orm.User(name=person)
            session.add(user)
        session.commit()
        user.new_api_token(token, note="benchmark", generated=False)
    return token
