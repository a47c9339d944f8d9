"""Started by `unshare` in namespaces of its own: make a root file system the only one, and run a command in it.

A plain chroot would not do: the kernel gives no user namespaces there, and every lab has one. The network has a
loopback and no route. Arguments: ROOT, a folder that it sees at /srv/bundle, and the command.
"""

from __future__ import annotations

import ctypes
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

PIVOT_ROOT = 155  # of x86-64, in asm/unistd_64.h
MNT_DETACH = 2
MS = {"ro": 1, "remount": 32, "bind": 4096, "rec": 16384, "private": 1 << 18}
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
libc = ctypes.CDLL(None, use_errno=True)


def done(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), what)


def mount(source: str, target: Path, kind: str, options: str = "", *flags: str) -> None:
    """mount(2)."""
    target.mkdir(parents=True, exist_ok=True)
    number = sum(MS[flag] for flag in flags)
    done(libc.mount(source.encode(), os.fsencode(target), kind.encode(), number, options.encode()), str(target))


def make_devices(folder: Path) -> None:
    """The few that every container has, and none of this machine's."""
    mount("tmpfs", folder, "tmpfs", "mode=755")
    os.umask(0)
    for name, (major, minor) in DEVICES.items():
        os.mknod(folder / name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
    os.umask(0o022)
    for name, target in LINKS.items():
        (folder / name).symlink_to(target)
    mount("tmpfs", folder / "shm", "tmpfs", "mode=1777")
    mount("devpts", folder / "pts", "devpts", "newinstance,ptmxmode=666")


def main() -> None:
    root, bundle, *command = sys.argv[1:]
    top = Path(root)
    subprocess.run(["ip", "link", "set", "lo", "up"], timeout=10, check=True)
    socket.sethostname("bare")
    mount("none", Path("/"), "", "", "rec", "private")
    mount(root, top, "", "", "bind")
    mount("proc", top / "proc", "proc")
    mount("sysfs", top / "sys", "sysfs")
    # slurmd looks for them, as on every machine that an init has started, and does not begin without.
    mount("/sys/fs/cgroup", top / "sys/fs/cgroup", "", "", "bind", "rec")
    make_devices(top / "dev")
    mount("tmpfs", top / "run", "tmpfs", "mode=755")
    mount(bundle, top / "srv/bundle", "", "", "bind")
    mount("", top / "srv/bundle", "", "", "bind", "remount", "ro")
    (top / "etc/hosts").write_text("127.0.0.1 localhost bare\n")
    (top / "etc/resolv.conf").unlink(missing_ok=True)
    os.chdir(root)
    done(libc.syscall(PIVOT_ROOT, b".", b"."), "pivot_root")
    done(libc.umount2(b".", MNT_DETACH), "the old root")
    os.chdir("/")
    os.execvpe(command[0], command, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"})


if __name__ == "__main__":
    main()
