"""The system call filter of the wall, compiled with libseccomp once at `up`; only this module needs pyseccomp.

A list of what is refused, not of what is allowed: scientific libraries use most of the rest. Refused is what reaches
outside the namespaces, what widens the kernel's attack surface and has no use in a notebook, and every calling
convention but the machine's own. Numbers are from the kernel's uapi headers.
"""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from pathlib import Path

import pyseccomp

# Refused with "not permitted".
_DENIED = (
    # other processes
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd",
    "move_pages", "migrate_pages",
    # mounts and namespaces
    "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "fspick",
    "mount_setattr", "setns", "open_by_handle_at", "name_to_handle_at",
    # kernel surface
    "bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key", "fanotify_init", "lookup_dcookie",
    "modify_ldt", "personality", "quotactl", "quotactl_fd", "syslog", "uselib", "ustat", "sysfs", "_sysctl",
    # the machine
    "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "create_module", "reboot",
    "swapon", "swapoff", "acct", "iopl", "ioperm", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex",
    "sethostname", "setdomainname", "nfsservctl", "vhangup",
)  # fmt: skip
# Refused as if the kernel lacked them, so that libraries fall back: clone3 passes its flags in memory, where no filter
# can read them; io_uring runs system calls that no filter sees.
_ABSENT = ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register")
# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
_NAMESPACES = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
# TIOCSTI and TIOCLINUX push input to a terminal, TIOCSETD loads line disciplines.
_TERMINAL = (0x5412, 0x541C, 0x5423)
_FAMILIES = frozenset({socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK})
_FAMILIES_END = 64
_NETLINK_ROUTE = 0


def write_filter(path: Path, *, nested: bool = False) -> None:
    """Compile the filter and put it at a path, whole or not at all; the same libseccomp writes the same bytes.

    Args:
        path: where the wall's `seccomp` will point.
        nested: whether it is for a wall that makes others inside itself (`Wall.nested`).

    Raises:
        OSError: the file cannot be written.
    """
    descriptor, name = tempfile.mkstemp(prefix=".seccomp-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as target:
            _rules(nested=nested).export_bpf(target)
            target.flush()
            os.fchmod(target.fileno(), 0o444)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_filters(folder: Path) -> None:
    """Both filters, `seccomp.bpf` and `seccomp-nested.bpf`.

    Args:
        folder: where they go.

    Raises:
        OSError: they cannot be written.
    """
    write_filter(folder / "seccomp.bpf")
    write_filter(folder / "seccomp-nested.bpf", nested=True)


def _rules(*, nested: bool) -> pyseccomp.SyscallFilter:
    filter_ = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    # Calls in another convention (32-bit, x32) carry other numbers: whoever makes one is ended.
    filter_.set_attr(pyseccomp.Attr.ACT_BADARCH, pyseccomp.KILL_PROCESS)
    denied, absent = pyseccomp.ERRNO(errno.EPERM), pyseccomp.ERRNO(errno.ENOSYS)
    for name in _DENIED:
        _refuse(filter_, denied, name)
    for name in _ABSENT:
        _refuse(filter_, absent, name)
    if not nested:
        # The programs in a wall around others make these themselves (`confinement.nested`).
        _refuse(filter_, denied, "mount")
        _refuse(filter_, denied, "unshare")
    for flag in _NAMESPACES:
        _refuse(filter_, denied, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, flag, flag))
    for request in _TERMINAL:
        _refuse(filter_, denied, "ioctl", pyseccomp.Arg(1, pyseccomp.MASKED_EQ, 0xFFFFFFFF, request))
    for family in sorted(set(range(_FAMILIES_END)) - _FAMILIES):
        _refuse(filter_, denied, "socket", pyseccomp.Arg(0, pyseccomp.EQ, family))
    # Arguments are compared as 64 bits, so this also holds a family with bits above the 32 that the kernel reads.
    _refuse(filter_, denied, "socket", pyseccomp.Arg(0, pyseccomp.GE, _FAMILIES_END))
    _refuse(
        filter_, denied, "socket",
        pyseccomp.Arg(0, pyseccomp.EQ, socket.AF_NETLINK), pyseccomp.Arg(2, pyseccomp.NE, _NETLINK_ROUTE),
    )  # fmt: skip
    _refuse(filter_, denied, "socketpair", pyseccomp.Arg(0, pyseccomp.NE, socket.AF_UNIX))
    return filter_


def _refuse(filter_: pyseccomp.SyscallFilter, action: int, name: str, *conditions: pyseccomp.Arg) -> None:
    """Add a rule; a call that this machine's architecture does not have needs none."""
    number = pyseccomp.resolve_syscall(pyseccomp.system_arch(), name)
    if number >= 0:
        filter_.add_rule(action, name, *conditions)
