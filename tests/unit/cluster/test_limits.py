"""What the section `limits:` says, and what of Slurm's answers is read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cluster.errors import SlurmUnavailable
from cluster.limits import Grant, GroupLimits, Share, kept_by_slurm, limit_account, limits_of
from cluster.people import QosStanding, Standing, parse_qos, parse_standings

# scontrol --oneliner show assoc_mgr flags=assoc of Slurm 22.05.8, shortened where nothing is read.
ASSOCIATIONS = """\
Current Association Manager state

Association Records

ClusterName=leerlab Account=root UserName= Partition= Priority=0 ID=1 SharesRaw/Norm/Level/Factor=1/0.00/1/0.00 \
UsageRaw/Norm/Efctv=0.00/1.00/0.00 ParentAccount= Lft=1 DefAssoc=No GrpJobs=N(0) GrpJobsAccrue=N(0) \
GrpSubmitJobs=N(0) GrpWall=N(0.00) GrpTRES=cpu=N(0),mem=N(0),energy=N(0),node=N(0),billing=N(0),gres/gpu=N(0) \
GrpTRESMins=cpu=N(0),mem=N(0),billing=N(0),gres/gpu=N(0) GrpTRESRunMins=cpu=N(0),billing=N(0) MaxJobs=
ClusterName=leerlab Account=person-a UserName= Partition= Priority=0 ID=7 SharesRaw/Norm/Level/Factor=1/0.50/2/0.00 \
UsageRaw/Norm/Efctv=0.00/1.00/0.00 ParentAccount=leerlab-limit-students(6) Lft=8 DefAssoc=No GrpJobs=1(1) \
GrpJobsAccrue=N(0) GrpSubmitJobs=N(0) GrpWall=N(0.00) GrpTRES=cpu=N(0),mem=N(0),node=N(0),billing=250(250),\
gres/gpu=N(0) GrpTRESMins=cpu=N(0),mem=N(0),billing=60000(12),gres/gpu=N(0) GrpTRESRunMins=billing=N(1250) MaxJobs=
ClusterName=leerlab Account=person-a UserName=leerlab(999) Partition= Priority=0 ID=8 SharesRaw/Norm/Level=1/1.00/1 \
UsageRaw/Norm/Efctv=0.00/1.00/0.00 ParentAccount= Lft=9 DefAssoc=No GrpJobs=N(1) GrpJobsAccrue=N(0) \
GrpSubmitJobs=N(0) GrpWall=N(0.00) GrpTRES=cpu=N(1),billing=N(250) GrpTRESMins=billing=N(12) MaxJobs=
"""

STUDENTS = GroupLimits(id="students", groups=("students",), each=Share(servers=1, gpus=0.25, gpu_hours=1))
REST = GroupLimits(id="rest", named_servers=2)


def test_the_first_that_fits_holds():
    assert limits_of([STUDENTS, REST], ["students", "teachers"]) is STUDENTS
    assert limits_of([STUDENTS, REST], ["teachers"]) is REST
    assert limits_of([STUDENTS], []) is None
    assert [limit_account(one) for one in (STUDENTS, None)] == ["leerlab-limit-students", "leerlab-people"]


def test_a_share_is_said_in_slurms_own_units_and_what_is_left_out_is_taken_away():
    assert Grant.of(STUDENTS.each).words() == ("GrpJobs=1", "GrpTRES=billing=250", "GrpTRESMins=billing=60000")
    assert Grant.of(Share()).words() == ("GrpJobs=-1", "GrpTRES=billing=-1", "GrpTRESMins=billing=-1")


def test_named_servers_alone_need_no_accounts():
    assert kept_by_slurm([REST, STUDENTS]) and not kept_by_slurm([REST]) and not kept_by_slurm([])


def test_what_is_in_force_is_read_of_slurmctlds_own_memory():
    assert parse_standings(ASSOCIATIONS, "leerlab") == {
        "root": Standing("", Grant(), False),
        "person-a": Standing("leerlab-limit-students", Grant(1, 250, 60_000), True),
    }
    assert not parse_standings(ASSOCIATIONS, "other")["person-a"].usable
    with pytest.raises(SlurmUnavailable):
        parse_standings("ClusterName=x Account=y Something=else\n", "leerlab")


def test_qos_are_read_of_slurmdbd():
    assert parse_qos("normal|Normal QOS default|0|\nleerlab-a|leerlab|0|2\n") == {
        "normal": QosStanding("Normal QOS default", 0, None), "leerlab-a": QosStanding("leerlab", 0, 2),
    }  # fmt: skip
    with pytest.raises(SlurmUnavailable):
        parse_qos("sacctmgr: something\n")


@pytest.mark.attack
@given(st.text(max_size=50))
def test_no_text_of_a_site_yaml_gets_into_a_command_but_as_a_plain_name(text):
    for key in ("id", "groups"):
        try:
            one = GroupLimits.model_validate({"id": "a", key: text if key == "id" else [text]})
        except ValidationError:
            continue
        assert all(word.replace("-", "").isalnum() and word.isascii() for word in (one.id, *one.groups))


@pytest.mark.parametrize(
    "each",
    [{"servers": 0}, {"gpus": 0}, {"gpus": -1}, {"gpu_hours": -1}, {"servers": True}, {"cpus": 1}, {"gpus": 1e9}],
)
def test_a_wrong_share_stops_the_start(each):
    with pytest.raises(ValidationError):
        GroupLimits.model_validate_json(json.dumps({"id": "a", "each": each}), strict=True)
