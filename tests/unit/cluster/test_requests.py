"""Nothing reaches sbatch that could mean something else there."""

from __future__ import annotations

import shlex
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.quantities import Size
from cluster.errors import InvalidRequest
from cluster.jobs import JobState
from cluster.request import JobRequest
from cluster.script import job_script

GOOD = {
    "name": "lab-1",
    "comment": "0123456789ab:start-1",
    "partition": "cpu",
    "cpus": 1,
    "memory": Size.parse("1G"),
    "time": timedelta(hours=1),
    "script": job_script(["/bin/true"]),
    "output": Path("/tmp/log"),
}


def test_a_good_request_is_taken():
    assert JobRequest(**GOOD).gpus == 0


@pytest.mark.attack
@pytest.mark.parametrize("gpu_type", ["1g.10gb:7", "a,shard", "a b", "", "-x", "x\n", "(null)"])
def test_a_type_of_gpu_is_one_word_of_gres(gpu_type):
    with pytest.raises(InvalidRequest, match="gpu_type"):
        JobRequest(**GOOD, gpus=1, gpu_type=gpu_type)
    assert JobRequest(**GOOD, gpus=1, gpu_type="a100_1g.5gb").gpu_type == "a100_1g.5gb"


@pytest.mark.attack
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "--wrap=id"),
        ("name", "a b"),
        ("name", "a\n"),
        ("name", ""),
        ("name", "a" * 65),
        ("comment", "a\nb"),
        ("comment", "hub:1 JobState=RUNNING"),
        ("comment", "é"),
        ("partition", "cpu,gpu"),
        ("partition", "cpu --uid=0"),
        ("output", Path("/tmp/%u")),
        ("output", Path("log")),
        ("output", Path("/tmp/a\nb")),
        ("output", Path("/tmp/\\log")),
        ("folder", Path("relative")),
        ("account", "root"),
        ("account", "courses,box-a"),
        ("account", "-x"),
        ("account", "a b"),
        ("account", ""),
        ("account", "Courses"),
        ("account", "a\n"),
        ("qos", "les,high"),
        ("qos", "-x"),
        ("qos", ""),
        ("qos", "Les"),
        ("reservation", "a,b"),
        ("reservation", "les --uid=0"),
        ("reservation", "les\n"),
        ("gpu_type", "1g.10gb"),
        ("script", "true"),
        ("script", "#!/bin/sh\n\0"),
        ("cpus", 0),
        ("memory", Size(0)),
        ("time", timedelta(0)),
        ("gpus", -1),
        ("environment", {"SBATCH_UID": "0"}),
        ("environment", {"SLURM_CONF": "/tmp/other"}),
        ("environment", {"LD_PRELOAD": "/tmp/x.so"}),
        ("environment", {"A=B": "c"}),
        ("environment", {"A\n": "c"}),
        ("environment", {"A": "c\0d"}),
        ("environment", {"A": "x" * 131_072}),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_value_that_sbatch_could_read_otherwise_is_refused(field, value):
    with pytest.raises(InvalidRequest):
        JobRequest(**{**GOOD, field: value})


def test_gpus_and_shards_are_not_asked_for_together():
    with pytest.raises(InvalidRequest):
        JobRequest(**GOOD, gpus=1, shards=1)


def test_a_refusal_and_a_request_never_show_the_environments_values():
    with pytest.raises(InvalidRequest) as refusal:
        JobRequest(**GOOD, environment={"LEERLAB_JOB": "geheim\0"})
    assert "geheim" not in str(refusal.value)
    assert "geheim" not in repr(JobRequest(**GOOD, environment={"LEERLAB_JOB": "geheim"}))


@settings(database=None)
@given(st.lists(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]).filter(str.isprintable)), max_size=5))
def test_a_script_gives_the_program_exactly_its_words(words):
    script = job_script(["/bin/echo", *words])
    shebang, command = script.removesuffix("\n").split("\n")
    assert shebang == "#!/bin/sh"
    assert shlex.split(command) == ["exec", "/bin/echo", *words]


@pytest.mark.attack
@pytest.mark.parametrize("argv", [[], ["true"], ["/bin/echo", "a\n#SBATCH --uid=0"], ["/bin/echo", "\0"], ["/bin/\r"]])
def test_a_script_of_anything_else_is_refused(argv):
    with pytest.raises(InvalidRequest):
        job_script(argv)


def test_a_state_that_a_newer_slurm_invents_counts_as_alive():
    state = JobState.parse("EXPEDITING")
    assert not state.ended and not state.waiting
    assert not any(state.ended and state.waiting for state in JobState)
