"""The Debian packages of an image: which the archive gives now, whether they are those of the lock, and their files.

apt does the work, with settings and lists of its own: the machine's sources and packages play no part. What apt
downloads is signed by Debian; what is taken from elsewhere is known by the lock's digest.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from images.errors import BuildFailed
from images.manifest import DebianPackage
from images.recipe import DebianLock, Recipe

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR = "http://deb.debian.org/debian"
SECURITY = "http://deb.debian.org/debian-security"
_SECONDS = 900.0
_SHOWN = 12


@dataclass(frozen=True)
class Archive:
    """Debian's archive, as apt sees it from a folder of its own.

    Args:
        folder: for apt's lists and downloads.
        suite: Debian's.
        mirror: address of the archive.
        security: address of the security archive.
    """

    folder: Path
    suite: str
    mirror: str = MIRROR
    security: str = SECURITY

    def update(self) -> None:
        """Fetch the lists of packages.

        Raises:
            BuildFailed: they could not be fetched.
        """
        for name in ("lists/partial", "cache/archives/partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").write_text("")
        signed = f"[signed-by={KEYRING}]"
        (self.folder / "sources.list").write_text(
            f"deb {signed} {self.mirror} {self.suite} main\n"
            f"deb {signed} {self.mirror} {self.suite}-updates main\n"
            f"deb {signed} {self.security} {self.suite}-security main\n"
        )
        self._apt("apt-get", "-q", "-o", "APT::Update::Error-Mode=any", "update")

    def resolve(self, packages: Sequence[str]) -> tuple[DebianPackage, ...]:
        """What these packages and the essential ones come to, with all that they depend on.

        Raises:
            BuildFailed: they do not go together, or the archive does not have them.
        """
        plan = self._apt(
            "apt-get", "-y", "-q", "--no-install-recommends", "--print-uris", "install", "?essential", *packages
        )
        wanted = set()
        for line in plan.split("\n"):
            if line.startswith("'"):
                name, version, rest = line.split(" ")[1].split("_")
                wanted.add((name, version.replace("%3a", ":"), rest.removesuffix(".deb")))
        offered = self.offered(name for name, _, _ in wanted)
        found = [
            package
            for each in offered.values()
            for package in each
            if (package.name, package.version, package.architecture) in wanted
        ]
        if len(found) != len(wanted):
            missing = sorted({name for name, _, _ in wanted} - {package.name for package in found})
            raise BuildFailed(f"apt gives no digest for: {', '.join(missing)}.", "No lock was made.")
        return tuple(sorted(found, key=lambda package: package.name))

    def offered(self, names: Iterable[str]) -> dict[str, set[DebianPackage]]:
        """All versions of each package that the archive gives now."""
        found: dict[str, set[DebianPackage]] = {}
        for stanza in self._apt("apt-cache", "show", *sorted(set(names))).split("\n\n"):
            fields = dict(_fields(stanza))
            if "SHA256" in fields:
                package = DebianPackage(
                    name=fields["Package"], version=fields["Version"], architecture=fields["Architecture"],
                    sha256=fields["SHA256"],
                )  # fmt: skip
                found.setdefault(package.name, set()).add(package)
        return found

    def download(self, packages: Sequence[DebianPackage], into: Path) -> None:
        """Fetch the files of packages that the archive gives now.

        Raises:
            BuildFailed: one could not be fetched.
        """
        self._apt(
            "apt-get", "-q", "download", *(f"{each.name}:{_arch(each)}={each.version}" for each in packages), cwd=into
        )

    def _apt(self, program: str, *words: str, cwd: Path | None = None) -> str:
        options = {
            "Dir::Etc::sourcelist": self.folder / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::State::lists": self.folder / "lists",
            "Dir::State::status": self.folder / "status",
            "Dir::Cache": self.folder / "cache",
            "APT::Install-Recommends": "false",
            "APT::Default-Release": "",
            # The folder is private: apt's own account could not enter it.
            "APT::Sandbox::User": "",
        }
        argv = [program, *(f"-o{name}={value}" for name, value in options.items()), *words]
        try:
            done = subprocess.run(
                argv, cwd=cwd, env={**_proxies(), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise BuildFailed(f"{program} took longer than {_SECONDS:.0f} seconds.", "Nothing was built.") from error
        if done.returncode:
            said = [line for line in done.stderr.decode(errors="replace").split("\n") if line.startswith("E:")]
            raise BuildFailed(
                f"{program} {words[0]} failed: {' '.join(said[:3]) or f'exit code {done.returncode}'}",
                "Nothing was built.",
                "See that this machine reaches Debian's archive, or give the packages with --from.",
            )  # fmt: skip
        return done.stdout.decode(errors="replace")


def _proxies() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if name.lower() in ("http_proxy", "https_proxy", "no_proxy")
    }


def _arch(package: DebianPackage) -> str:
    """apt knows packages for all architectures by the machine's own."""
    return "all" if package.architecture == "all" else package.architecture


def _fields(stanza: str) -> Iterator[tuple[str, str]]:
    for line in stanza.split("\n"):
        name, colon, value = line.partition(": ")
        if colon and not name.startswith(" "):
            yield name, value.strip()


def make_lock(recipe: Recipe, archive: Archive, architecture: str) -> DebianLock:
    """The lock of what the archive gives now."""
    archive.update()
    return DebianLock(
        suite=recipe.suite,
        architecture=architecture,
        epoch=int(time.time()) // 86400 * 86400,
        asked=tuple(sorted(recipe.packages)),
        packages=archive.resolve(recipe.packages),
    )


def changed(lock: Sequence[DebianPackage], offered: Mapping[str, set[DebianPackage]]) -> list[str]:
    """A phrase for each locked package that the archive does not give any more, with what it gives instead."""
    found = []
    for package in lock:
        now = offered.get(package.name, set())
        if package in now:
            continue
        others = sorted(each.version for each in now)
        if package.version in others:
            found.append(f"{package.name} {package.version} has another digest now")
        else:
            found.append(f"{package.name}: locked {package.version}, now {', '.join(others) or 'none'}")
    return found


def fetch(lock: DebianLock, store: Path, archive: Archive | None) -> tuple[list[Path], bool]:
    """The files of all locked packages.

    Args:
        lock: the lock.
        store: folder of files that are kept between builds, by the names that apt gives them.
        archive: where missing ones are taken from; None asks nobody.

    Returns:
        The files, in the lock's order, and whether the archive was asked.

    Raises:
        BuildFailed: some cannot be had; says which, and what the archive gives instead.
    """
    store.mkdir(parents=True, exist_ok=True)
    missing = [package for package in lock.packages if not _is(store / package.file, package.sha256)]
    if missing:
        if archive is None:
            raise BuildFailed(
                f"Of the locked Debian packages these are missing: {_some([each.file for each in missing])}.",
                "Nothing was built, and no archive was asked, because of --from.",
                "Put their files there.",
            )
        archive.update()
        if gone := changed(missing, archive.offered(package.name for package in missing)):
            raise BuildFailed(
                f"Debian's archive does not give {len(gone)} locked packages any more: {_some(gone)}.",
                "An image with other packages would be another image, so nothing was built.",
                "Renew the lock (leerlab image lock) and give the image a new version, or give the old packages' files "
                "with --from.",
            )
        new = store / f".new-{os.getpid()}"
        new.mkdir()
        try:
            archive.download(missing, new)
            for package in missing:
                if not _is(new / package.file, package.sha256):
                    raise BuildFailed(f"{package.file} is not what the lock says.", "Nothing was built.")
                (new / package.file).rename(store / package.file)
        finally:
            shutil.rmtree(new)
    return [store / package.file for package in lock.packages], bool(missing)


def _is(file: Path, wanted: str) -> bool:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest() == wanted
    except FileNotFoundError:
        return False


def _some(names: Sequence[str]) -> str:
    return "; ".join(names[:_SHOWN]) + (f"; and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def repository(files: Sequence[Path], lock: DebianLock, folder: Path) -> str:
    """A repository of exactly these packages, whose digests have been checked, for mmdebstrap.

    Args:
        files: the packages' files.
        lock: the lock.
        folder: an empty folder for it.

    Returns:
        The line for apt's list of sources.

    Raises:
        BuildFailed: a file is no Debian package.
    """
    stanzas = []
    for file, package in zip(files, lock.packages, strict=True):
        target = folder / package.file
        try:
            os.link(file, target)
        except OSError:
            shutil.copyfile(file, target)
        control = subprocess.run(["/usr/bin/dpkg-deb", "-f", str(file)], capture_output=True, timeout=60, check=False)
        if control.returncode:
            raise BuildFailed(f"{file} is no Debian package.", "Nothing was built.")
        text = control.stdout.decode().rstrip("\n")
        stanzas.append(f"{text}\nFilename: ./{package.file}\nSize: {target.stat().st_size}\nSHA256: {package.sha256}\n")
    index = "\n".join(stanzas).encode()
    (folder / "Packages").write_bytes(index)
    (folder / "Release").write_text(
        f"Suite: {lock.suite}\nCodename: {lock.suite}\nArchitectures: {lock.architecture} all\n"
        f"SHA256:\n {hashlib.sha256(index).hexdigest()} {len(index)} Packages\n"
    )
    return f"deb [trusted=yes] copy:{folder} ./"
