"""Makes the root file system of an image with mmdebstrap, and packs it with sqfstar, both from Debian."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from images.errors import BuildFailed
from images.recipe import DebianLock

INSIDE = Path(__file__).resolve().parent / "inside"
_SECONDS = 3600.0
_END_SECONDS = 30.0
# What nobody reads in an image. Copyright files stay: the licences ask for it.
_LEFT_OUT = (
    "path-exclude=/usr/share/man/*", "path-exclude=/usr/share/info/*", "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias", "path-include=/usr/share/locale/nl/*",
    "path-exclude=/usr/share/doc/*", "path-include=/usr/share/doc/*/copyright", "path-exclude=/usr/share/lintian/*",
)  # fmt: skip
TOOLS = ("mmdebstrap", "squashfs-tools", "tar", "apt", "dpkg")


@dataclass(frozen=True)
class Parts:
    """What a root file system is made of.

    Args:
        lock: the Debian packages.
        source: line for apt's list of sources, of a repository of exactly these packages.
        wheels: folder of Python wheels.
        locks: Python locks, in the order in which they are installed.
    """

    lock: DebianLock
    source: str
    wheels: Path
    locks: Sequence[Path]


def make(parts: Parts, squashfs: Path, work: Path) -> None:
    """Build the root file system and pack it.

    Args:
        parts: what it is made of.
        squashfs: the file to write.
        work: an empty private folder.

    Raises:
        BuildFailed: a program failed; says what it said last.
    """
    _may_build()
    inside = work / ".build"
    (inside / "locks").mkdir(parents=True)
    for number, lock in enumerate(parts.locks):
        shutil.copyfile(lock, inside / "locks" / f"{number:02d}-{lock.name}")
    for name in ("install.sh", "compile.py"):
        shutil.copyfile(INSIDE / name, inside / name)
    (inside / "wheels").symlink_to(parts.wheels)
    temporary = work / "tmp"
    temporary.mkdir()
    for folder in (work, temporary):
        # mmdebstrap changes to accounts of the new system in it.
        folder.chmod(0o711)
    names = [package.name for package in parts.lock.packages]
    argv = [
        "mmdebstrap", "--mode=root" if os.geteuid() == 0 else "--mode=unshare", "--variant=essential", "--format=tar",
        f"--architectures={parts.lock.architecture}", f"--include={','.join(names)}",
        "--aptopt=APT::Install-Recommends false", *(f"--dpkgopt={option}" for option in _LEFT_OUT),
        "--skip=output/dev,output/mknod",
        f"--customize-hook=tar -C '{work}' --owner=root --group=root -ch .build | tar -C \"$1/opt\" -x",
        "--customize-hook=chroot \"$1\" /bin/sh /opt/.build/install.sh",
        f"--customize-hook=/bin/sh '{INSIDE}/finish.sh' \"$1\"",
        parts.lock.suite, "-", parts.source,
    ]  # fmt: skip
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": str(work), "TMPDIR": str(temporary),
        "SOURCE_DATE_EPOCH": str(parts.lock.epoch), "DEBIAN_FRONTEND": "noninteractive",
    }  # fmt: skip
    # zstd unpacks fast; its level is 15, since sqfstar 4.5.1 takes no other.
    pack = ["sqfstar", "-no-progress", "-comp", "zstd", "-b", "256K", "-all-root", "-no-xattrs"]
    pack += ["-mkfs-time", str(parts.lock.epoch), str(squashfs)]
    with (work / "mmdebstrap.log").open("w+b") as log, (work / "sqfstar.log").open("w+b") as packed:
        # mmdebstrap in a group of its own, so that an interruption is ours to pass on, once.
        builder = subprocess.Popen(
            argv, env=environment, cwd=work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            packer = subprocess.Popen(
                pack, env={"PATH": "/usr/bin:/bin"}, cwd=work, stdin=builder.stdout, stdout=packed, stderr=packed
            )
            try:
                assert builder.stdout is not None
                builder.stdout.close()
                codes = (builder.wait(_SECONDS), packer.wait(_SECONDS))
            finally:
                _end(packer)
        except subprocess.TimeoutExpired as error:
            raise BuildFailed(f"mmdebstrap took longer than {_SECONDS:.0f} seconds.", "Nothing was left.") from error
        finally:
            _end(builder)
        if any(codes):
            log.seek(0)
            packed.seek(0)
            said = _last_lines(log.read()) + (_last_lines(packed.read()) if codes[1] else "")
            raise BuildFailed(
                f"The root file system could not be made; the last lines that were said: {said}",
                "Nothing was left.",
            )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let a program tidy up behind itself, and end it when it does not; nothing happens when it has ended."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _last_lines(said: bytes, count: int = 12) -> str:
    lines = [line for line in said.decode(errors="replace").split("\n") if line.strip()]
    return "\n".join(("", *lines[-count:]))


def _may_build() -> None:
    """See that this account may make a root file system.

    Raises:
        BuildFailed: it may not; says what it needs.
    """
    if os.geteuid() == 0:
        return
    account = os.environ.get("USER", str(os.geteuid()))
    ranges = Path("/etc/subuid")
    has_range = ranges.exists() and any(
        line.split(":")[0] in (account, str(os.geteuid())) for line in ranges.read_text().split("\n")
    )
    if not has_range or shutil.which("newuidmap") is None:
        raise BuildFailed(
            "This account cannot make a root file system.",
            "A system's files belong to several users, and only root may write those, or an account that has a range "
            "of users of its own.",
            f"Run it as root, or give {account} a range (usermod --add-subuids 100000-165535 "
            f"--add-subgids 100000-165535 {account}) and install Debian's package uidmap.",
        )


def versions() -> dict[str, str]:
    """Versions of the programs that make an image.

    Raises:
        BuildFailed: one is not installed.
    """
    found = {}
    for name in TOOLS:
        done = subprocess.run(
            ["/usr/bin/dpkg-query", "-W", "-f=${Version}", name], capture_output=True, timeout=60, check=False
        )
        if done.returncode or not done.stdout:
            raise BuildFailed(
                f"Debian's package {name} is not installed.", "Images are made with it.", f"apt install {name}"
            )
        found[name] = done.stdout.decode()
    return found
