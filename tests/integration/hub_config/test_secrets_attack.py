"""Looking for any secret of a running site where others could see it: arguments, logs, job scripts, readable files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from whole_site import Visitor, everything_of

from hub_config.login import keys
from hub_config.slurm import slurm_conf_of

pytestmark = [pytest.mark.integration, pytest.mark.attack, pytest.mark.timeout(180)]
NAMED_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|COOKIE", re.IGNORECASE)
SHORTEST = 16
LARGEST_FILE = 64 * 2**20


@pytest.fixture(scope="module")
def person(running_site: Any) -> Iterator[Visitor]:
    """Somebody with a running notebook."""
    visitor = Visitor(running_site, "jelmer")
    visitor.start_notebook()
    yield visitor
    visitor.close()


def strings_in(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Names and texts of a JSON value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from strings_in(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from strings_in(inner, name)
    elif isinstance(value, str):
        yield name, value


def secrets_of(site: Any, person: Visitor) -> dict[str, bytes]:
    """Every secret that exists while a notebook runs, by where it was found."""
    found = {"login key": person.key.encode(), "unused login key": keys.mint(site.state).encode()}
    for file in site.state.secrets.iterdir():
        if file.is_file():
            found[f"secrets/{file.name}"] = file.read_bytes().strip()
    for cookie in person.browser.cookies.jar:
        if cookie.value:
            found[f"cookie {cookie.name}"] = cookie.value.encode()
    for pid, _ in everything_of(site):
        try:
            environment = psutil.Process(pid).environ()
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        for name, value in environment.items():
            if name == "LEERLAB_JOB" and value.startswith("{"):
                inner = [(key, text) for key, text in strings_in(json.loads(value)) if NAMED_SECRET.search(key)]
                found |= {f"job {key}": text.encode() for key, text in inner}
            elif NAMED_SECRET.search(name) and not value.startswith(("/", "http")):
                found[f"environment {name}"] = value.encode()
    return {name: value for name, value in found.items() if len(value) >= SHORTEST}


def seen_in(secrets: Mapping[str, bytes], content: bytes) -> set[str]:
    return {name for name, value in secrets.items() if value in content}


def in_arguments(secrets: Mapping[str, bytes]) -> set[str]:
    """Secrets in the arguments of any process of this machine, which every account may read."""
    found: set[str] = set()
    for process in psutil.process_iter():
        try:
            found |= seen_in(secrets, Path(f"/proc/{process.pid}/cmdline").read_bytes())
        except OSError:
            continue
    return found


def in_files(secrets: Mapping[str, bytes], folder: Path, *, only_readable: bool) -> dict[str, set[str]]:
    """Secrets in files below a folder; `only_readable` looks at those alone that others may read by their mode."""
    found: dict[str, set[str]] = {}
    for path in folder.rglob("*"):
        try:
            status = path.lstat()
            if not path.is_file() or path.is_symlink() or status.st_size > LARGEST_FILE:
                continue
            if not only_readable or status.st_mode & 0o077:
                names = seen_in(secrets, path.read_bytes())
                found |= {str(path): names} if names else {}
        except FileNotFoundError:
            continue
    return found


def in_slurm(secrets: Mapping[str, bytes], site: Any) -> set[str]:
    """Secrets in what Slurm tells any account about jobs, their scripts included."""
    environment = {**os.environ, "SLURM_CONF": str(slurm_conf_of(site.site, site.state))}

    def ask(*arguments: str) -> bytes:
        return subprocess.run(
            ["/usr/bin/scontrol", *arguments], env=environment, capture_output=True, timeout=20, check=True
        ).stdout

    told = ask("show", "jobs", "--details")
    numbers = re.findall(rb"JobId=(\d+)", told)
    assert numbers, "a job runs"
    running = json.loads(site.leerlab("status", "--json").stdout)["jobs"]
    scripts = [ask("write", "batch_script", str(job["id"]), "-") for job in running]
    assert all(script.startswith(b"#!") for script in scripts)
    return seen_in(secrets, told + b"".join(scripts))


def test_no_secret_of_a_running_site_is_where_others_can_see_it(running_site: Any, person: Visitor) -> None:
    secrets = secrets_of(running_site, person)
    expected = {"secrets/proxy-token", "secrets/cookie-secret", "secrets/munge.key", "secrets/ledger-key",
                "environment JUPYTERHUB_API_TOKEN", "environment CONFIGPROXY_AUTH_TOKEN"}  # fmt: skip
    assert expected <= set(secrets), "the search knows what to look for"
    state = running_site.state
    assert in_arguments(secrets) == set()
    assert in_slurm(secrets, running_site) == set()
    assert in_files(secrets, state.logs, only_readable=False) == {}
    assert in_files(secrets, state.jobs, only_readable=False) == {}
    assert in_files(secrets, state.root, only_readable=True) == {}
    # JupyterHub keeps hashes of tokens; the session id is no secret, it only groups tokens for logout:
    # https://jupyterhub.readthedocs.io/en/stable/explanation/security.html
    in_database = seen_in(secrets, state.hub_database.read_bytes())
    assert in_database <= {"cookie jupyterhub-session-id"}
    assert state.root.stat().st_mode & 0o777 == 0o700


def test_the_search_finds_secrets_that_are_put_there(running_site: Any, person: Visitor, tmp_path: Path) -> None:
    """The control: the same search sees what it should see."""
    secret = "planted-" + os.urandom(16).hex()
    planted = {"planted": secret.encode()}
    log = running_site.state.logs / "planted.log"
    log.write_text(f"a line with {secret} in it\n")
    try:
        assert in_files(planted, running_site.state.logs, only_readable=False) == {str(log): {"planted"}}
        assert in_files(planted, running_site.state.logs, only_readable=True).get(str(log), set()) == (
            {"planted"} if log.stat().st_mode & 0o077 else set()
        )
        log.chmod(0o644)
        assert in_files(planted, running_site.state.logs, only_readable=True) == {str(log): {"planted"}}
    finally:
        log.unlink()
    with subprocess.Popen([sys.executable, "-c", "input()", secret], stdin=subprocess.PIPE) as process:
        assert in_arguments(planted) == {"planted"}
        process.communicate(b"\n", timeout=10)
    assert in_slurm({"what Slurm tells": b"JobState="}, running_site) == {"what Slurm tells"}
