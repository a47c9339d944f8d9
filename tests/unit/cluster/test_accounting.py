"""What Slurm says of accounts is read for what it is, or called unknown; and prices follow from the nodes."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from cluster import when_answering
from cluster.accounting import accounts_of, course_account, parse_standing, parse_usage
from cluster.accounting_daemons import billing
from cluster.errors import SlurmUnavailable
from cluster.settings import Cluster, EmbeddedPartition, Node

HEAD = "Current Association Manager state\nAssociation Records\n"


def association(account, user="", limit="N"):
    return (
        f"ClusterName=leerlab Account={account} UserName={user} Partition= Priority=0 ID=5 GrpTRES=billing=N(7) "
        f"GrpTRESMins=cpu=N(0),billing={limit}(200),gres/gpu=N(0) GrpTRESRunMins=cpu=N(4),billing=9(1) MaxJobs=\n"
    )


def test_an_accounts_standing_is_its_own_limit_and_its_users():
    text = HEAD + association("box-a", limit="5000") + association("box-a", "leerlab(999)")
    standing = parse_standing(text, "box-a", "leerlab")
    assert (standing.exists, standing.limit, standing.usable) == (True, 5000, True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Current Association Manager state\nNo associations currently cached in Slurm.\n", (False, None, False)),
        (HEAD + association("box-a"), (True, None, False)),
        (HEAD + association("box-a", limit="0"), (True, 0, False)),
        (HEAD + association("box-a") + association("box-a", "leerlab2(1000)"), (True, None, False)),
        (HEAD + association("box-ab") + association("box-ab", "leerlab(999)"), (False, None, False)),
    ],
)
def test_nobody_elses_account_or_user_is_taken_for_it(text, expected):
    standing = parse_standing(text, "box-a", "leerlab")
    assert (standing.exists, standing.limit, standing.usable) == expected


def test_an_association_in_an_unknown_form_is_unknown():
    with pytest.raises(SlurmUnavailable):
        parse_standing("ClusterName=leerlab Account=box-a UserName= GrpTRESMins=cpu=N(0)\n", "box-a", "leerlab")


def test_usage_adds_up_what_jobs_had_for_as_long_as_they_had_it():
    used = parse_usage(
        "1700000100|60|billing=1000,cpu=4,gres/gpu=1,mem=64M,node=1\n"
        "1700000000|120|billing=250,cpu=1,gres/shard=1,mem=64M,node=1\n"
        "1700000200|10|cpu=2,mem=64M,node=1\n"
        "Unknown|0|\n"
    )
    assert (used.cpu_seconds, used.gpu_seconds) == (60 * 4 + 120 + 20, 60 + 30)
    assert used.since == datetime.fromtimestamp(1700000000, UTC)


@pytest.mark.parametrize("text", ["1700000000|60\n", "1700000000|x|cpu=1\n", "1700000000|1|cpu\n", "1|1|cpu=a\n"])
def test_usage_in_an_unknown_form_is_unknown(text):
    with pytest.raises(SlurmUnavailable):
        parse_usage(text)


def node(name, gpus=0, shards=0):
    return Node.model_validate({"name": name, "cpus": 4, "memory": "1G", "gpus": gpus, "shards": shards})


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([node("a", 2, 8)], "GRES/gpu=1000,GRES/shard=250.000"),
        ([node("a", 1)], "GRES/gpu=1000"),
        ([node("a")], "GRES/gpu=1000"),
        ([node("a", 1, 8), node("b", 1, 2)], "GRES/gpu=1000,GRES/shard=500.000"),
        ([node("a", 1, 8), node("elsewhere", 1, 2)], "GRES/gpu=1000,GRES/shard=125.000"),
    ],
    ids=["four-a-gpu", "whole-gpus-only", "no-gpu", "the-dearest-shard", "only-its-own-nodes"],
)
def test_a_shard_costs_its_part_of_a_gpu(nodes, expected):
    names = tuple(one.name for one in nodes if one.name != "elsewhere")
    partition = EmbeddedPartition.model_validate({"name": "p", "nodes": names, "time": "1h"})
    assert billing(partition, nodes) == expected


def embedded(**changes):
    settings = {
        "kind": "embedded",
        "nodes": [{"name": "a", "cpus": 1, "memory": "1G"}],
        "partitions": [{"name": "p", "nodes": ["a"], "time": "1h", "default": True}],
    }
    return TypeAdapter(Cluster).validate_python({**settings, **changes})


def test_without_accounting_nothing_is_charged_to_anybody(tmp_path):
    settings = embedded()
    assert settings.accounting is False
    assert course_account(settings) is None
    assert accounts_of(settings, tmp_path) is None
    assert course_account(embedded(accounting=True)) == "courses"


@pytest.mark.parametrize("value", ["true", 1, "ja"])
def test_accounting_is_true_or_false_and_nothing_else(value):
    with pytest.raises(ValidationError):
        embedded(accounting=value)


@pytest.mark.parametrize("name", ["accounting", "controller"])
def test_a_node_cannot_have_the_name_of_slurms_own_folders(name):
    partitions = [{"name": "p", "nodes": [name], "time": "1h", "default": True}]
    with pytest.raises(ValidationError, match="keeps for Slurm"):
        embedded(nodes=[{"name": name, "cpus": 1, "memory": "1G"}], partitions=partitions)


def waits_then(seconds, address, *words):
    program = [sys.executable, "-I", "-S", when_answering.__file__, str(seconds), address, *words]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_daemon_begins_once_what_it_needs_accepts_connections(tmp_path):
    path = tmp_path / "s"
    waiting = waits_then(60, f"unix:{path}", "/bin/echo", "begun")
    time.sleep(0.3)
    assert waiting.poll() is None
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert waiting.communicate(timeout=60) == ("begun\n", "")


def test_a_socket_that_a_crash_left_does_not_count(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    assert path.exists()
    assert not when_answering.answers(f"unix:{path}")


def test_it_begins_after_its_time_all_the_same_and_says_so():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp:127.0.0.1:{free.getsockname()[1]}"
        out, err = waits_then(0.2, address, "/bin/echo", "begun").communicate(timeout=60)
    assert out == "begun\n"
    assert "does not answer after 0.2 s" in err


def test_an_address_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="no address"):
        when_answering.answers(str(Path("/run/x")))
