"""What a machine must have before a wall can be built on it; each lack is a refusal, never a weaker wall."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

from confinement.errors import WallRefused

PROGRAMS = "/usr/bin:/bin"
# Since this release RLIMIT_NPROC is counted per user namespace (user_namespaces(7)): before it, all walls of one
# account would share one count.
_LEAST_KERNEL = (5, 14)
_TRY_SECONDS = 30.0


def check_machine() -> None:
    """Try whether walls can be built on this machine at all, by building an empty one.

    Raises:
        WallRefused: bubblewrap, user namespaces or the kernel are not as the wall needs them.
    """
    check_kernel()
    options = (
        "--unshare-user --disable-userns --unshare-pid --unshare-net --unshare-ipc --unshare-uts --unshare-cgroup "
        "--ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 --proc /proc --dev /dev"
    )
    try:
        tried = subprocess.run(
            [bubblewrap(), *options.split(), "--", "/usr/bin/true"],
            env={}, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TRY_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise WallRefused("bubblewrap does not end on this machine.") from error
    if tried.returncode != 0:
        said = tried.stderr.decode(errors="replace").strip()
        raise WallRefused(
            f"A wall cannot be built on this machine: {said}", "Nobody's code may run here without one.",
            "Allow user namespaces (sysctl user.max_user_namespaces) and install bubblewrap 0.8 or later.",
        )  # fmt: skip


def check_kernel() -> None:
    """Refuse a kernel that cannot limit processes.

    Raises:
        WallRefused: it is too old.
    """
    release = os.uname().release
    major, minor = (int("".join(filter(str.isdigit, part))) for part in release.split("-")[0].split(".")[:2])
    if (major, minor) < _LEAST_KERNEL:
        raise WallRefused(f"The kernel is {release}.", "The limit on processes needs Linux 5.14 or later.")


def read_filter(path: Path) -> bytes:
    """The system call filter, once it is known to be one that only its owner can change.

    Raises:
        WallRefused: it is missing, is no filter, or others may write to it.
    """
    advice = "Run `leerlab up`, which writes it."
    try:
        with path.open("rb") as source:
            found = os.fstat(source.fileno())
            content = source.read()
    except OSError as error:
        raise WallRefused(f"The system call filter {path} cannot be read: {error.strerror}.", "", advice) from error
    # A filter is a row of 8-byte instructions (struct sock_filter, linux/filter.h).
    if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o022 or not content or len(content) % 8:
        raise WallRefused(f"The system call filter {path} is no filter, or others may write to it.", "", advice)
    return content


def bubblewrap() -> str:
    """The path of bubblewrap.

    Raises:
        WallRefused: it is not installed.
    """
    program = shutil.which("bwrap", path=PROGRAMS)
    if program is None:
        raise WallRefused("bubblewrap is not installed.", "The wall is made with it.", "Install Debian's bubblewrap.")
    return program
