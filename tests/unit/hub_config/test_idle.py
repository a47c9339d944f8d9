"""Servers that nobody uses: how long, by whom, with which rights; and no limit of JupyterHub that keeps people out."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from traitlets.config import Config

from base.paths import Installation, State
from hub_config.audit import Audit, open_ledger
from hub_config.check import check
from hub_config.courses import Courses
from hub_config.idle_culling import HubSocket, arguments, listens
from hub_config.jupyterhub import set_roles, set_starts
from hub_config.run.processes import idle_daemon
from hub_config.sandboxes import Members
from hub_config.site import Site, load
from spawners.stopping import IDLE_SERVICE

CODE = Path(__file__).resolve().parents[3]


@pytest.fixture
def state(tmp_path: Path) -> State:
    made = State(tmp_path / "s")
    made.make()
    return made


def described(tmp_path: Path, idle: str) -> Path:
    text = (CODE / "hub_config/demo.yaml").read_text()
    file = tmp_path / "site.yaml"
    file.write_text(text.replace("  port: 8000\n", f"  port: 8000\n{idle}"))
    return file


def site(tmp_path: Path, idle: str = "") -> Site:
    return load(described(tmp_path, idle))


def installed(tmp_path: Path) -> Installation:
    return Installation(CODE, tmp_path, tmp_path, tmp_path, tmp_path, tmp_path)


def test_two_hours_unless_the_site_says_otherwise(tmp_path: Path, state: State) -> None:
    (daemon,) = idle_daemon(site(tmp_path), state, installed(tmp_path), {})
    assert daemon.argv[-2:] == ("hub_config.idle_culling", "7200")
    (daemon,) = idle_daemon(site(tmp_path, "  idle: 30m\n"), state, installed(tmp_path), {})
    assert daemon.argv[-1] == "1800"
    assert idle_daemon(site(tmp_path, "  idle: null\n"), state, installed(tmp_path), {}) == ()


def test_nobody_is_stopped_after_a_coffee(tmp_path: Path) -> None:
    file = described(tmp_path, "  idle: 5m\n")
    (problem,) = check(file)
    assert file.read_text().splitlines()[problem.line - 1].strip() == "idle: 5m"


@pytest.mark.parametrize("idle", [True, False])
def test_the_culler_may_look_and_stop_and_do_nothing_else(tmp_path: Path, state: State, idle: bool) -> None:
    c = Config()
    made = site(tmp_path, "" if idle else "  idle: null\n")
    set_roles(c, made, state, Courses(made, state, CODE))
    roles = [role for role in c.JupyterHub.load_roles if IDLE_SERVICE in role.get("services", [])]
    assert [sorted(role["scopes"]) for role in roles] == (
        [["delete:servers", "list:users", "read:servers", "read:users:activity"]] if idle else []
    )
    assert (IDLE_SERVICE in {service["name"] for service in c.JupyterHub.services}) is idle


def test_it_looks_at_least_twice_in_the_time_that_it_allows() -> None:
    assert arguments(7200) == ["--url=http://hub/hub/api", "--timeout=7200", "--cull-every=300"]
    assert arguments(20)[-1] == "--cull-every=10"


async def test_it_goes_to_the_hub_alone_whatever_address_it_is_told() -> None:
    resolver = HubSocket(path="/run/hub.sock")
    assert await resolver.resolve("example.org", 443) == [(socket.AF_UNIX, "/run/hub.sock")]


def test_a_socket_that_a_hub_left_behind_is_no_hub(short_folder: Path) -> None:
    path = short_folder / "hub.sock"
    assert not listens(path)
    with socket.socket(socket.AF_UNIX) as hub:
        hub.bind(str(path))
        hub.listen()
        assert listens(path)
    assert path.exists() and not listens(path)


def test_no_limit_of_jupyterhubs_counts_people_who_wait(tmp_path: Path, state: State) -> None:
    c, made = Config(), site(tmp_path)
    audit, courses = Audit(open_ledger(made, state)), Courses(made, state, CODE)
    (state.run / "ports.json").write_text('{"proxy_api": 1, "portal": 2, "slurm": [3, 4, 5, 6, 7]}')
    set_starts(c, made, state, installed(tmp_path), audit=audit, members=Members(), courses=courses)
    assert (c.JupyterHub.concurrent_spawn_limit, c.JupyterHub.active_server_limit) == (0, 0)
    person = SimpleNamespace(name="sanne", groups=[])
    assert [one.id for one in c.JupyterHub.spawner_class.facility.profiles_for(person)] == ["cpu-small", "gpu-part"]
    course = SimpleNamespace(name="course-ai-in-je-vak", groups=[])
    assert c.JupyterHub.spawner_class.facility.profiles_for(course) == []
