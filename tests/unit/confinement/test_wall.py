"""A wall's description: strict when read, the same after a round trip, and plain in what bubblewrap is told."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from confinement.errors import WallInvalid
from confinement.run import _task
from confinement.wall import Bind, Limits, Relay, Wall, bwrap_arguments, etc_files

FULL = Wall(
    command=("python", "-m", "jupyter_server"),
    home=Path("/state/homes/sanne"),
    seccomp=Path("/state/generated/seccomp.bpf"),
    binds=(Bind(Path("/env/notebook"), Path("/opt/notebook")), Bind(Path("/shared"), Path("/srv/shared"), True)),
    relays=(Relay(8081, "unix:/state/run/hub-api.sock"), Relay(8082, "tcp:10.0.0.5:8082")),
    publish=8888,
    environment={"JUPYTERHUB_API_TOKEN": "secret-token"},
    tmp=2**28,
    shm=2**27,
    limits=Limits(processes=100, open_files=1000, file_size=2**30),
    devices=(Path("/dev/nvidia0"),),
    umask=0o027,
)


def arguments(wall: Wall) -> list[str]:
    return bwrap_arguments(wall, Path("/code"), {path: 10 for path in etc_files(wall.hostname)}, 11)


def changed(**values: Any) -> str:
    return json.dumps({**json.loads(FULL.to_json()), **values})


def test_a_wall_is_the_same_after_a_round_trip() -> None:
    assert Wall.from_json(FULL.to_json()) == FULL


def test_defaults_may_be_left_out() -> None:
    small = json.dumps({"command": ["true"], "home": "/h", "seccomp": "/s"})
    assert Wall.from_json(small) == Wall(command=("true",), home=Path("/h"), seccomp=Path("/s"))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"network": True}, "unknown key 'network'"),
        ({"limits": {"processes": 64, "memory": 1}}, "unknown key 'memory'"),
        ({"binds": [{"source": "/a", "target": "/opt/a", "rw": True}]}, "unknown key 'rw'"),
        ({"binds": [{"source": "/a"}]}, "misses a key"),
        ({"home": "homes/sanne"}, "absolute path"),
        ({"home": "/state/../etc"}, "absolute path"),
        ({"home": 3}, "absolute path"),
        ({"command": "true"}, "not a list"),
        ({"command": []}, "command is empty"),
        ({"command": ["true", 1]}, "not text"),
        ({"publish": "8888"}, "whole number"),
        ({"publish": True}, "whole number"),
        ({"publish": 80}, "whole number"),
        ({"publish": 8081}, "same port"),
        ({"tmp": 2.5}, "whole number"),
        ({"shm": 0}, "whole number"),
        ({"environment": {"A=B": "x"}}, "environment has the name"),
        ({"environment": {"A": 1}}, "not text"),
        ({"environment": ["A"]}, "no mapping"),
        ({"environment": {"A": "x\0y"}}, "not text"),
        ({"hostname": "a b"}, "hostname"),
        ({"devices": ["/etc/shadow"]}, "below /dev"),
        ({"devices": ["/dev"]}, "below /dev"),
        ({"nested": 1}, "true or false"),
        ({"umask": -1}, "whole number"),
        ({"limits": {"processes": 0}}, "limits.processes"),
        ({"limits": []}, "not an object"),
        ({"relays": [{"port": 8081, "address": "http://hub"}]}, "relay's address"),
        ({"relays": [{"port": 8081, "address": "tcp:hub:99999"}]}, "relay's address"),
        ({"relays": [{"port": 8081, "address": "unix:relative"}]}, "relay's address"),
        ({"binds": [{"source": "/a", "target": "/usr/local/bin"}]}, "belongs to the wall"),
        ({"binds": [{"source": "/a", "target": "/"}]}, "belongs to the wall"),
        ({"binds": [{"source": "/a", "target": "/home/nb/data"}]}, "belongs to the wall"),
        ({"binds": [{"source": "/a", "target": "/opt/a", "writable": 1}]}, "true or false"),
    ],
)
def test_a_wrong_description_is_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(WallInvalid, match=sentence):
        Wall.from_json(changed(**values))


def test_what_is_no_json_object_is_refused() -> None:
    for text in ("", "[]", "null", '{"command": ["true"]}'):
        with pytest.raises(WallInvalid):
            Wall.from_json(text)


def test_a_mount_point_inside_a_writable_folder_is_refused() -> None:
    outer = Bind(Path("/a"), Path("/srv/a"), writable=True)
    inner = Bind(Path("/b"), Path("/srv/a/b"))
    with pytest.raises(WallInvalid, match="overlap"):
        replace(FULL, binds=(outer, inner))
    assert replace(FULL, binds=(Bind(Path("/a"), Path("/srv/a")), inner)).binds


def test_a_relays_address_is_taken_apart() -> None:
    assert Relay(8081, "unix:/run/a.sock").target() == "/run/a.sock"
    assert Relay(8081, "tcp:10.0.0.5:80").target() == ("10.0.0.5", 80)
    assert Relay(8081, "tcp:::1:80").target() == ("::1", 80)


def test_every_namespace_is_the_walls_own_and_nothing_optional() -> None:
    options = arguments(FULL)
    for name in ("user", "pid", "ipc", "uts", "net", "cgroup"):
        assert f"--unshare-{name}" in options
        assert f"--unshare-{name}-try" not in options
    for name in ("--disable-userns", "--new-session", "--die-with-parent", "--clearenv", "--as-pid-1"):
        assert name in options
    assert options[options.index("--cap-drop") + 1] == "ALL"
    assert options[options.index("--seccomp") + 1] == "11"


def test_nothing_secret_is_among_the_options() -> None:
    text = " ".join(arguments(FULL))
    assert "secret-token" not in text
    assert "JUPYTERHUB" not in text
    assert "--setenv" not in text


def test_numeric_libraries_take_as_many_threads_as_the_job_has_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    def threads(wall: Wall) -> str:
        return str(json.loads(_task(wall))["environment"]["OMP_NUM_THREADS"])

    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "3")
    assert threads(FULL) == "3"
    assert threads(replace(FULL, environment={"OMP_NUM_THREADS": "1"})) == "1"
    monkeypatch.delenv("SLURM_CPUS_ON_NODE")
    assert threads(FULL) == str(len(os.sched_getaffinity(0)))


def test_binds_are_read_only_unless_asked_and_devices_are_only_those_allotted() -> None:
    options = arguments(FULL)
    at = options.index("/env/notebook")
    assert options[at - 1 : at + 2] == ["--ro-bind", "/env/notebook", "/opt/notebook"]
    at = options.index("/shared")
    assert options[at - 1 : at + 2] == ["--bind", "/shared", "/srv/shared"]
    assert [options[n + 1] for n, each in enumerate(options) if each == "--dev-bind"] == ["/dev/nvidia0"]
    # Writable folders of the host: the home and what was asked, nothing else.
    assert [options[n + 1] for n, each in enumerate(options) if each == "--bind"] == ["/state/homes/sanne", "/shared"]


def test_only_a_wall_around_others_leaves_namespaces_to_be_made() -> None:
    assert "--disable-userns" in arguments(FULL)
    assert "--disable-userns" not in arguments(replace(FULL, nested=True))
    assert Wall.from_json(replace(FULL, nested=True).to_json()).nested


def test_all_but_temporary_folders_and_home_end_read_only() -> None:
    options = arguments(FULL)
    assert [options[n + 1] for n, each in enumerate(options) if each == "--remount-ro"] == [
        "/usr/local", "/run", "/home", "/dev", "/",
    ]  # fmt: skip
    tmpfs = [options[n + 1] for n, each in enumerate(options) if each == "--tmpfs"]
    assert set(tmpfs) - {"/usr/local", "/run", "/home"} == {"/tmp", "/dev/shm"}
    assert options[options.index("/dev/shm") - 2] == str(FULL.shm)


def test_a_root_file_system_brings_all_software_and_the_machine_only_its_time_zone() -> None:
    wall = replace(FULL, binds=FULL.binds[1:], root=Path("/images/x"))
    assert Wall.from_json(wall.to_json()) == wall
    options = bwrap_arguments(wall, Path("/code"), {}, 3)
    software = [
        options[at + 1 : at + 3]
        for at, option in enumerate(options)
        if option in ("--ro-bind", "--ro-bind-try") and options[at + 2].startswith(("/usr", "/etc", "/opt/notebook"))
    ]
    assert ["/images/x/usr", "/usr"] in software and ["/images/x/opt/notebook", "/opt/notebook"] in software
    assert [source for source, _ in software if not source.startswith("/images/x/")] == ["/etc/localtime"]
    assert all(source == f"/images/x{target}" for source, target in software if target != "/etc/localtime")


def test_a_wall_with_a_root_file_system_takes_no_other_notebook_environment() -> None:
    with pytest.raises(WallInvalid, match="which the root file system brings"):
        replace(FULL, root=Path("/images/x"))
    with pytest.raises(WallInvalid, match="root is"):
        replace(FULL, binds=(), root=Path("images"))
