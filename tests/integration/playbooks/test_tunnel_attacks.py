"""The tunnels between nodes and hub, real stunnels with the playbook's own settings: who gets in, who does not."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from jinja2 import Environment, StrictUndefined

from base.ports import free_ports

pytestmark = [pytest.mark.integration, pytest.mark.slow]
CODE = Path(__file__).resolve().parents[3]
TEMPLATES = CODE / "ansible/roles/tunnel/templates"
OWN = "/etc/leerlab/tls"
ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nreal"
LISTEN_SECONDS = 10.0


def openssl(*words: str | Path, text: str | None = None) -> str:
    done = subprocess.run(
        ["openssl", *map(str, words)], input=text, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass(frozen=True)
class Authority:
    """A site's authority and the certificates that it gave, as the role `certificates` makes them."""

    folder: Path

    @classmethod
    def new(cls, folder: Path, site: str = "noord") -> Authority:
        folder.mkdir()
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        openssl(
            "req", "-x509", *curve, "-days", "30", "-keyout", folder / "ca.key", "-out", folder / "authority.pem",
            "-subj", f"/O=Leerlab/CN={site} machines", "-addext", "basicConstraints=critical,CA:TRUE,pathlen:0",
            "-addext", "keyUsage=critical,keyCertSign",
        )  # fmt: skip
        return cls(folder)

    def certify(self, name: str, role: str) -> Path:
        """A folder with key.pem and certificate.pem of a machine."""
        made = self.folder / f"{name}-{role}"
        made.mkdir(exist_ok=True)
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", made / "key.pem")
        request = openssl("req", "-new", "-key", made / "key.pem", "-subj", f"/O=Leerlab/CN={name}")
        (made / "extensions").write_text(
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
            f"extendedKeyUsage={role}Auth\nsubjectAltName=DNS:{name}\n"
        )
        certificate = openssl(
            "x509", "-req", "-CA", self.folder / "authority.pem", "-CAkey", self.folder / "ca.key", "-days", "30",
            "-CAcreateserial", "-extfile", made / "extensions", text=request,
        )  # fmt: skip
        (made / "certificate.pem").write_text(certificate)
        return made


@dataclass
class Tunnel:
    """Both ends on loopback: what the hub serves on one socket answers on another."""

    folder: Path
    port: int

    @property
    def door(self) -> Path:
        return self.folder / "node/grading.sock"

    @contextmanager
    def end(self, side: str, own: Path, trusted: Authority, without: tuple[str, ...] = ()) -> Iterator[None]:
        """One end's stunnel.

        Args:
            side: `hub` or `node`.
            own: folder with its key and certificate.
            trusted: the authority whose certificates it takes.
            without: settings that are left out, for a positive control.
        """
        folder = self.folder / side
        folder.mkdir(exist_ok=True)
        template = Environment(undefined=StrictUndefined, autoescape=False).from_string(
            (TEMPLATES / f"{side}.conf.j2").read_text()
        )
        text = template.render(
            ansible_managed="A test.", item={"name": "grading", "port": self.port}, tunnel__sockets=str(folder),
            tunnel__hub="hub1", tunnel__hub_address="127.0.0.1",
        )  # fmt: skip
        text = text.replace(f"{OWN}/authority.pem", str(trusted.folder / "authority.pem")).replace(OWN, str(own))
        lines = [line for line in text.splitlines() if line.partition(" ")[0] not in without]
        (folder / "conf").write_text("\n".join(lines) + "\n")
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                ["stunnel4", str(folder / "conf")], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._await(side, process)
            yield
        finally:
            process.terminate()
            process.wait(10)
            self.door.unlink(missing_ok=True)

    def _await(self, side: str, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + LISTEN_SECONDS
        while True:
            with suppress(OSError), socket.socket(socket.AF_UNIX if side == "node" else socket.AF_INET) as probe:
                probe.connect(str(self.door) if side == "node" else ("127.0.0.1", self.port))
                return
            if process.poll() is not None or time.monotonic() > until:
                raise AssertionError((self.folder / side / "log").read_text())
            time.sleep(0.05)

    def ask(self) -> bytes:
        """What comes through the node's door; nothing where the tunnel is shut."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            try:
                client.connect(str(self.door))
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                answer = b""
                while piece := client.recv(4096):
                    answer += piece
                return answer
            except ConnectionError:
                return b""


@pytest.fixture
def tunnel(short_folder: Path) -> Iterator[Tunnel]:
    """A tunnel whose hub has a service at its end."""
    assert shutil.which("stunnel4"), "./leerlab test installs stunnel4"
    (short_folder / "hub").mkdir()
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(str(short_folder / "hub/grading.sock"))
        service.listen(16)

        def serve() -> None:
            while True:
                try:
                    connection, _ = service.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    if connection.recv(4096):
                        connection.sendall(ANSWER)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Tunnel(short_folder, free_ports(1)[0])
        service.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.fixture
def site(tmp_path: Path) -> Authority:
    return Authority.new(tmp_path / "site")


def test_a_node_of_the_site_gets_through(tunnel: Tunnel, site: Authority) -> None:
    with (
        tunnel.end("hub", site.certify("hub1", "server"), site),
        tunnel.end("node", site.certify("n1", "client"), site),
    ):
        assert tunnel.ask() == ANSWER


@pytest.mark.attack
@pytest.mark.parametrize("named", ["oost", "noord"], ids=["another-site", "authority-forged-under-the-sites-name"])
def test_the_node_of_another_authority_does_not(tunnel: Tunnel, site: Authority, tmp_path: Path, named: str) -> None:
    foreign = Authority.new(tmp_path / "foreign", named).certify("n1", "client")
    hub = site.certify("hub1", "server")
    with tunnel.end("hub", hub, site), tunnel.end("node", foreign, site):
        assert tunnel.ask() == b""
    # The same node, and a hub that does not look who certified it.
    with tunnel.end("hub", hub, site, without=("requireCert", "verifyChain")), tunnel.end("node", foreign, site):
        assert tunnel.ask() == ANSWER


@pytest.mark.attack
def test_a_stolen_node_certificate_cannot_play_the_hub(tunnel: Tunnel, site: Authority) -> None:
    """Else whoever has one node reads what all others send: tokens, submissions."""
    node = site.certify("n1", "client")
    with tunnel.end("hub", site.certify("n2", "client"), site), tunnel.end("node", node, site):
        assert tunnel.ask() == b""
    # The same impostor, and a node that takes whatever its authority has signed.
    impostor = site.certify("n2", "server")
    with tunnel.end("hub", impostor, site), tunnel.end("node", node, site):
        assert tunnel.ask() == b""
    with tunnel.end("hub", impostor, site), tunnel.end("node", node, site, without=("checkHost",)):
        assert tunnel.ask() == ANSWER


@pytest.mark.attack
def test_whoever_has_no_certificate_gets_nothing(tunnel: Tunnel, site: Authority) -> None:
    hub, nobody = site.certify("hub1", "server"), site.certify("n1", "client")
    with tunnel.end("hub", hub, site), tunnel.end("node", nobody, site, without=("cert", "key")):
        assert tunnel.ask() == b""
    with (
        tunnel.end("hub", hub, site, without=("requireCert", "verifyChain")),
        tunnel.end("node", nobody, site, without=("cert", "key")),
    ):
        assert tunnel.ask() == ANSWER
