"""What root writes so that people's servers can run as accounts of their own: `leerlab accounts make`, or the playbook.

The hub itself never makes an account and cannot change any of these files.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from base.errors import InputError, LeerlabError
from base.paths import State
from cluster.unix_accounts import MadeAccounts
from hub_config.site import Site
from hub_config.slurm import commands_of, slurm_conf_of
from hub_config.unix_accounts import LAUNCHER
from spawners import launcher

ACCOUNT = "leerlab"
"""The site's own account, as `./leerlab` makes it."""
INSTALLED = Path("/var/lib/leerlab")
SYSUSERS = Path("/etc/sysusers.d/leerlab-people.conf")
TMPFILES = Path("/etc/tmpfiles.d/leerlab-people.conf")
SUDOERS = Path("/etc/sudoers.d/leerlab")
SECONDS = 600.0
_HEAD = "# Written by leerlab accounts make: changes here are lost.\n"


@dataclass(frozen=True)
class Written:
    """One file of root's.

    Args:
        text: its content.
        mode: its permissions.
    """

    text: str
    mode: int = 0o644


def files(site: Site, state: State) -> dict[Path, Written]:
    """What root writes for a site with accounts, by path.

    Args:
        site: the checked settings.
        state: the site's state folder.
    """
    settings = site.unix_accounts
    if settings is None:
        return {}
    rule = f"{ACCOUNT} ALL=(%{settings.group}) NOPASSWD: {launcher.PYTHON} -I -S {LAUNCHER}\n"
    written = {launcher.POLICY: Written(policy(site, state)), SUDOERS: Written(_HEAD + rule, 0o440)}
    if isinstance(settings, MadeAccounts):
        written |= {SYSUSERS: Written(sysusers(settings)), TMPFILES: Written(tmpfiles(settings))}
    return written


def policy(site: Site, state: State) -> str:
    """Root's file that says what the launcher may do (`spawners.launcher.Policy`)."""
    settings = site.unix_accounts
    assert settings is not None
    said = {
        "group": settings.group,
        "first_uid": settings.uids[0],
        "last_uid": settings.uids[-1],
        "state": str(state.root),
        "installed": str(INSTALLED),
        "slurm_conf": str(slurm_conf_of(site, state)),
        "commands": str(commands_of(site)),
        "publish_on": site.cluster.publish_on,
        "readable": sorted({str(one.folder) for profile in site.profiles for one in profile.data}),
    }
    return json.dumps(said, indent=1) + "\n"


def sysusers(settings: MadeAccounts) -> str:
    """The accounts, for systemd-sysusers (sysusers.d(5)): locked, without a shell, all of the one group."""
    rows = [f"g {settings.group} {settings.uids[0]}\n"]
    for place in range(settings.count):
        one = settings.account(place)
        home = f"{settings.homes}/{one.name}"
        rows.append(f'u {one.name} {one.uid}:{settings.group} "Leerlab" {home} /usr/sbin/nologin\n')
    return _HEAD + "".join(rows)


def tmpfiles(settings: MadeAccounts) -> str:
    """Their homes, for systemd-tmpfiles (tmpfiles.d(5)), on a machine that has the storage."""
    rows = [f"d {settings.homes} 0711 root root -\n"]
    for place in range(settings.count):
        name = settings.account(place).name
        rows.append(f"d {settings.homes}/{name} 0700 {name} {settings.group} -\n")
    return _HEAD + "".join(rows)


def make(site: Site, wanted: Mapping[Path, Written]) -> list[Path]:
    """Write the files, make what they describe, and let the site's account use it. Again changes nothing.

    Args:
        site: the checked settings, with `unix_accounts`.
        wanted: of `files`.

    Returns:
        The files that were not as they should be.

    Raises:
        InputError: not root.
        LeerlabError: a step failed; says which, and calling it again goes on.
    """
    if os.geteuid() != 0:
        raise InputError("Only root can make unix accounts.", do="Start it as root, on the hub's machine.")
    settings = site.unix_accounts
    assert settings is not None
    changed = [path for path, one in wanted.items() if not _is(path, one)]
    for path in changed:
        _write(path, wanted[path])
    if isinstance(settings, MadeAccounts):
        _run("systemd-sysusers", str(SYSUSERS))
        _run("systemd-tmpfiles", "--create", str(TMPFILES))
    _run("usermod", "--append", "--groups", settings.group, ACCOUNT)
    if not LAUNCHER.exists():
        # `./leerlab install` makes it lead to what it installs; a site that was never installed so has none.
        LAUNCHER.parent.mkdir(exist_ok=True)
        LAUNCHER.unlink(missing_ok=True)
        LAUNCHER.symlink_to(Path(launcher.__file__).resolve())
    return changed


def _is(path: Path, one: Written) -> bool:
    try:
        about = path.lstat()
        return about.st_uid == 0 and about.st_mode & 0o7777 == one.mode and path.read_text() == one.text
    except OSError:
        return False


def _write(path: Path, one: Written) -> None:
    """Whole or not at all; a rule of sudo's that sudo cannot read would take sudo away from everybody."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    # sudo reads no file in its folder that has a dot in its name.
    number, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    fresh = Path(name)
    try:
        with os.fdopen(number, "w") as file:
            file.write(one.text)
        fresh.chmod(one.mode)
        if path == SUDOERS:
            _run("visudo", "--check", "--quiet", "--file", name)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _run(*words: str) -> None:
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LeerlabError(f"{words[0]} could not be run: {error}.", "Not all accounts are there.") from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise LeerlabError(f"{words[0]} ended with {done.returncode}: {said}", "Not all accounts are there.")
