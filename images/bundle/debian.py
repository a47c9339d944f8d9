"""Debian packages with all that they depend on, as a small apt repository.

They are worked out for a machine that has nothing at all, so that every Debian 12 finds what it misses, and taken from
Debian's own archive alone, whatever other sources the machine has that makes the bundle. apt checks their signatures.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from hashlib import file_digest
from pathlib import Path

import yaml

from base.errors import LeerlabError
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
        self.archives = folder / "archives"
        for made in (folder / "lists/partial", self.archives / "partial", folder / "preferences.d"):
            made.mkdir(parents=True)
        (folder / "status").touch()
        (folder / "preferences").write_text(ONLY_DEBIAN)
        settings = {
            "Dir::State::lists": folder / "lists", "Dir::State::status": folder / "status",
            "Dir::State::extended_states": folder / "extended", "Dir::Cache": folder,
            "Dir::Cache::archives": self.archives, "Dir::Etc::preferences": folder / "preferences",
            "Dir::Etc::preferencesparts": folder / "preferences.d", "Dir::Log": folder,
            "APT::Install-Recommends": "false", "APT::Sandbox::User": "", "APT::Keep-Downloaded-Packages": "true",
            "Debug::NoLocking": "true", "Acquire::Languages": "none", "Acquire::Retries": "3",
            "Acquire::http::Timeout": "60",
        }  # fmt: skip
        self._argv = ["/usr/bin/apt-get", "-q", "-y"]
        for name, value in settings.items():
            self._argv += ["-o", f"{name}={value}"]

    def update(self) -> None:
        """Fetch the lists of the machine's sources."""
        fetched([*self._argv, "update"], "Debian's lists of packages")

    def needs(self, names: Sequence[str]) -> set[str]:
        """The files of these packages and of all that they depend on."""
        said = fetched([*self._argv, "install", "--print-uris", *BARE, *names], WHAT)
        return {line.split()[1] for line in said if line.startswith("'")}

    def download(self, names: Sequence[str], each: Callable[[str], None]) -> None:
        """Fetch them into `archives`."""
        fetched([*self._argv, "install", "--download-only", *BARE, *names], WHAT, each=each)


def add_packages(
    target: Path, wanted: Mapping[str, Sequence[str]], work: Path, step: Callable[[str], None]
) -> dict[str, str]:
    """Make the repository; gives the version of each package in it.

    Args:
        target: an empty folder: `pool/` and `Packages` come in it.
        wanted: packages by role. Each role is worked out by itself, as two may exclude each other.
        work: an empty folder, for apt.
        step: told what is being done.
    """
    apt = Apt(work)
    step("Debian's lists of packages")
    apt.update()
    files: set[str] = set()
    for names in wanted.values():
        files |= apt.needs(names)
    done = 0

    def count(line: str) -> None:
        nonlocal done
        if line.startswith("Get:"):
            done += 1
            step(f"Debian packages, {done} of {len(files)}")

    for names in wanted.values():
        apt.download(names, count)
    pool = target / "pool"
    pool.mkdir()
    step("the index of the Debian packages")
    index, versions = [], {}
    for file in sorted(files):
        # apt writes the colon of an epoch as %3a, and would decode it again.
        deb = (apt.archives / file).rename(pool / file.replace("%3a", "_"))
        fields = _fields(deb)
        index.append(_entry(fields, deb, target))
        versions[_value(fields, "Package")] = _value(fields, "Version")
    (target / "Packages").write_text("\n".join(index), encoding="utf-8")
    return versions


def _fields(deb: Path) -> str:
    return subprocess.run(
        ["/usr/bin/dpkg-deb", "--field", str(deb)], capture_output=True, text=True, timeout=FIELD_SECONDS, check=True
    ).stdout.rstrip("\n")


def _value(fields: str, name: str) -> str:
    for line in fields.splitlines():
        if line.startswith(f"{name}: "):
            return line.removeprefix(f"{name}: ")
    raise LeerlabError(f"A Debian package has no {name}.", "It is no package.", "Look at the sources of apt.")


def _entry(fields: str, deb: Path, target: Path) -> str:
    """One paragraph of `Packages` (https://wiki.debian.org/DebianRepository/Format)."""
    with deb.open("rb") as opened:
        digest = file_digest(opened, "sha256").hexdigest()
    return f"{fields}\nFilename: {deb.relative_to(target)}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"
