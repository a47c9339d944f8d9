"""What code in a student's notebook can reach of the site around it. The control runs the same code without the wall,
as the same account, and reaches it: so each attack works where nothing defends."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from base.paths import Installation
from cluster.embedded import munge_socket, slurm_conf
from hub_config.run.ports import remembered

pytestmark = [pytest.mark.attack, pytest.mark.integration, pytest.mark.timeout(900)]

TCP = """
import json, socket
def reaches():
    with socket.create_connection(("127.0.0.1", {port}), 3):
        return True
"""
UNIX = """
import json, socket
def reaches():
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(3); s.connect({path!r})
        return True
"""
READ = """
import json, pathlib
def reaches():
    path = pathlib.Path({path!r})
    return len(list(path.iterdir()) if path.is_dir() else path.read_bytes()) >= 0
"""
WRITE = """
import json, pathlib
def reaches():
    path = pathlib.Path({path!r}) / "written-by-an-attack"
    path.write_text("x"); path.unlink()
    return True
"""
PROCESSES = """
import json, pathlib
def reaches():
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and {word!r} in (entry / "cmdline").read_bytes().decode(errors="replace"):
                return True
        except OSError:  # it has ended meanwhile
            pass
    return False
"""
ENVIRONMENT = """
import json, pathlib
def reaches():
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and {word!r} in (entry / "environ").read_bytes().decode(errors="replace"):
                return True
        except OSError:
            pass
    return False
"""
SIGNAL = """
import json, os
def reaches():
    os.kill({pid}, 0)
    return True
"""
SUBMIT = """
import json, os, subprocess
def reaches():
    environment = dict(os.environ, SLURM_CONF={conf!r})
    done = subprocess.run(["/usr/bin/sinfo", "-h"], env=environment, capture_output=True, timeout=20)
    return done.returncode == 0
"""
ENDING = """
try:
    print(json.dumps(reaches()))
except Exception as error:
    print(json.dumps(f"{type(error).__name__}: {error}"))
"""


def port_of(site: Any, name: str) -> int:
    """The port on which a student's server is offered on its node, as the proxy knows it."""
    ports = remembered(site.state)
    token = (site.state.secrets / "proxy-token").read_text().strip()
    address, headers = f"http://127.0.0.1:{ports.proxy_api}/api/routes", {"Authorization": f"token {token}"}
    routes = httpx.get(address, headers=headers, timeout=60, trust_env=False).json()
    target = next(route["target"] for path, route in routes.items() if path.rstrip("/").endswith(f"/user/{name}"))
    return int(target.rpartition(":")[2].rstrip("/"))


def pid_of(site: Any, daemon: str) -> int:
    report = json.loads(site.leerlab("status", "--json").stdout)
    return next(one["pid"] for one in report["daemons"] if one["name"] == daemon)


MECHANISMS: dict[str, Callable[[Any], str]] = {
    "the proxy's API": lambda site: TCP.format(port=remembered(site.state).proxy_api),
    "the public login page": lambda site: TCP.format(port=site.site.hub.port),
    "slurmctld": lambda site: TCP.format(port=remembered(site.state).slurm[0]),
    "another student's server": lambda site: TCP.format(port=port_of(site, "jelmer")),
    "the hub's own socket": lambda site: UNIX.format(path=str(site.state.run / "hub.sock")),
    "munge": lambda site: UNIX.format(path=str(munge_socket(site.state))),
    "supervisord": lambda site: UNIX.format(path=str(site.state.run / "supervisor.sock")),
    "another student's files": lambda site: READ.format(path=str(site.state.homes / "jelmer")),
    "the gradebook's folder": lambda site: READ.format(path=str(site.state.courses / "ai-in-je-vak")),
    "the site's secrets": lambda site: READ.format(path=str(site.state.secrets / "cookie-secret")),
    "the exchange's store": lambda site: WRITE.format(path=str(site.state.exchange)),
    "the jobs' folders": lambda site: WRITE.format(path=str(site.state.jobs)),
    "processes of the site": lambda site: PROCESSES.format(word="hub_config.app"),
    "environments of the site's processes": lambda site: ENVIRONMENT.format(word="CONFIGPROXY_AUTH_TOKEN"),
    "a signal to the hub": lambda site: SIGNAL.format(pid=pid_of(site, "hub")),
    "Slurm's commands": lambda site: SUBMIT.format(conf=str(slurm_conf(site.state))),
}


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_notebook_does_not_reach(mechanism: str, running_site: Any, notebooks: Any) -> None:
    code = MECHANISMS[mechanism](running_site) + ENDING
    python = Installation.current().notebook_env / "bin/python"
    control = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(control.stdout) is True, "the control does not reach it, so the attack would prove nothing"
    assert notebooks["sanne"].run(code) is not True


INNER = """
import json, urllib.request, urllib.error
def reaches():
    try:
        return urllib.request.urlopen("http://127.0.0.1:8081{path}", timeout=60).status == 200
    except urllib.error.HTTPError as error:
        return error.code
"""


@pytest.mark.parametrize(
    "path", ["/hub/login", "/hub/home", "/hub/api/users", "/hub/api/proxy", "/hub/api/oauth2/authorize"]
)
def test_through_its_relay_a_notebook_sees_only_the_listed_addresses_of_the_hub(path: str, notebooks: Any) -> None:
    assert notebooks["sanne"].run(INNER.format(path="/hub/api/") + ENDING) is True, "the relay itself must work"
    assert notebooks["sanne"].run(INNER.format(path=path) + ENDING) == 404


def test_jupyter_ais_server_of_tools_is_not_there(notebooks: Any) -> None:
    """jupyter-server-mcp listens on port 3001 without asking who calls; labs have it switched off."""
    assert "ConnectionRefused" in notebooks["sanne"].run(TCP.format(port=3001) + ENDING)
    status = notebooks["sanne"].page.evaluate("async () => (await fetch('/user/sanne/mcp')).status")
    assert status == 404


def test_a_notebook_cannot_read_another_students_hand_in_through_the_exchange(notebooks: Any) -> None:
    asked = """
import json, os, urllib.request, urllib.error
def reaches():
    request = urllib.request.Request("http://127.0.0.1:8082{path}",
        headers={{"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]}})
    try:
        return urllib.request.urlopen(request, timeout=60).status == 200
    except urllib.error.HTTPError as error:
        return error.code
"""
    listed = "/exchange/courses"
    assert notebooks["sanne"].run(asked.format(path=listed) + ENDING) is True
    for path in ("/exchange/courses/ai-in-je-vak/assignments/herken-ai/submissions/jelmer", "/executions/x"):
        assert notebooks["sanne"].run(asked.format(path=path) + ENDING) in (403, 404, 405)
