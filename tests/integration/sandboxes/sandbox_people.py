"""People of two companies on one running site: at the portal, at the hub, and inside their sandboxes' walled labs."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from uuid import uuid4

import httpx
import psutil
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from base.paths import Installation, State
from cluster.embedded import slurm_conf
from hub_config.audit import open_ledger
from hub_config.login import keys
from hub_config.run.browser import Browser
from hub_config.run.keys import secret
from hub_config.run.ports import remembered
from hub_config.run.supervisor_client import Supervisor
from hub_config.site import Site
from ledger.transfers import TransferLedger, TransferState

START_SECONDS = 90.0
CELL_SECONDS = 80.0
OFFERED = "pypi.org"
"""What sandboxes may be opened to; nobody in these tests asks for anything there."""
COMPANY_PEOPLE = {
    "kind": "demo",
    "people": [
        {"name": "sanne", "title": "Sanne", "groups": ["nbgrader-ai-in-je-vak"]},
        {"name": "mila", "title": "Mila van Waterwacht", "groups": ["companies"]},
        {"name": "bram", "title": "Bram van Waterwacht", "groups": ["companies"]},
        {"name": "kees", "title": "Kees van Kaasmakers", "groups": ["companies"]},
        {"name": "noor", "title": "Noor van Noordzee", "groups": ["companies"]},
        {"name": "beheer", "title": "Beheerder", "operator": True},
    ],
}
WISH = {
    "purpose": "Zien wanneer een pomp stukgaat", "sector": "water", "data_class": "open", "days": "5",
    "forbidden": "no", "people": "no", "preparing": "no", "product": "no", "talks": "no", "personal": "no",
}  # fmt: skip


@dataclass(frozen=True)
class CompanySite:
    """A running site.

    Args:
        site: its settings.
        state: its state folder.
    """

    site: Site
    state: State


def wait_for(what: str, ready: Callable[[], Any], seconds: float = START_SECONDS) -> Any:
    """What `ready` gave, once that is true; fails after that many seconds."""
    until = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < until, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.1)
    return found


def account_of(sandbox: str, person: str) -> str:
    """The hub account of a person in a sandbox."""
    return f"box-{sandbox}-{person}"


class Person:
    """Somebody who is logged in at hub and portal.

    Args:
        site: the running site.
        name: the demo person.
    """

    def __init__(self, site: CompanySite, name: str) -> None:
        self.site, self.name = site, name
        self.browser = Browser(site.site, seconds=40)
        self.browser.headers["Sec-Fetch-Mode"] = "navigate"
        self.browser.submit("/hub/login", "/hub/login/key", key=keys.mint(site.state))
        self.browser.submit("/hub/login", "/hub/login", username=name)
        self.portal = f"http://portal.{site.site.hub.host}"
        assert self.see("/").status_code == 200, f"{name} could not log in"
        self._token = ""
        self._kernels: dict[str, str] = {}

    def close(self) -> None:
        self.browser.close()

    # -- the portal

    def see(self, path: str) -> httpx.Response:
        """A page of the portal, through its login when that is needed."""
        return self.browser.get(f"{self.portal}{path}", follow_redirects=True)

    def form(self) -> dict[str, str]:
        """What a form of the portal proves itself with."""
        found = re.search(r'name="_xsrf" value="([^"]+)"', self.see("/").text)
        assert found, "the home page has a form"
        return {"_xsrf": found[1]}

    def send(self, path: str, form: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        """Send a form of the portal."""
        data = {**self.form(), **(form or {})}
        return self.browser.post(f"{self.portal}{path}", data=data, headers={"Origin": self.portal}, **more)

    def upload(self, sandbox: str, name: str, content: bytes) -> httpx.Response:
        """Send a file in."""
        return self.send(f"/sandboxes/{sandbox}/upload", files={"file": (name, content, "text/csv")})

    def ask_for_sandbox(self, title: str) -> str:
        """Ask for a sandbox, and its id."""
        answer = self.send("/sandboxes", {"title": title, **WISH})
        found = re.search(r"sandboxes%2F([a-z2-7]{8})", answer.headers.get("location", ""))
        assert found, f"{answer.status_code}: {answer.text[:2000]}"
        assert self.browser.get(f"{self.portal}{answer.headers['location']}", follow_redirects=True).status_code == 200
        return found[1]

    def invite(self, sandbox: str) -> str:
        """A code for one colleague."""
        found = re.search(r"<code[^>]*>([a-z2-7]+)</code>", self.send(f"/sandboxes/{sandbox}/invite").text)
        assert found, "the page shows the invitation"
        return found[1]

    def join(self, code: str) -> None:
        """Use an invitation."""
        answer = self.send("/sandboxes/join", {"code": code})
        assert answer.status_code == 303, answer.text
        self.see(answer.headers["location"])

    # -- the hub

    def hub(self, method: str, path: str, **more: Any) -> httpx.Response:
        """The hub's API with this person's browser."""
        headers = {"X-XSRFToken": self.browser.token("/hub/token"), "Sec-Fetch-Mode": "cors"}
        return self.browser.request(method, f"/hub/api{path}", headers=headers, **more)

    def api(self, method: str, path: str, body: dict[str, Any] | None, token: str) -> httpx.Response:
        """The hub's API at its public address with a token alone."""
        with Browser(self.site.site, seconds=20) as bare:
            return bare.request(method, f"/hub/api{path}", json=body, headers={"Authorization": f"token {token}"})

    def start(self, account: str, *, wait: bool = True, profile: str | None = None) -> None:
        """Start a server, and wait until it answers."""
        answer = self.hub("POST", f"/users/{account}/server", json={"profile": profile} if profile else {})
        assert answer.status_code in (201, 202), answer.text
        if wait:
            wait_for(f"the server of {account}", lambda: answers(self, account))

    @property
    def token(self) -> str:
        """A token of this person, with all that the person may."""
        if not self._token:
            answer = self.hub("POST", f"/users/{self.name}/tokens", json={})
            assert answer.status_code == 201, answer.text
            self._token = answer.json()["token"]
        return self._token

    # -- servers

    def at(self, account: str, path: str, *, token: str | None = None, method: str = "GET") -> httpx.Response:
        """Ask somebody's server with a token: this person's own, unless another is given."""
        headers = {"Authorization": f"token {token or self.token}", "Sec-Fetch-Mode": "cors"}
        with Browser(self.site.site, seconds=20) as bare:
            return bare.request(method, address_of(self.site, account) + path, headers=headers)

    def verbatim(self, account: str, path: str) -> int:
        """The status of a request whose path nobody tidies up on its way."""
        connection = HTTPConnection("127.0.0.1", self.site.site.hub.port, timeout=20)
        headers = {"Host": f"{account}.{self.site.site.hub.host}", "Authorization": f"token {self.token}"}
        try:
            connection.request("GET", f"/user/{account}/{path}", headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def visit(self, account: str, path: str = "lab") -> httpx.Response:
        """Open a page of somebody's server in this person's browser, through OAuth."""
        return self.browser.get(address_of(self.site, account) + path, follow_redirects=True)

    def run(self, account: str, code: str) -> Any:
        """Run code in a kernel of a server, and read the JSON that it prints."""
        if account not in self._kernels:
            made = self.at(account, "api/kernels", method="POST")
            assert made.status_code == 201, made.text
            self._kernels[account] = made.json()["id"]
        path = f"api/kernels/{self._kernels[account]}/channels"
        said = asyncio.run(_execute(self.site, account, path, self.token, code))
        try:
            return json.loads(said)
        except ValueError:
            raise AssertionError(f"the cell printed no JSON: {said!r}") from None


async def _execute(site: CompanySite, account: str, path: str, token: str, code: str) -> str:
    """What one cell prints, its error included (jupyter_client, messaging 5.4)."""
    host = f"{account}.{site.site.hub.host}"
    url = f"ws://127.0.0.1:{site.site.hub.port}/user/{account}/{path}"
    request = HTTPRequest(url, headers={"Host": host, "Authorization": f"token {token}"})
    header = {"msg_id": uuid4().hex, "msg_type": "execute_request", "username": "", "session": "t", "version": "5.4"}
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    printed = ""
    async with asyncio.timeout(CELL_SECONDS):
        socket = await websocket_connect(request)
        try:
            await socket.write_message(json.dumps({**message, "buffers": []}))
            while said := await socket.read_message():
                answer = json.loads(said)
                if answer["parent_header"].get("msg_id") != header["msg_id"]:
                    continue
                content = answer["content"]
                if answer["msg_type"] == "stream":
                    printed += content["text"]
                if answer["msg_type"] == "error":
                    printed += f"{content['ename']}: {content['evalue']}"
                if answer["msg_type"] == "status" and content["execution_state"] == "idle":
                    break
        finally:
            socket.close()
            while await socket.read_message() is not None:
                pass  # until the other side has closed it too
    return printed


def address_of(site: CompanySite, account: str) -> str:
    """Where a server is, as its own person reaches it."""
    return f"http://{account}.{site.site.hub.host}/user/{account}/"


def answers(person: Person, account: str) -> bool:
    """Whether a Jupyter server answers at this account's address."""
    try:
        answer = person.browser.get(address_of(person.site, account) + "api")
    except httpx.TransportError:
        return False
    return answer.status_code == 200 and "version" in answer.json()


def outside(code: str) -> Any:
    """The same code as the same account without any wall, and the JSON that it prints."""
    python = Installation.current().notebook_env / "bin/python"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


def port_of_server(site: CompanySite, account: str) -> int:
    """The port on which a server is offered on its node, as the proxy knows it."""
    token = (site.state.secrets / "proxy-token").read_text().strip()
    address = f"http://127.0.0.1:{remembered(site.state).proxy_api}/api/routes"
    routes = httpx.get(address, headers={"Authorization": f"token {token}"}, timeout=20, trust_env=False).json()
    target = next(route["target"] for path, route in routes.items() if path.rstrip("/").endswith(f"/user/{account}"))
    return int(target.rpartition(":")[2].rstrip("/"))


def job_of(site: CompanySite, account: str) -> int:
    """The number of a server's job in Slurm."""
    user = portal_asks(site, "GET", f"users/{account}")
    return int(user.json()["servers"][""]["state"]["start"]["job"])


def queued(site: CompanySite, job: int) -> bool:
    """Whether a job still waits, runs or is being ended."""
    done = subprocess.run(
        ["/usr/bin/squeue", "-h", "-j", str(job), "-t", "PD,R,CG", "-o", "%i"],
        env={"PATH": "/usr/bin:/bin", "SLURM_CONF": str(slurm_conf(site.state))},
        capture_output=True, timeout=20, check=False,
    )  # fmt: skip
    return bool(done.stdout.strip())


def portal_asks(site: CompanySite, method: str, path: str) -> httpx.Response:
    """The hub's API with the portal's own token."""
    transport = httpx.HTTPTransport(uds=str(site.state.run / "hub.sock"))
    headers = {"Authorization": f"token {secret(site.state, 'portal-token')}"}
    with httpx.Client(transport=transport, base_url="http://hub/hub/api/", timeout=150) as client:
        return client.request(method, path, headers=headers)


def daemon(site: CompanySite, name: str) -> psutil.Process:
    """The process of one daemon of a running site."""
    return psutil.Process(next(one.pid for one in Supervisor(site.state).processes() if one.name == name))


def trail(site: CompanySite, sandbox: str) -> list[str]:
    """The actions that the audit trail has of a sandbox."""
    ledger = open_ledger(site.site, site.state)
    try:
        return [entry.action for entry in ledger.entries(subject=sandbox, limit=500)]
    finally:
        ledger.close()


def waiting_transfers(site: CompanySite, sandbox: str) -> list[str]:
    """Files of a sandbox that wait for a second member's yes, by their ids, newest first."""
    ledger = open_ledger(site.site, site.state)
    try:
        return [one.id for one in TransferLedger(ledger).of(sandbox) if one.state is TransferState.ASKED]
    finally:
        ledger.close()


@contextmanager
def logged_in(site: CompanySite, *names: str) -> Iterator[list[Person]]:
    """These people, each with a browser of their own."""
    people: list[Person] = []
    try:
        for name in names:
            people.append(Person(site, name))
        yield people
    finally:
        for person in people:
            person.close()
