"""Two machines' ends of a tunnel: network namespaces of the test's own, real stunnel, certificates of one authority.

What each side of a site's stunnel must have stands in docs/decisions/0004; the playbooks write the same.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HUB_ADDRESS, NODE_ADDRESS = "10.213.7.1", "10.213.7.2"
HUB_NAME = "hub.site.example"
PORT = 9443
SECONDS = 20.0


@dataclass
class Link:
    """Two network namespaces and a cable.

    Args:
        hub, node: a process in each.
    """

    hub: subprocess.Popen[bytes]
    node: subprocess.Popen[bytes]

    def words(self, side: str, *argv: str) -> list[str]:
        """A command in one of them."""
        process = self.hub if side == "hub" else self.node
        return [
            "/usr/bin/nsenter", f"--target={process.pid}", "--user", "--net", "--preserve-credentials", "--", *argv,
        ]  # fmt: skip

    def run(self, side: str, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(self.words(side, *argv), capture_output=True, text=True, timeout=SECONDS, check=False)


def _sleeping(*before: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([*before, "/bin/sh", "-c", "echo there; exec sleep 600"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as told:
        assert told.readline() == b"there\n"
    return process


@contextmanager
def link() -> Iterator[Link]:
    """Both namespaces, with the cable between them."""
    hub = _sleeping("/usr/bin/unshare", "--user", "--map-root-user", "--net")
    try:
        inside = ["/usr/bin/nsenter", f"--target={hub.pid}", "--user", "--net", "--preserve-credentials", "--"]
        node = _sleeping(*inside, "/usr/bin/unshare", "--net")
        try:
            made = Link(hub, node)
            for side, command in (
                ("hub", f"ip link add cable type veth peer name cable netns {node.pid}"),
                ("hub", f"ip address add {HUB_ADDRESS}/24 dev cable"),
                ("hub", "ip link set cable up"),
                ("node", f"ip address add {NODE_ADDRESS}/24 dev cable"),
                ("node", "ip link set cable up"),
            ):
                done = made.run(side, "/usr/sbin/" + command.split()[0], *command.split()[1:])
                assert done.returncode == 0, done.stderr
            yield made
        finally:
            node.kill()
            node.wait()
    finally:
        hub.kill()
        hub.wait()


@dataclass
class Authority:
    """One that gives certificates.

    Args:
        folder: for its files.
        name: of it.
    """

    folder: Path
    name: str = "site"

    def __post_init__(self) -> None:
        _openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", f"/CN={self.name} authority", "-keyout", str(self.key), "-out", str(self.certificate),
        )  # fmt: skip

    @property
    def key(self) -> Path:
        return self.folder / f"{self.name}-authority.key"

    @property
    def certificate(self) -> Path:
        return self.folder / f"{self.name}-authority.pem"

    def give(self, host: str) -> Path:
        """A certificate with its key, in one file."""
        made = self.folder / f"{self.name}-{host}"
        _openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={host}",
            "-addext", f"subjectAltName=DNS:{host}", "-keyout", f"{made}.key", "-out", f"{made}.csr",
        )  # fmt: skip
        _openssl(
            "x509", "-req", "-in", f"{made}.csr", "-CA", str(self.certificate), "-CAkey", str(self.key), "-days", "2",
            "-CAcreateserial", "-copy_extensions", "copy", "-out", f"{made}.crt",
        )  # fmt: skip
        whole = made.with_suffix(".pem")
        whole.write_text(Path(f"{made}.key").read_text() + Path(f"{made}.crt").read_text())
        whole.chmod(0o600)
        return whole


def _openssl(*words: str) -> None:
    done = subprocess.run(["/usr/bin/openssl", *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


HUB_SIDE = {"requireCert": "yes", "verifyChain": "yes", "sslVersionMin": "TLSv1.3", "TIMEOUTclose": "0"}
NODE_SIDE = {
    "client": "yes", "verifyChain": "yes", "checkHost": HUB_NAME, "sni": HUB_NAME, "sslVersionMin": "TLSv1.3",
    "TIMEOUTclose": "0",
}  # fmt: skip


@dataclass
class Stunnel:
    """One side of the tunnel.

    Args:
        link: the namespaces.
        side: `hub` or `node`.
        folder: for its configuration.
        options: of its service.
    """

    link: Link
    side: str
    folder: Path
    options: dict[str, str]
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it, and wait until it listens."""
        file = self.folder / f"{self.side}.conf"
        (self.folder / f"{self.side}.log").unlink(missing_ok=True)
        lines = ["foreground = yes", "syslog = no", f"output = {self.folder}/{self.side}.log", "pid =", "[door]"]
        file.write_text("\n".join([*lines, *(f"{name} = {value}" for name, value in self.options.items())]) + "\n")
        self.process = subprocess.Popen(self.link.words(self.side, "/usr/bin/stunnel4", str(file)))
        deadline = time.monotonic() + SECONDS
        while "Configuration successful" not in self.log or not self._listens():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def _listens(self) -> bool:
        accept = self.options["accept"]
        return Path(accept).is_socket() if accept.startswith("/") else True

    @property
    def log(self) -> str:
        file = self.folder / f"{self.side}.log"
        return file.read_text() if file.exists() else ""

    def end(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(SECONDS)
            self.process = None
