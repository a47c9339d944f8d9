"""Nothing that `up` starts, and no page that it gives, calls anybody outside: not one packet is even tried."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.integration
HERE = Path(__file__).parent
CODE = HERE.parents[2]
OWN_NAMESPACES = ("unshare", "--user", "--map-current-user", "--keep-caps", "--net", "--mount", "--pid", "--fork",
                  "--kill-child", "--mount-proc")  # fmt: skip
# What people do: a student in Chromium, a teacher who grades, a company with its sandbox, scanner and squid, and a
# question to the assistant.
LIVED = (
    "tests/integration/offline/whole_demo.py",
    "tests/journey/test_first_story.py",
    "tests/journey/test_company.py",
    "tests/integration/assistant/test_whole_site.py",
)
TRY = """
import socket
for family, kind, target in (
    (socket.AF_INET, socket.SOCK_DGRAM, ("198.51.100.7", 9)),
    (socket.AF_INET, socket.SOCK_STREAM, ("198.51.100.8", 443)),
    (socket.AF_INET6, socket.SOCK_STREAM, ("2001:db8:1::8", 443)),
):
    with socket.socket(family, kind) as one:
        one.settimeout(1)
        try:
            one.connect(target)
            one.send(b"x")
        except TimeoutError:
            pass
try:
    socket.getaddrinfo("registry.example.org", 443)
except socket.gaierror:
    pass
try:
    socket.create_connection(("127.0.0.1", 9), 1)
except ConnectionRefusedError:
    pass
"""


def watched(folder: Path, *command: str, seconds: float) -> dict[str, Any]:
    """Run a command where every packet to anybody outside is seen; gives its exit code and the calls."""
    file = folder / "calls.json"
    done = subprocess.run(
        [*OWN_NAMESPACES, sys.executable, str(HERE / "watched.py"), str(file), *command],
        cwd=CODE, env={**os.environ, "PYTHONPATH": str(CODE)}, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=seconds, check=False,
    )  # fmt: skip
    assert file.exists(), done.stdout[-4000:] + done.stderr[-4000:]
    result: dict[str, Any] = json.loads(file.read_text())
    return result | {"said": done.stdout[-8000:] + done.stderr[-2000:]}


def test_whoever_calls_somebody_outside_is_seen(tmp_path: Path) -> None:
    """The control of the test below: each kind of call, by name and by number."""
    seen = watched(tmp_path, sys.executable, "-c", TRY, seconds=60)
    assert seen["code"] == 0, seen["said"]
    assert set(seen["calls"]) == {
        "udp to 198.51.100.7 port 9", "tcp to 198.51.100.8 port 443", "tcp to 2001:db8:1::8 port 443",
        "udp to 192.0.2.53 port 53 for registry.example.org",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(3100)
def test_a_site_lives_its_day_without_one_call_to_anybody_outside(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-m", "not root", *LIVED]
    seen = watched(tmp_path, *argv, seconds=3000)
    assert seen["calls"] == {}
    assert seen["code"] == 0, seen["said"]
