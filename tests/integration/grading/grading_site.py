"""Real parts for the tests of grading: the service on a unix socket, nbgrader in labs behind real walls; a hub that
only answers the questions that the service and a course's server ask."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from base.paths import Installation, State
from base.quantities import Duration, Size
from cluster.commands import Slurm
from confinement.run import start
from confinement.seccomp import write_filters
from confinement.settings import ConfinementSettings
from confinement.wall import Bind, Wall
from grading.configuration import ServiceConfiguration
from grading.plans import Role, exchange_relay, lab_environment, notebook_binds, pages_binds, seccomp_of
from grading.service import grading_service
from grading.settings import GradingSettings
from grading.store import Store
from spawners.settings import Profile, Title

HUB_ID = "0123456789ab"
COURSES = ("alpha", "beta")
PROFILE = Profile(
    id="graded",
    title=Title(nl="Nakijken", en="Grading"),
    partition="cpu",
    cpus=1,
    memory=Size.parse("512M"),
    time=Duration.parse("10m"),
)


class Server:
    """A web application on a unix socket, in a thread of the test's process."""

    def __init__(self, app: Starlette, socket: Path) -> None:
        self.app = app
        self.socket = socket
        self._server: uvicorn.Server | None = None

    def start(self) -> None:
        config = uvicorn.Config(self.app, uds=str(self.socket), log_config=None, timeout_graceful_shutdown=2)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 30
        while not self._server.started:
            assert time.monotonic() < deadline and self._thread.is_alive(), "the server did not start"
            time.sleep(0.01)

    def stop(self) -> None:
        if self._server is not None:
            self._server.should_exit = True
            self._thread.join(10)
            self._server = None


@dataclass
class TestHub:
    """JupyterHub's two answers, for tokens and groups that the test chooses; answers as JupyterHub 6.1 does."""

    __test__ = False
    groups: dict[str, list[str]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    service_token: str = field(default_factory=lambda: secrets.token_hex(16))
    server: Server | None = None

    def token(self, name: str, scopes: list[str] | None = None) -> str:
        """A server's token of a person; with `scopes`, one that may do only that."""
        token = secrets.token_hex(16)
        if scopes is None:
            scopes = [f"access:servers!server={name}/", f"users:activity!user={name}"]
        self.tokens[token] = {"kind": "user", "name": name, "scopes": scopes}
        return token

    def app(self) -> Starlette:
        def asked(request: Request) -> str:
            return request.headers.get("authorization", "").removeprefix("token ")

        async def user(request: Request) -> Response:
            model = self.tokens.get(asked(request))
            if model is not None and "groups" not in model:
                # A token always tells its owner's groups: jupyterhub/scopes.py, identify_scopes.
                model = {**model, "groups": self.groups.get(str(model.get("name")), [])}
            return JSONResponse(model) if model else JSONResponse({"status": 403}, status_code=403)

        async def users(request: Request) -> Response:
            name = request.path_params["name"]
            if asked(request) != self.service_token:
                return JSONResponse({"status": 403}, status_code=403)
            if name not in self.groups:
                return JSONResponse({"status": 404}, status_code=404)
            about = {"title": self.titles[name]} if name in self.titles else None
            return JSONResponse({"kind": "user", "name": name, "groups": self.groups[name], "user_info": about})

        async def group(request: Request) -> Response:
            name = request.path_params["name"]
            if asked(request) != self.service_token:
                return JSONResponse({"status": 403}, status_code=403)
            members = [who for who, groups in self.groups.items() if name in groups]
            if not members:
                return Response(status_code=404)
            return JSONResponse({"kind": "group", "name": name, "users": members})

        async def info(request: Request) -> Response:
            return JSONResponse({"version": "6.1.1"})

        async def activity(request: Request) -> Response:
            return Response(status_code=200)

        return Starlette(
            routes=[
                Route("/hub/api/user", user),
                Route("/hub/api/users/{name}", users),
                Route("/hub/api/groups/{name}", group),
                Route("/hub/api/users/{name}/activity", activity, methods=["POST"]),
                Route("/hub/api", info),
                Route("/hub/api/", info),
            ]
        )


@dataclass
class Site:
    """A site of two courses, with its service and everything that the ledger would have remembered."""

    state: State
    installation: Installation
    hub: TestHub
    service: Server
    store: Store
    recorded: list[tuple[str, str, str, Mapping[str, Any]]]

    def client(self, token: str) -> httpx.Client:
        """Somebody who calls the service directly, as code in a lab can."""
        transport = httpx.HTTPTransport(uds=str(self.service.socket))
        headers = {"Authorization": f"token {token}"}
        return httpx.Client(transport=transport, base_url="http://grading", headers=headers, timeout=60)

    def lab(
        self, name: str, token: str, script: str, role: Role = Role.STUDENT, home: Path | None = None,
        seconds: float = 240, **variables: str,
    ) -> str:  # fmt: skip
        """Run a Python script as somebody's lab would: behind a wall, with their token; returns what it printed."""
        folder = home or self.state.homes / name
        folder.mkdir(mode=0o700, exist_ok=True)
        scripts = self.state.root / "scripts"
        scripts.mkdir(exist_ok=True)
        file = scripts / f"{secrets.token_hex(6)}.py"
        file.write_text(script)
        wall = Wall(
            command=("/opt/notebook/bin/python", f"/opt/scripts/{file.name}"),
            home=folder,
            seccomp=seccomp_of(self.state),
            binds=(
                *notebook_binds(self.installation, self.state),
                *pages_binds(self.installation),
                Bind(scripts, Path("/opt/scripts")),
            ),
            relays=(exchange_relay(self.state),),
            environment={
                **lab_environment(role),
                "JUPYTERHUB_API_TOKEN": token,
                "JUPYTERHUB_USER": name,
                **variables,
            },
            **ConfinementSettings().sizes(),
        )
        with start(wall) as walled:
            code = walled.wait(seconds)
            output = walled.output.decode(errors="replace")
        assert code == 0, output
        return output

    def course(self, course: str, script: str, seconds: float = 240) -> str:
        """Run a Python script as the course's server would, with the course folder as home."""
        home = self.state.courses / course
        (home / "nbgrader_config.py").write_text(f"c = get_config()\nc.CourseDirectory.course_id = {course!r}\n")
        token = self.hub.token(f"course-{course}")
        settings = "/opt/leerlab/config/course"
        return self.lab(f"course-{course}", token, script, home=home, seconds=seconds, JUPYTER_CONFIG_PATH=settings)


def last_json(output: str) -> Any:
    """What the script printed in its last line."""
    return json.loads(output.strip().splitlines()[-1])


def wait_until(true: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait until something is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.05)
    return value


def make_site(folder: Path, installation: Installation, slurm: Path) -> Site:
    """A site of two courses whose graded notebooks run on the Slurm of a slurm.conf."""
    state = State(folder / "s")
    state.make()
    write_filters(state.generated)
    for course in COURSES:
        (state.courses / course).mkdir()
    hub = TestHub(
        groups={
            "anna": ["nbgrader-alpha"],
            "bram": ["nbgrader-alpha"],
            "carla": ["nbgrader-beta"],
            "docent": ["formgrade-alpha"],
            "assistent": ["grader-alpha"],
            "inspecteur": ["reader-alpha"],
            "beta-docent": ["formgrade-beta"],
            "buiten": [],
        }
    )
    hub.server = Server(hub.app(), state.run / "hub.sock")
    hub.server.start()
    recorded: list[tuple[str, str, str, Mapping[str, Any]]] = []
    (state.secrets / "grading-token").write_text(hub.service_token)
    configuration = ServiceConfiguration(
        state=state.root,
        hub_id=HUB_ID,
        hub=f"unix:{state.run / 'hub.sock'}",
        token_file=state.secrets / "grading-token",
        courses=COURSES,
        grading=GradingSettings(
            profile="graded",
            cell_time=Duration.parse("15s"),
            notebook_time=Duration.parse("90s"),
            upload=Size.parse("8M"),
            files=50,
        ),
        profile=PROFILE,
        slurm_conf=slurm,
        slurm_interval=0.3,
        ledger="sqlite://",
        ledger_key=state.secrets / "ledger-key",
    )
    app = grading_service(
        configuration,
        installation=installation,
        cluster=Slurm(slurm),
        record=lambda *entry: recorded.append(entry),
    )
    store = Store(state.exchange, configuration.limits, process="test")
    service = Server(app, state.run / "grading.sock")
    service.start()
    return Site(state, installation, hub, service, store, recorded)
