"""A lab asks the hub again and again whether its visitor may still be there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from base.paths import Installation

CONFIG = Path(__file__).resolve().parents[3] / "images/notebook/config"
LOOK = """
from jupyter_server.serverapp import ServerApp
from jupyterhub.singleuser.extension import JupyterHubSingleUser
server = ServerApp()
server.initialize(argv=[], find_extensions=False, new_httpserver=False)
lab = JupyterHubSingleUser()
lab._link_jupyter_server_extension(server)
print(lab.hub_auth.cache_max_age)
"""


@pytest.mark.integration
@pytest.mark.parametrize("role", ["student", "teacher", "plain"])
def test_an_answer_of_the_hub_counts_for_seconds_and_not_for_minutes(role: str, tmp_path: Path) -> None:
    """JupyterHub's own measure is five minutes: as long would somebody whose role was taken back still be let in."""
    environment = {
        "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "JUPYTERHUB_API_URL": "http://127.0.0.1:9/hub/api",
        "JUPYTERHUB_SERVICE_PREFIX": "/user/x/", "JUPYTERHUB_USER": "x", "JUPYTERHUB_API_TOKEN": "x",
        "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:8888/user/x/",
        "JUPYTER_CONFIG_PATH": f"{CONFIG}/{role}:{CONFIG}/base", "JUPYTER_CONFIG_DIR": str(tmp_path),
    }  # fmt: skip
    python = Installation.current().notebook_env / "bin/python"
    seen = subprocess.run(
        [python, "-c", LOOK], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert seen.stdout.split()[-1:] == ["20"], seen.stderr[-2000:]
