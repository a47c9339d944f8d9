"""Machines made by the test: Debian with systemd as PID 1, each with an address of its own on a network of their own.

A machine is systemd-nspawn on an overlay over the bare Debian, in a network namespace that hangs on a bridge in another
one. Nothing leads out of them: no packet of a test reaches any other network.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

PREFIX = "10.231.8"
OPERATOR = f"{PREFIX}.1"
BOOT_SECONDS = 240.0
SSH_OPTIONS = (
    "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
    "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=6",
)  # fmt: skip


# systemd-nspawn lets nothing write below /proc/sys. bubblewrap has to, for its own namespace.
WRITABLE = """[Unit]
Description=Limits of user namespaces can be set, as on a machine of its own
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'mkdir -p /run/whole; mount -t proc proc /run/whole; \
    mount --bind /run/whole/sys/user /proc/sys/user; umount /run/whole'
"""


def quiet(*argv: str | Path, timeout: float = 60, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command of the test's own; a failure shows all that it printed."""
    done = subprocess.run(
        [str(word) for word in argv], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
        check=False,
    )  # fmt: skip
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, argv))} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


@dataclass
class Network:
    """A bridge in a namespace, and the operator's own place on it.

    Args:
        id: part of all names, so that two test runs do not meet.
        folder: for the operator's ssh key.
    """

    id: str
    folder: Path
    members: list[str] = field(default_factory=list)

    @property
    def bridge(self) -> str:
        return f"ll{self.id}-br"

    @property
    def operator(self) -> str:
        """The namespace in which the operator's commands and browsers run."""
        return self.namespace("ops")

    @property
    def key(self) -> Path:
        return self.folder / "key"

    def namespace(self, name: str) -> str:
        return f"ll{self.id}-{name}"

    def make(self) -> None:
        """The bridge and the operator's place."""
        quiet("ip", "netns", "add", self.bridge)
        quiet("ip", "-n", self.bridge, "link", "add", "br0", "type", "bridge")
        quiet("ip", "-n", self.bridge, "link", "set", "br0", "up")
        quiet("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key)
        self.join("ops", OPERATOR)

    def join(self, name: str, address: str) -> None:
        """A namespace with one interface on the bridge."""
        namespace, port = self.namespace(name), f"v{name}"
        quiet("ip", "netns", "add", namespace)
        self.members.append(name)
        quiet("ip", "-n", namespace, "link", "set", "lo", "up")
        quiet(
            "ip", "link", "add", port, "netns", self.bridge, "type", "veth", "peer", "name", "eth0", "netns", namespace
        )
        quiet("ip", "-n", self.bridge, "link", "set", port, "master", "br0", "up")
        quiet("ip", "-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
        quiet("ip", "-n", namespace, "link", "set", "eth0", "up")

    def leave(self, name: str) -> None:
        """The namespace goes, and its interface with it."""
        # By itself the kernel takes it away some time after the namespace, and a new machine of the name comes at once.
        quiet("ip", "-n", self.bridge, "link", "del", f"v{name}", check=False)
        quiet("ip", "netns", "del", self.namespace(name), check=False)
        self.members.remove(name)

    def cut(self, name: str, *, off: bool = True) -> None:
        """Pull a machine's cable, or put it in again."""
        quiet("ip", "-n", self.bridge, "link", "set", f"v{name}", "down" if off else "up")

    def remove(self) -> None:
        """Take all of it away."""
        for name in list(self.members):
            self.leave(name)
        quiet("ip", "netns", "del", self.bridge, check=False)
        shutil.rmtree(Path("/etc/netns") / self.operator, ignore_errors=True)

    def names(self, hosts: dict[str, str]) -> None:
        """What the operator's commands and browsers resolve: name to address."""
        folder = Path("/etc/netns") / self.operator
        folder.mkdir(parents=True, exist_ok=True)
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in hosts.items())]
        (folder / "hosts").write_text("\n".join(lines) + "\n")

    def as_operator(self, *argv: str | Path) -> list[str]:
        """The command, run where the operator is."""
        return ["ip", "netns", "exec", self.operator, *(str(word) for word in argv)]


@dataclass
class Machine:
    """One machine.

    Args:
        name: its host name.
        number: last part of its address.
        network: what it hangs on.
        base: root file systems below its own, the topmost first; none of them is changed.
        folder: where its own disk is kept.
        binds: folders of the test that it sees: `(outside, inside, writable)`.
    """

    name: str
    number: int
    network: Network
    base: tuple[Path, ...]
    folder: Path
    binds: tuple[tuple[Path, str, bool], ...] = ()
    _process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"{PREFIX}.{self.number}"

    @property
    def disk(self) -> Path:
        """All that was written on it."""
        return self.folder / "disk"

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def log(self) -> Path:
        return self.folder / "console.log"

    def make(self) -> None:
        """The machine as it leaves the shop: an address, a name, the operator's key."""
        for folder in (self.disk, self.folder / "work", self.root):
            folder.mkdir(parents=True)
        self._mount()
        (self.root / "etc/hostname").write_text(f"{self.name}\n")
        (self.root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{self.address} {self.name}\n")
        keys = self.root / "root/.ssh"
        keys.mkdir(mode=0o700, exist_ok=True)
        (keys / "authorized_keys").write_text(self.network.key.with_suffix(".pub").read_text())
        # Its address is there before it starts: nothing on it looks after the network, so nothing has to wait for it.
        for unit in ("systemd-networkd.service", "systemd-networkd-wait-online.service", "systemd-firstboot.service"):
            (self.root / "etc/systemd/system" / unit).symlink_to("/dev/null")
        (self.root / "etc/systemd/system/writable.service").write_text(WRITABLE)
        wanted = self.root / "etc/systemd/system/sysinit.target.wants"
        wanted.mkdir(exist_ok=True)
        (wanted / "writable.service").symlink_to("../writable.service")
        quiet("chroot", self.root, "ssh-keygen", "-A")
        self.network.join(self.name, self.address)

    def _mount(self) -> None:
        lower = ":".join(map(str, self.base))
        options = f"lowerdir={lower},upperdir={self.disk},workdir={self.folder / 'work'}"
        quiet("mount", "-t", "overlay", "overlay", "-o", options, self.root)

    def boot(self) -> None:
        """Switch it on; returns when ssh answers and systemd has started what it starts."""
        if not os.path.ismount(self.root):
            self._mount()
        binds = [f"--bind{'' if writable else '-ro'}={outside}:{inside}" for outside, inside, writable in self.binds]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "systemd-nspawn", "-q", "--register=no", "--keep-unit", "--boot", "-D", str(self.root),
                    f"--network-namespace-path=/run/netns/{self.network.namespace(self.name)}",
                    "--capability=CAP_NET_ADMIN,CAP_NET_RAW", "--console=pipe", "--link-journal=no",
                    "--resolv-conf=off",
                    "--system-call-filter=add_key keyctl", *binds,
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + BOOT_SECONDS
        while self.run("systemctl is-system-running", check=False, timeout=15).stdout.strip() not in {
            "running", "degraded",
        }:  # fmt: skip
            if time.monotonic() > until or self._process.poll() is not None:
                raise AssertionError(f"{self.name} did not start:\n{self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.3)

    @property
    def _first(self) -> psutil.Process | None:
        """PID 1 inside."""
        if self._process is None:
            return None
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self._process.pid).children()
            return children[0] if children else None
        return None

    def cut_power(self) -> None:
        """Everything on it ends at this moment; what was written stays."""
        if self._process is None:
            return
        first = self._first
        if first is not None:
            with suppress(psutil.NoSuchProcess):
                first.kill()
        self._gone(20)

    def shut_down(self) -> None:
        """Switch it off in order."""
        if self._process is None:
            return
        first = self._first
        if first is not None:
            with suppress(psutil.NoSuchProcess):
                # systemd(1): SIGRTMIN+4 starts poweroff.target.
                os.kill(first.pid, signal.SIGRTMIN + 4)
        self._gone(90)

    def _gone(self, seconds: float) -> None:
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            first = self._first
            if first is not None:
                first.kill()
            self._process.kill()
            self._process.wait(20)
        self._process = None

    def destroy(self) -> None:
        """Nothing is left of it: power off, disk gone. Also of one that never got so far, or is gone already."""
        self.cut_power()
        if self.name in self.network.members:
            self.network.leave(self.name)
        until = time.monotonic() + 20
        while os.path.ismount(self.root):
            if quiet("umount", self.root, check=False).returncode and time.monotonic() > until:
                quiet("umount", "--lazy", self.root)
            time.sleep(0.1)
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def ssh(self, *words: str) -> list[str]:
        """The command that runs something on it, as root."""
        return self.network.as_operator("ssh", *SSH_OPTIONS, "-i", self.network.key, f"root@{self.address}", *words)

    def run(
        self, command: str, *, check: bool = True, timeout: float = 60, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command on it as root.

        Args:
            command: for its shell.
            check: whether an exit code other than 0 is a failure of the test.
            timeout: seconds.
            text: the command's standard input.
        """
        try:
            done = subprocess.run(
                self.ssh(command), input=text or "", capture_output=True, text=True, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired:
            if check:
                raise
            return subprocess.CompletedProcess(command, 255, "", "no answer in time")
        if check and done.returncode:
            raise AssertionError(f"{self.name}: {command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def file(self, path: str) -> Path:
        """A file on it, as the test sees it from outside."""
        return self.root / path.lstrip("/")


def machines_left() -> Sequence[str]:
    """Namespaces that an earlier run did not take away."""
    return [line.split()[0] for line in quiet("ip", "netns", "list").stdout.splitlines() if line.startswith("ll")]
