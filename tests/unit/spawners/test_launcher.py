"""What the launcher takes and what it refuses; that it runs as other accounts is in tests/root."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.errors import InvalidRequest
from confinement.wall import Bind, Relay, Wall
from spawners import launcher
from spawners.job import Task
from spawners.launcher import Account, NotAllowed, NotAnOrder, Policy

START = "0123456789abcdef"
CODE = Path(launcher.__file__).resolve().parent.parent


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    state, installed = tmp_path / "state", tmp_path / "installed"
    for folder in (state / "run", state / "generated", state / "catalogue", state / "images", installed / "env"):
        folder.mkdir(parents=True)
    return Policy(
        "leerlab-people", 70000, 70999, state, installed, Path("/etc/slurm/slurm.conf"), Path("/usr/bin"), "10.1.0.0/16"
    )


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account("ll00007", 70007, tmp_path / "person" / "leerlab")


def wall_of(policy: Policy) -> Wall:
    return Wall(
        command=("/opt/notebook/bin/python", "-m", "jupyterhub.singleuser"),
        home=Path("/nowhere"),
        seccomp=policy.state / "generated/seccomp.bpf",
        binds=(Bind(policy.installed / "env", Path("/opt/notebook")),),
        relays=(Relay(8081, f"unix:{policy.state}/run/hub-api.sock"),),
        publish=8888,
        environment={"JUPYTERHUB_API_TOKEN": "of the person"},
    )


def order_of(policy: Policy, **changed: Any) -> dict[str, Any]:
    order = {
        "order": "submit",
        "start": START,
        "hub": "0123456789ab",
        "job": {
            "partition": "gpu", "cpus": 2, "memory": 2**30, "seconds": 3600, "gpus": 1, "gpu_type": None, "shards": 0,
            "qos": None, "reservation": None, "account": "person-anna",
        },
        "task": {
            "wall": wall_of(policy).to_json(), "report_path": f"/hub/api/leerlab/starts/{START}", "secret": "s" * 43,
            "base": "/user/anna/", "log_limit": 2**22, "home_size": 10 * 2**30,
        },
    }  # fmt: skip
    return {**order, **changed}


def made(order: dict[str, Any], policy: Policy, account: Account) -> Any:
    return launcher.request_of(
        launcher.parse(json.dumps(order).encode()), policy, account, CODE / "spawners/launcher.py"
    )


def test_an_order_becomes_a_job_of_our_own_wrapper(policy: Policy, account: Account) -> None:
    request = made(order_of(policy), policy, account)
    assert request.script == f"#!/bin/sh\nexec /usr/bin/python3 -I -S {CODE}/spawners/job.py\n"
    assert request.comment == f"0123456789ab:{START}:70007"
    task = Task.from_json(request.environment["LEERLAB_JOB"])
    # Not as the order says: as the account and root's own file say.
    assert task.wall == replace(wall_of(policy), home=account.root / "home")
    assert task.report_to == f"unix:{policy.state}/run/hub-api.sock"
    assert (task.publish_on, task.home_size) == ("10.1.0.0/16", 10 * 2**30)
    assert task.log == account.root / "jobs" / START / "server.log"
    assert "--account=person-anna" in request.arguments()


@pytest.mark.parametrize(
    "change",
    [
        {"command": "sh"}, {"start": "../../etc"}, {"start": START.upper()}, {"hub": ""}, {"order": "run"},
        {"order": ["submit"]}, {"job": {}}, {"job": []}, {"task": None},
    ],
)  # fmt: skip
def test_what_is_no_order_is_refused(policy: Policy, account: Account, change: dict[str, Any]) -> None:
    with pytest.raises(NotAnOrder):
        made(order_of(policy, **change), policy, account)


@pytest.mark.attack
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("partition", "gpu --wrap=id"), ("partition", "gpu\n#SBATCH --uid=0"), ("account", "root"), ("qos", "a b"),
        ("cpus", True), ("cpus", 1.0), ("memory", -1), ("gpu_type", "a:1,gpu:8"), ("reservation", "--uid=0"),
    ],
)  # fmt: skip
def test_no_value_of_a_job_means_anything_else_to_sbatch(
    policy: Policy, account: Account, key: str, value: object
) -> None:
    order = order_of(policy)
    assert made(order, policy, account)
    order["job"][key] = value
    with pytest.raises(NotAnOrder):
        made(order, policy, account)


@pytest.mark.attack
def test_a_wall_shows_and_reaches_only_what_root_allows(policy: Policy, account: Account, tmp_path: Path) -> None:
    good = wall_of(policy)
    (policy.installed / "link").symlink_to("/etc")
    inside = Path("/srv/data")
    for wall in (
        replace(good, binds=(Bind(Path("/etc"), inside),)),
        replace(good, binds=(Bind(policy.installed / "link", inside),)),
        replace(good, binds=(Bind(policy.state / "secrets", inside),)),
        replace(good, binds=(Bind(policy.installed / "env", inside, writable=True),)),
        replace(good, relays=(Relay(8081, "tcp:127.0.0.1:6817"),)),
        replace(good, relays=(Relay(8081, "unix:/run/munge/munge.socket.2"),)),
        replace(good, relays=(Relay(8081, f"unix:{policy.state}/run/../secrets/x.sock"),)),
        replace(good, seccomp=Path("/dev/null")),
        replace(good, root=Path("/"), binds=()),
        replace(good, devices=(Path("/dev/nvidia0"),)),
        replace(good, nested=True),
    ):
        order = order_of(policy)
        order["task"]["wall"] = wall.to_json()
        with pytest.raises(NotAnOrder):
            made(order, policy, account)
    # The same folder, once root has said that walls may show it.
    data = tmp_path / "data"
    data.mkdir()
    order = order_of(policy)
    order["task"]["wall"] = replace(good, binds=(Bind(data, inside),)).to_json()
    assert made(order, replace(policy, readable=(data,)), account)


def test_a_report_path_of_another_start_is_refused(policy: Policy, account: Account) -> None:
    order = order_of(policy)
    order["task"]["report_path"] = "/hub/api/leerlab/starts/" + "f" * 16
    with pytest.raises(NotAnOrder):
        made(order, policy, account)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.attack
@settings(max_examples=300, deadline=None)
@given(raw=st.binary(max_size=300) | _JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_in_is_an_order_or_is_refused(raw: bytes) -> None:
    try:
        order = launcher.parse(raw)
    except NotAnOrder:
        return
    assert order["order"] in launcher.ORDERS


@pytest.mark.attack
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_one_value_changed_gives_a_walled_job_or_nothing(data: st.DataObject) -> None:
    policy = Policy(
        "g", 70000, 70999, Path("/s"), Path("/i"), Path("/etc/slurm/slurm.conf"), Path("/usr/bin"), "127.0.0.1"
    )
    account = Account("ll00007", 70007, Path("/home/ll00007/leerlab"))
    order = copy.deepcopy(order_of(policy))
    place = data.draw(st.sampled_from([order, order["job"], order["task"]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(_JSON)
    try:
        request = launcher.request_of(
            launcher.parse(json.dumps(order).encode()), policy, account, CODE / "spawners/launcher.py"
        )
    except (NotAnOrder, InvalidRequest):
        return
    assert request.script.count("\n") == 2 and request.script.endswith("/spawners/job.py\n")
    assert all(word.isprintable() and word.startswith("--") for word in request.arguments())
    task = Task.from_json(request.environment["LEERLAB_JOB"])
    assert task.wall.home == account.home and str(task.log).startswith("/home/ll00007/leerlab/jobs/")


def test_two_keys_of_one_name_and_endless_nesting_are_refused() -> None:
    for raw in (
        b'{"order": "cancel", "jobs": [1], "jobs": [2]}',
        b"[" * 100_000,
        b'{"order": "cancel", "jobs": [NaN]}',
    ):
        with pytest.raises(NotAnOrder):
            launcher.parse(raw)
    assert launcher.parse(b'{"order": "cancel", "jobs": [1]}')


def test_a_policy_that_others_can_change_is_not_believed(tmp_path: Path) -> None:
    file = tmp_path / "launcher.json"
    file.write_text("{}")
    file.chmod(0o666)
    with pytest.raises(NotAllowed, match="can be changed by others than root"):
        Policy.read(file)
    with pytest.raises(NotAllowed):
        Policy.read(tmp_path / "absent.json")


def test_an_account_outside_the_range_may_not_be_used(policy: Policy) -> None:
    with pytest.raises(NotAllowed, match="is not one of 70000 to 70999"):
        Account.current(policy)


def test_logs_are_read_without_following_links(tmp_path: Path, policy: Policy) -> None:
    account = Account("me", os.getuid(), tmp_path / "leerlab")
    account.make()
    folder = account.jobs / START
    folder.mkdir()
    (folder / "slurm.log").symlink_to("/etc/hostname")
    (folder / "server.log").write_text("x" * 40_000 + "the end\n")
    order = {"order": "read", "starts": [START, "f" * 16], "file": "slurm.log"}
    assert launcher.read(order, policy, account) == {"texts": {}}
    told = launcher.read({**order, "file": "server.log"}, policy, account)["texts"][START]
    assert told.endswith("the end\n") and len(told) == launcher.LARGEST_READ


def test_a_link_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    account = Account("me", os.getuid(), tmp_path / "leerlab")
    account.root.mkdir()
    account.home.symlink_to("/tmp")
    with pytest.raises(NotAllowed):
        account.make()


def test_logs_of_long_ago_are_forgotten(tmp_path: Path) -> None:
    for name, age in (("a" * 16, 10), ("b" * 16, 10_000), ("mine", 10_000)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "server.log").touch()
        for path in (folder / "server.log", folder):
            os.utime(path, (1_000_000 - age, 1_000_000 - age))
    launcher.forget_old(tmp_path, 1_000_000 - 5000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a" * 16, "mine"]


def test_it_needs_nothing_but_debians_own_python() -> None:
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-S", launcher.__file__], input=b"{}", capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 3, done.stderr
    assert "/etc/leerlab/launcher.json" in json.loads(done.stdout)["error"]
    assert not done.stderr
    assert sys.version_info[:2] == (3, 11)
