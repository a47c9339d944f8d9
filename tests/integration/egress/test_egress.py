"""What a sandbox reaches through squid, in a network namespace of the test's own: no packet can leave it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from base.paths import State
from sandboxes import egress
from sandboxes.egress_ports import ports
from sandboxes.folders import Folders

CODE = Path(__file__).resolve().parents[3]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
PUBLIC, OTHER = "203.0.113.10", "203.0.113.20"


def attempts(change: str = "lambda text: text") -> dict[str, Any]:
    """Run all attempts in a fresh namespace; `change` takes a defence out of squid's configuration."""
    folder = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    State(folder / "s").make()
    try:
        result = subprocess.run(
            ["/usr/bin/unshare", "--user", "--map-root-user", "--net", "--mount", "--",
             sys.executable, str(Path(__file__).with_name("inside.py")), str(folder / "s"), change],
            env={**os.environ, "PYTHONPATH": str(CODE)}, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr[-3000:]
        found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
        return found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def found() -> Iterator[dict[str, Any]]:
    """What each attempt got with squid as the product sets it."""
    yield attempts()


def test_listed_names_are_reached_and_nothing_is_told_about_the_sandbox(found: dict[str, Any]) -> None:
    assert found["listed"] == f"200 {PUBLIC} good.test None None"
    assert found["listed below"].startswith("200") and found["listed tunnel"].startswith("200")
    assert found["the other's own place"].startswith("200")


def test_nothing_is_reached_before_it_was_opened_nor_after_it_was_closed(found: dict[str, Any]) -> None:
    assert found["before anything was opened"] == "403" and found["closed again"] == "403"
    assert found["still open"].startswith("200")
    assert found["tunnel before it was closed"] == "200" and found["tunnel after it was closed"] == "ended"


@pytest.mark.fault
def test_a_sandbox_whose_folder_is_missing_shuts_nobody_in(found: dict[str, Any]) -> None:
    """squid ends when it cannot open a log: then no sandbox had a way out."""
    assert found["a sandbox without a folder"] is None


LITERALS = ("raw address", "raw address in hexadecimal", "raw address as a number", "IPv6 literal")
ATTACKS = (
    "not listed", "listed for another sandbox", "suffix trick", *LITERALS, "name of loopback",
    "name of the metadata service", "name of a private address", "tunnel to another port", "page at another port",
    "host header of a listed name", "rebinding, later", "another protocol",
)  # fmt: skip
# An address that got onto a list all the same, in each spelling.
LISTED_LITERALS = (
    "re.sub('(acl listed_aaaaaaaa dstdomain -n )\\S+\\n', '\\g<0>' + ''.join('\\g<1>' + one + '\\n' for one in "
    "('203.0.113.20', '0xcb007114', '3405803796', '[2001:db8::10]')), text, count=1)"
)


def without(rule: str, text: str = "text") -> str:
    """A change of squid's configuration that takes one rule out."""
    return f"lambda text: {text}.replace('http_access deny {rule}\\n', '')"


@pytest.mark.attack
@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_else_is_reached(found: dict[str, Any], attack: str) -> None:
    assert found[attack].split(" ")[0] in ("403", "400", "503"), found[attack]


@pytest.mark.attack
def test_no_name_that_is_not_listed_is_ever_asked_for(found: dict[str, Any]) -> None:
    """A question to a name server would carry data out by itself."""
    assert "good.test" in found["asked of the name server"]
    assert not [name for name in found["asked of the name server"] if name.endswith("evil.test")]


@pytest.mark.attack
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_controls_each_attempt_works_without_its_one_defence() -> None:
    """The same requests with one line of squid's configuration taken out at a time."""
    open_list = attempts("lambda text: re.sub('http_access deny from_\\w+ !listed_.*\\n', '', text)")
    assert open_list["not listed"].startswith(f"200 {OTHER}")
    assert open_list["listed for another sandbox"].startswith(f"200 {OTHER}")
    assert open_list["suffix trick"].startswith(f"200 {OTHER}")
    assert open_list["host header of a listed name"].startswith(f"200 {OTHER}")
    assert "evil.test" in open_list["asked of the name server"]

    inner = attempts(without("inner"))
    assert inner["name of loopback"].startswith("200 127.0.0.1")
    assert inner["name of the metadata service"].startswith("200 169.254.169.254")
    assert inner["name of a private address"].startswith("200 10.1.2.3")
    assert inner["rebinding, later"].startswith("200 127.0.0.1")

    assert attempts(without("CONNECT !tls"))["tunnel to another port"].startswith("200")
    assert attempts(without("!CONNECT !web"))["page at another port"].startswith("200")
    # The place speaks no FTP, and squid waits for it in vain: it was reached.
    assert attempts(without("!CONNECT !http"))["another protocol"] == "no answer: TimeoutError"

    listed = attempts(f"lambda text: {LISTED_LITERALS}")
    assert [listed[one] for one in LITERALS] == ["403"] * len(LITERALS)
    let_through = attempts(without("literal", LISTED_LITERALS))
    assert all(let_through[one].startswith("200") for one in LITERALS)


def test_a_port_that_belongs_to_nobody_and_squids_own_pages_answer_nothing(found: dict[str, Any]) -> None:
    assert found["nobody's port"] == found["cache manager"] == "403"


@pytest.mark.fault
def test_without_squid_nothing_gets_out_and_afterwards_ports_are_the_same(found: dict[str, Any]) -> None:
    assert found["squid killed"] == "no answer: ConnectionRefusedError"
    assert found["squid again, same port"].startswith("200")


def test_a_sandbox_that_has_ended_has_no_way_out(found: dict[str, Any]) -> None:
    assert found["ended sandbox"] == "no answer: ConnectionRefusedError"


def test_members_see_what_was_reached_and_refused_and_nothing_of_others(found: dict[str, Any]) -> None:
    assert ["good.test", 80, True] in found["log"] and ["evil.test", 80, False] in found["log"]
    assert found["log of the other"] == [["other.test", True]] and not found["secret in the log"]


@pytest.mark.attack
def test_sandboxes_never_share_a_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start of a site all of them get theirs at once; ports that are asked for one by one may be the same."""
    state = State(tmp_path / "s")
    state.make()
    sandboxes = [f"{letter}aaaaaaa" for letter in "bcdefg"]
    for sandbox in sandboxes:
        Folders(state, sandbox).make()
    monkeypatch.setattr(egress, "free_ports", lambda count: list(range(20_000, 20_000 + count)))
    monkeypatch.setattr(egress, "_listens", lambda _port: True)
    assert egress.free_ports(1) == egress.free_ports(1), "each time the first ones that are free"
    way = egress.Egress(state, ["good.test"])
    way.daemon()
    for there in (sandboxes[:4], sandboxes, sandboxes[2:]):
        way.update({sandbox: [] for sandbox in there})
        known = ports(state)
        assert len(known) == len(there) + 1 == len(set(known.values())), known
