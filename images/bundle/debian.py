"""Debian packages with all that they depend on, as a small apt repository.

They are worked out for a machine that has nothing at all, so that every Debian 12 finds what it misses, and taken from
Debian's own archive alone, whatever other sources the machine has that makes the bundle. apt checks their signatures.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import file_digest, sha256
from pathlib import Path
from urllib.parse import unquote

import yaml

from images.bundle.fetching import fetched

WHAT = "Debian's packages"
# What the smallest Debian is made of, so that a machine can be made from the bundle too, and old base packages renewed.
BARE = ("?essential", "apt")
ONLY_DEBIAN = """\
Package: *
Pin: release o=Debian
Pin-Priority: 500

Package: *
Pin: origin "*"
Pin-Priority: -1
"""
FIELD_SECONDS = 20


def roles(file: Path) -> dict[str, list[str]]:
    """The packages of `images/debian.yaml` by what needs them."""
    found: dict[str, list[str]] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return found


class Apt:
    """apt with a state of its own, on which no package is installed: it changes nothing on this machine.

    Args:
        folder: an empty folder for that state.
    """

    def __init__(self, folder: Path) -> None:
        for made in (folder / "lists/partial", folder / "archives/partial", folder / "preferences.d"):
            made.mkdir(parents=True)
        (folder / "status").touch()
        (folder / "preferences").write_text(ONLY_DEBIAN)
        settings = {
            "Dir::State::lists": folder / "lists", "Dir::State::status": folder / "status",
            "Dir::State::extended_states": folder / "extended", "Dir::Cache": folder,
            "Dir::Cache::pkgcache": folder / "pkgcache.bin", "Dir::Etc::preferences": folder / "preferences",
            "Dir::Etc::preferencesparts": folder / "preferences.d", "Dir::Log": folder,
            "APT::Install-Recommends": "false", "APT::Sandbox::User": "", "Debug::NoLocking": "true",
            "Acquire::Languages": "none", "Acquire::Retries": "3", "Acquire::http::Timeout": "60",
        }  # fmt: skip
        self._argv = ["/usr/bin/apt-get", "-q", "-y"]
        for name, value in settings.items():
            self._argv += ["-o", f"{name}={value}"]

    def update(self) -> None:
        """Fetch the lists of the machine's sources."""
        fetched([*self._argv, "update"], "Debian's lists of packages")

    def needs(self, names: Sequence[str]) -> set[str]:
        """These packages and all that they depend on, each as `name=version`."""
        said = fetched([*self._argv, "install", "--print-uris", *BARE, *names], WHAT)
        return {_name_and_version(line.split()[1]) for line in said if line.startswith("'")}

    def download(self, packages: Sequence[str], target: Path, each: Callable[[str], None]) -> None:
        """Fetch them into `target`."""
        fetched([*self._argv, "download", *packages], WHAT, cwd=target, each=each)


def _name_and_version(file: str) -> str:
    name, version, _ = file.split("_")
    return f"{name}={unquote(version)}"


def add_packages(
    target: Path, wanted: Mapping[str, Sequence[str]], work: Path, epoch: int, step: Callable[[str], None]
) -> dict[str, str]:
    """Make the repository; gives the version of each package in it.

    Args:
        target: an empty folder: `pool/`, `Packages` and `Release` come in it.
        wanted: packages by role. Each role is worked out by itself, as two may exclude each other.
        work: a folder that does not exist, for apt.
        epoch: the date of the repository, in seconds since 1970.
        step: told what is being done.
    """
    apt = Apt(work)
    step("Debian's lists of packages")
    apt.update()
    packages: set[str] = set()
    for role, names in wanted.items():
        step(f"what Debian's packages for {role} depend on")
        packages |= apt.needs(names)
    done = 0

    def count(line: str) -> None:
        nonlocal done
        if line.startswith("Get:"):
            done += 1
            step(f"Debian packages, {done} of {len(packages)}")

    pool = target / "pool"
    pool.mkdir()
    apt.download(sorted(packages), pool, count)
    step("the index of the Debian packages")
    return write_index(target, epoch)


def write_index(target: Path, epoch: int) -> dict[str, str]:
    """Write `Packages` and `Release` of all in `pool/`; gives the packages' versions.

    Both as https://wiki.debian.org/DebianRepository/Format says.
    """
    index, versions = [], {}
    for came in sorted((target / "pool").iterdir()):
        # apt writes the colon of an epoch as %3a, and would decode that when it reads the index.
        deb = came.rename(came.with_name(came.name.replace("%3a", "_")))
        fields = subprocess.run(
            ["/usr/bin/dpkg-deb", "--field", str(deb)],
            capture_output=True, text=True, timeout=FIELD_SECONDS, check=True,
        ).stdout.rstrip("\n")  # fmt: skip
        with deb.open("rb") as opened:
            digest = file_digest(opened, "sha256").hexdigest()
        where = f"Filename: {deb.relative_to(target)}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"
        index.append(f"{fields}\n{where}")
        versions[_value(fields, "Package")] = _value(fields, "Version")
    packages = "\n".join(index).encode()
    (target / "Packages").write_bytes(packages)
    date = format_datetime(datetime.fromtimestamp(epoch, UTC))
    (target / "Release").write_text(
        f"Origin: Leerlab\nSuite: stable\nCodename: bookworm\nDate: {date}\n"
        f"SHA256:\n {sha256(packages).hexdigest()} {len(packages)} Packages\n"
    )
    return versions


def _value(fields: str, name: str) -> str:
    return next(line.removeprefix(f"{name}: ") for line in fields.splitlines() if line.startswith(f"{name}: "))
