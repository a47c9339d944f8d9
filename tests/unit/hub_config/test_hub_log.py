"""What the hub's own process writes: JupyterHub's lines and ours, through one formatter, as text or JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SECRET = "s3cr3tVALUE99xyzQ"
# In a process of its own, because JupyterHub sets the logging of the whole process.
LOGS = f"""
import logging
from jupyterhub import orm
from hub_config.app import LeerlabHub
orm.User(name="hendrikje")
app = LeerlabHub()
app.log_level = logging.INFO
app.init_logging()
app.log.info("200 GET /user/hendrikje/lab?token={SECRET} (hendrikje@203.0.113.9) 1.00ms")
logging.getLogger("spawners.orphans").info("Cancelling jobs [7] of hendrikje, Authorization: start {SECRET}")
logging.getLogger("tornado.access").warning("404 GET /x?code={SECRET}")
logging.getLogger("somebody.else").warning("password={SECRET}")
logging.getLogger("somebody.else").info("chatter")
"""


def said(form: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOGS], capture_output=True, text=True, timeout=100, check=True,
        env={**os.environ, "LEERLAB_LOG": form},
    )  # fmt: skip
    return done.stderr.splitlines()


@pytest.mark.attack
@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_is_written_by_any_logger_of_the_hubs_process(form: str) -> None:
    lines = said(form)
    assert len(lines) == 4, lines
    assert SECRET not in "\n".join(lines)
    # The control: the four lines are there, and what held the secret is marked.
    assert all("[redacted]" in line for line in lines)


@pytest.mark.attack
def test_json_lines_name_no_person_and_no_visitors_address() -> None:
    told = [json.loads(line) for line in said("json")]
    assert [line["logger"] for line in told] == ["LeerlabHub", "spawners.orphans", "LeerlabHub", "somebody.else"]
    assert "hendrikje" not in str(told) and "203.0.113.9" not in str(told)
    # The control: as text they do, because an operator reads them on the machine itself.
    assert "hendrikje" in "\n".join(said("text"))
