"""A real hub with our pages and a real proxy, each test's state in a folder of its own, all ports free ones."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from base.paths import State
from base.ports import free_ports
from base.settings import SiteSettings
from cluster.limits import GroupLimits
from grading.settings import GradingSettings
from hub_config.login import keys
from portal.configuration import VARIABLE, AssistantShown, PortalConfiguration, PortalCourse
from sandboxes.settings import SandboxSettings
from spawners.settings import Profile

HERE = Path(__file__).parent
CODE = HERE.parents[2]
START_SECONDS = 240
DOMAIN = "leerlab.localhost"
# The first course has the assistant, the second and sandboxes have it off.
ASSISTANT = (AssistantShown(on=True, tokens_per_hour=20_000), AssistantShown())
# What would run, if any text were put into a page as it is.
MARKUP = "<img src=x onerror=\"document.title='broken in'\">"
PEOPLE = [
    ("sanne", "Sanne", ["nbgrader-ai-in-je-vak", "nbgrader-voorspel-onderhoud"]),
    ("docent", "Mevrouw Bakker", ["formgrade-ai-in-je-vak", "nbgrader-voorspel-onderhoud"]),
    ("nakijker", "Nina Nakijker", ["grader-ai-in-je-vak"]),
    ("meekijker", "Mees Meekijker", ["reader-ai-in-je-vak"]),
    ("bakker", f"Bakkerij Bos {MARKUP}", ["companies"]),
    ("collega", "Collega Bos", ["companies"]),
    ("concurrent", "Concurrent", ["companies"]),
    ("beheer", "Beheer", ["operators"]),
    ("gast", f"Nieuwe collega {MARKUP}", []),
]


# Who is in both courses may have one server with a name beside the first, the others none.
LIMITS = (GroupLimits(id="both", groups=("nbgrader-voorspel-onderhoud",), named_servers=1),)


class ToLoopback(httpx.HTTPTransport):
    """Resolves every name to this machine, as a browser does for `*.localhost` and a hostile name server for any."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        here = request.url.copy_with(host="127.0.0.1")
        return super().handle_request(
            httpx.Request(
                request.method, here, headers=request.headers, stream=request.stream, extensions=request.extensions
            )
        )


@dataclass
class Pages:
    """A running hub with its proxy.

    Args:
        root: folder of everything it writes, and of the files by which a test steers its spawner.
        port: public port.
    """

    root: Path
    port: int
    hub_port: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    domain: str = DOMAIN

    @property
    def address(self) -> str:
        return f"http://{DOMAIN}:{self.port}"

    @property
    def portal(self) -> str:
        return f"http://portal.{self.domain}:{self.port}"

    @property
    def state(self) -> State:
        return State(self.root / "state")

    def wait(self, done: Callable[[], Any], seconds: float) -> None:
        wait_for(done, seconds)

    def key(self) -> str:
        return keys.mint(self.state)

    def records(self) -> list[list[Any]]:
        path = self.root / "record.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def steer(self, **files: str | None) -> None:
        """Write or remove the files that the spawner looks at; it never sees half of one."""
        for name, text in files.items():
            path = self.root / name.replace("__", "-").replace("_json", ".json")
            if text is None:
                path.unlink(missing_ok=True)
            else:
                half = self.root / f".{path.name}.half"
                half.write_text(text)
                half.replace(path)

    def servers(self, name: str) -> dict[str, Any]:
        """A person's servers that run, start or stop, as the hub has them."""
        token = (self.root / "portal-token").read_text()
        answer = httpx.get(
            f"http://127.0.0.1:{self.hub_port}/hub/api/users/{name}",
            headers={"Authorization": f"token {token}"},
            timeout=20,
        )
        return dict(answer.json().get("servers", {}))

    def stop_servers(self, name: str) -> None:
        """Stop what a test has left of somebody's servers, as the button on their own pages does."""
        if not self.servers(name):
            return
        with self.browser() as browser:
            assert give_key(browser, self.key()).status_code == 302
            assert choose(browser, name).status_code == 302
            token = token_of(browser.get("/hub/logout").text)
            for server in self.servers(name):
                browser.post(f"/hub/stop/{name}/{server}".rstrip("/"), data={"_xsrf": token}, timeout=60)
        wait_for(lambda: not self.servers(name), 60, lambda: str(self.servers(name)))

    def browser(self, host: str | None = None, language: str = "nl") -> httpx.Client:
        """A client that keeps cookies and asks like a person's browser: by public name, navigating."""
        return httpx.Client(
            base_url=f"http://{host or f'{DOMAIN}:{self.port}'}",
            headers={"Accept-Language": language, "Sec-Fetch-Mode": "navigate"},
            timeout=20,
            transport=ToLoopback(),
        )


def start_pages(root: Path, **changes: Any) -> Pages:
    port, hub_port, proxy_api, portal_port = free_ports(4)
    token, portal_token = secrets.token_hex(16), secrets.token_hex(32)
    settings = {
        "root": str(root), "domain": DOMAIN, "port": port, "hub_port": hub_port, "proxy_api": proxy_api,
        "proxy_token": token, "people": PEOPLE, "bind": "127.0.0.1",
        "portal_port": portal_port, "portal_token": portal_token, **changes,
    }  # fmt: skip
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(root), "PYTHONPATH": str(CODE), "PAGES_SETTINGS": json.dumps(settings),
        "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8",
        "LEERLAB_NOTEBOOK_ENV": os.environ["LEERLAB_NOTEBOOK_ENV"],
    }  # fmt: skip
    pages = Pages(root, port, hub_port, domain=str(settings["domain"]))
    proxy = Path(os.environ["LEERLAB_PROXY"]) / "node_modules/.bin/configurable-http-proxy"
    for name, argv, extra in (
        (
            "proxy",
            [
                str(proxy),
                "--ip=127.0.0.1",
                f"--port={port}",
                "--api-ip=127.0.0.1",
                f"--api-port={proxy_api}",
                "--host-routing",
            ],
            {"CONFIGPROXY_AUTH_TOKEN": token},
        ),
        ("hub", [sys.executable, str(HERE / "pages_hub.py")], {}),
        ("portal", [sys.executable, "-m", "portal"], {VARIABLE: str(portal_configuration(pages, settings))}),
    ):
        # How it was started, for a test that starts it again.
        given = {**environment, **extra}
        (root / f"{name}-environment").write_text("\0".join(f"{key}={value}" for key, value in given.items()))
        with (root / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(argv, cwd=root, env=given, stdout=log, stderr=log)
        pages.processes.append(process)
    try:
        wait_for(lambda: answers(pages), START_SECONDS, lambda: (root / "hub.log").read_text()[-3000:])
    except AssertionError:
        stop_pages(pages)
        raise
    return pages


def portal_configuration(pages: Pages, settings: dict[str, Any]) -> Path:
    """What the portal is told; its Slurm never answers, so that no test here takes an end for known."""
    pages.state.make()
    token = pages.root / "portal-token"
    token.write_text(str(settings["portal_token"]))
    key = pages.root / "ledger-key"
    key.write_text(secrets.token_hex(32))
    profile = Profile.model_validate_json(
        '{"id": "cpu-small", "title": {"nl": "Gewoon", "en": "Ordinary"}, "partition": "cpu", "cpus": 1,'
        ' "memory": "2G", "time": "4h"}'
    )
    courses = (("ai-in-je-vak", CODE / "courses/mbo/ai-in-je-vak"), ("voorspel-onderhoud", other_course(pages.root)))
    configuration = PortalConfiguration(
        state=pages.state.root,
        site=SiteSettings(name="demo"),
        demo=True,
        domain=str(settings["domain"]),
        port=pages.port,
        listen=int(settings["portal_port"]),
        hub=f"http://127.0.0.1:{pages.hub_port}",
        hub_id="0123456789ab",
        token_file=token,
        courses=tuple(
            PortalCourse(id=name, folder=folder, profile="cpu-small", assistant=ASSISTANT[number % 2])
            for number, (name, folder) in enumerate(courses)
        ),
        sandbox_assistant=ASSISTANT[1],
        profiles=(profile,),
        of_groups=LIMITS,
        grading=GradingSettings(profile="cpu-small"),
        slurm_conf=pages.root / "no-slurm.conf",
        slurm_answer=2.0,
        ledger=f"sqlite:///{pages.state.ledger}",
        ledger_key=key,
        sandboxes=SandboxSettings(profile="cpu-small", hosts=("pypi.org",), per_person=50),
    )
    file = pages.root / "portal.json"
    file.write_text(configuration.model_dump_json())
    return file


def other_course(root: Path) -> Path:
    """A second course, with markup in every text that pages show."""
    folder = root / "courses/voorspel-onderhoud"
    (folder / "source/pomp").mkdir(parents=True, exist_ok=True)
    (folder / "source/pomp/pomp.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')

    def both(dutch: str, english: str) -> dict[str, str]:
        return {"nl": f"{dutch} {MARKUP}", "en": f"{english} {MARKUP}"}

    (folder / "course.yaml").write_text(
        yaml.safe_dump(
            {
                "id": "voorspel-onderhoud", "title": both("Voorspel onderhoud", "Predict maintenance"),
                "summary": both("Wanneer gaat een pomp stuk?", "When does a pump fail?"),
                "track": "hbo", "level": f"hbo {MARKUP}"[:100], "hours": 4,
                "prior_knowledge": both("Niets.", "Nothing."),
                "outcomes": [{"id": "meten", "text": both("Je meet.", "You measure.")}],
                "assignments": [
                    {"id": "pomp", "title": both("De pomp", "The pump"), "minutes": 90, "outcomes": ["meten"]}
                ],
            }
        )
    )  # fmt: skip
    return folder


def answers(pages: Pages) -> bool:
    assert all(process.poll() is None for process in pages.processes), "one of them has ended"
    try:
        with pages.browser() as browser:
            hub, portal = browser.get("/hub/health"), browser.get(f"{pages.portal}/status")
            return hub.status_code == portal.status_code == 200
    except httpx.HTTPError:
        return False


def wait_for(done: Callable[[], Any], seconds: float, explain: Callable[[], str] = str) -> Any:
    """Wait until something holds, or fail with the explanation."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := done():
            return result
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {explain()}")


def stop_pages(pages: Pages) -> None:
    for process in reversed(pages.processes):
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=5)
    shutil.rmtree(pages.root, ignore_errors=True)


def token_of(html: str) -> str:
    """The XSRF token in a page's first form."""
    found = re.search(r'name="_xsrf" value="([^"]+)"', html)
    assert found, html[:2000]
    return found[1]


def give_key(browser: httpx.Client, key: str) -> httpx.Response:
    """Give a one-time key as the login page's form does."""
    token = token_of(browser.get("/hub/login").text)
    return browser.post("/hub/login/key", data={"_xsrf": token, "key": key})


def choose(browser: httpx.Client, name: str, goal: str = "") -> httpx.Response:
    """Choose a demo person as the login page's form does."""
    address = "/hub/login" + (f"?next={goal}" if goal else "")
    token = token_of(browser.get("/hub/login").text)
    return browser.post(address, data={"_xsrf": token, "username": name})
