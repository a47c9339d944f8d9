"""Sites of this folder: two companies with a sandbox each, on real Slurm, hub, proxy and portal."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

# pytest's importlib mode puts no test folder on the path.
sys.path.insert(0, str(Path(__file__).parent))

from sandbox_people import COMPANY_PEOPLE, OFFERED, CompanySite

from base.paths import Installation, State
from base.ports import free_ports
from hub_config.run import start, stop
from hub_config.site import load

DEMO = Path(__file__).resolve().parents[3] / "hub_config/demo.yaml"


@pytest.fixture(scope="module")
def company_site() -> Iterator[CompanySite]:
    """A running site of the module's own."""
    folder = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    description = yaml.safe_load(DEMO.read_text())
    description["hub"]["port"] = free_ports(1)[0]
    description["login"] = COMPANY_PEOPLE
    description["courses"] = description["courses"][:1]
    description["sandboxes"]["hosts"] = [OFFERED]
    file = folder / "site.yaml"
    file.write_text(yaml.safe_dump(description, allow_unicode=True))
    site, state, steps = load(file), State(folder / "s").checked(), list[str]()
    say: Callable[[str], None] = steps.append
    mask = os.umask(0o077)
    try:
        start.up(site, file, state, Installation.current(), say)
        yield CompanySite(site, state)
    finally:
        stop.down(site, state, say)
        os.umask(mask)
        shutil.rmtree(folder, ignore_errors=True)
