"""Makes the root file system of an image with mmdebstrap, and packs it with mksquashfs, both from Debian."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from images.errors import BuildFailed
from images.recipe import DebianLock

INSIDE = Path(__file__).resolve().parent / "inside"
_SECONDS = 3600.0
_END_SECONDS = 30.0
_LAST_LINES = 12
_PATH = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
# As root, mmdebstrap mounts proc, sysfs and this machine's own /dev/shm in the new system. In a mount namespace of its
# own nobody else has them there, and whoever clears up behind a killed build removes nothing of the machine's.
_OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private", "--")
# zstd unpacks fast whatever its level; 2.4 GiB take half a minute to pack at 3, and ten minutes at 15.
_LEVEL = 6
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


def make(parts: Parts, squashfs: Path, work: Path, held: int) -> None:
    """Build the root file system and pack it.

    Args:
        parts: what it is made of.
        squashfs: the file to write.
        work: an empty private folder.
        held: descriptor of a lock. What works in the folder holds it too, and goes on for a while when we are killed.

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
    as_root = os.geteuid() == 0
    argv = [
        *(_OWN_MOUNTS if as_root else ()),
        "mmdebstrap", "--mode=root" if as_root else "--mode=unshare", "--variant=essential", "--format=tar",
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
    tree = work / "tree"
    tree.mkdir()
    unpack = ["tar", "-C", str(tree), "--no-same-owner", "-p", "-x"]
    with (work / "log").open("w+b") as log:
        # mmdebstrap in a session of its own, so that an interruption is ours to pass on, once.
        builder = subprocess.Popen(
            argv, env=environment, cwd=work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
            start_new_session=True, pass_fds=(held,),
        )  # fmt: skip
        try:
            unpacker = subprocess.Popen(
                unpack, env=_PATH, cwd=work, stdin=builder.stdout, stdout=log, stderr=log, pass_fds=(held,)
            )
            try:
                assert builder.stdout is not None
                builder.stdout.close()
                codes = (builder.wait(_SECONDS), unpacker.wait(_SECONDS))
            finally:
                _end(unpacker)
        except subprocess.TimeoutExpired as error:
            raise BuildFailed(f"mmdebstrap took longer than {_SECONDS:.0f} seconds.", "Nothing was left.") from error
        finally:
            _end(builder, group=True)
        if any(codes):
            log.seek(0)
            raise _failed(log.read())
    pack = ["mksquashfs", str(tree), str(squashfs), "-noappend", "-no-progress", "-quiet", "-all-root", "-no-xattrs"]
    pack += ["-comp", "zstd", "-Xcompression-level", str(_LEVEL), "-b", "256K", "-mkfs-time", str(parts.lock.epoch)]
    packed = subprocess.run(pack, env=_PATH, cwd=work, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if packed.returncode:
        raise _failed(packed.stdout + packed.stderr)
    shutil.rmtree(tree)


def _failed(said: bytes) -> BuildFailed:
    lines = [line for line in said.decode(errors="replace").split("\n") if line.strip()]
    last = "\n".join(("", *lines[-_LAST_LINES:]))
    return BuildFailed(
        f"The root file system could not be made; the last lines that were said: {last}", "Nothing was left."
    )


def _end(process: subprocess.Popen[bytes], *, group: bool = False) -> None:
    """Let a program tidy up behind itself, and end it when it does not; nothing happens when it has ended.

    Args:
        process: the program.
        group: whether it leads a process group, all of which ends then.
    """
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            if group:
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.wait()


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
