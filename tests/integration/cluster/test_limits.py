"""Limits of persons, groups and profiles: Slurm itself keeps them, whoever submits and however.

Every test that a limit holds has its control: the same jobs, by somebody for whom it does not hold, all run.
"""

from __future__ import annotations

import signal
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import ClassVar

import pytest

from cluster.accounting import COURSES, establish
from cluster.command import Commands
from cluster.embedded import account_name, slurm_conf
from cluster.errors import NotOurs, SlurmRefused, SlurmUnavailable
from cluster.jobs import JobState
from cluster.limits import GroupLimits
from cluster.people import MARK, People
from cluster.settings import Qos

pytestmark = pytest.mark.integration

STUDENTS = {
    "id": "students",
    "groups": ["students"],
    "each": {"servers": 1},
}
numbers = count()


class Told(Commands):
    """Slurm's commands, with a note of what sacctmgr was told to change."""

    changes: ClassVar[list[tuple[str, ...]]] = []

    async def run(self, program, arguments, **others):
        if program == "sacctmgr" and "show" not in arguments:
            self.changes.append(tuple(arguments))
        return await super().run(program, arguments, **others)


@pytest.fixture
def person():
    """A name that no other test uses."""
    return lambda: f"mens-{next(numbers)}"


@pytest.fixture
def people(accounted):
    """The people of a site.yaml with these limits, brought into Slurm."""

    async def established(*limits, answer=10.0, **others):
        wanted = [GroupLimits.model_validate(one) for one in limits]
        made = People(
            Told(slurm_conf(accounted.state), answer=answer), user=account_name(), limits=wanted, **others
        )  # fmt: skip
        await made.establish()
        return made

    return established


@pytest.fixture
def submit(accounted, request_for):
    """Submits a job straight to Slurm, as a program of the site would: no page and no form in between."""

    async def submit(person, **changes):
        wanted = {"partition": "gpu", "account": f"person-{person}", "time": timedelta(minutes=1), **changes}
        return await accounted.slurm.submit(request_for("/bin/sleep", "60", **wanted))

    return submit


async def settled(running, job_ids):
    """State and reason of the jobs, once each of them runs, ended, or waits for a reason of its own."""

    def decided(job):
        return not job.state.waiting or job.reason not in {"", "None", "Priority", "Resources"}

    jobs = await running.until(
        lambda: running.slurm.jobs(job_ids), lambda jobs: len(jobs) == len(job_ids) and all(map(decided, jobs.values()))
    )
    found = [(jobs[job_id].state, jobs[job_id].reason) for job_id in job_ids]
    await running.slurm.cancel(job_ids)
    for job_id in job_ids:
        await running.ended(job_id)
    return [reason if state is JobState.PENDING else state.value for state, reason in found]


async def test_one_person_runs_so_many_servers_at_once(accounted, people, submit, person):
    both = await people(STUDENTS)
    student, teacher = person(), person()
    await both.ensure({student: ["students"], teacher: ["teachers"]})
    assert await settled(accounted, [await submit(student) for _ in range(2)]) == ["RUNNING", "AssocGrpJobsLimit"]
    assert await settled(accounted, [await submit(teacher) for _ in range(2)]) == ["RUNNING", "RUNNING"], "the control"


async def test_what_is_next_starts_when_the_first_ends(accounted, people, submit, person):
    student = person()
    await (await people(STUDENTS)).ensure({student: ["students"]})
    first, second = await submit(student), await submit(student)
    await accounted.running(first)
    await accounted.job_once(second, lambda job: job.reason == "AssocGrpJobsLimit")
    await accounted.slurm.cancel([first])
    await accounted.running(second)
    await accounted.slurm.cancel([second])


async def test_one_person_has_so_much_of_gpus_at_once_in_whole_ones_or_parts(accounted, people, submit, person):
    # Two GPUs and eight shards: a shard is a quarter of a GPU.
    both = await people({"id": "half", "groups": ["half"], "each": {"gpus": 0.5}})
    half, free = person(), person()
    await both.ensure({half: ["half"], free: []})
    jobs = [await submit(half, shards=2), await submit(half, shards=1)]
    assert await settled(accounted, jobs) == ["RUNNING", "AssocGrpBilling"]
    assert await settled(accounted, [await submit(half, gpus=1)]) == ["AssocGrpBilling"]
    assert await settled(accounted, [await submit(free, shards=2), await submit(free, shards=1)]) == ["RUNNING"] * 2
    assert await settled(accounted, [await submit(half), await submit(half)]) == ["RUNNING"] * 2, "no GPU, no limit"


async def test_a_group_has_so_much_together(accounted, people, submit, person):
    both = await people({"id": "class", "groups": ["class"], "together": {"servers": 2}})
    one, other, free = person(), person(), person()
    await both.ensure({one: ["class"], other: ["class"], free: []})
    jobs = [await submit(one), await submit(other), await submit(one), await submit(free)]
    assert await settled(accounted, jobs) == ["RUNNING", "RUNNING", "AssocGrpJobsLimit", "RUNNING"]


async def test_gpu_hours_are_used_up_once(accounted, people, submit, person):
    both = await people({"id": "hour", "groups": ["hour"], "each": {"gpu_hours": 1}})
    hour, free = person(), person()
    await both.ensure({hour: ["hour"], free: []})
    long = {"gpus": 2, "time": timedelta(minutes=31)}
    assert await settled(accounted, [await submit(hour, **long)]) == ["AssocGrpBillingMinutes"]
    assert await settled(accounted, [await submit(free, **long)]) == ["RUNNING"], "the control"
    assert await settled(accounted, [await submit(hour, gpus=2, time=timedelta(minutes=20))]) == ["RUNNING"]


async def test_one_person_runs_so_many_of_one_profile(accounted, people, submit, person):
    both = await people(per_person={"leerlab-groot": 1})
    one, other = person(), person()
    await both.ensure({one: [], other: []})
    jobs = [await submit(who, qos="leerlab-groot") for who in (one, one, other)]
    assert await settled(accounted, jobs) == ["RUNNING", "MaxJobsPerAccount", "RUNNING"]
    assert await settled(accounted, [await submit(one), await submit(one)]) == ["RUNNING"] * 2, "another profile"


async def test_a_qos_of_the_site_puts_jobs_in_front(accounted, people, submit, person, request_for):
    both = await people(qos=[Qos(name="les", priority=1000)])
    one = person()
    await both.ensure({one: []})
    await accounted.slurm.cancel([await submit(one, qos="les")])
    full = [await submit(one, gpus=2)]
    await accounted.running(full[0])
    late, first = await submit(one, gpus=2), await submit(one, gpus=2, qos="les")
    await accounted.job_once(first, lambda job: job.reason in {"Resources", "Priority"})
    await accounted.slurm.cancel(full)
    await accounted.running(first)
    assert (await accounted.slurm.job(late)).state is JobState.PENDING
    await accounted.slurm.cancel([late, first])


async def test_a_name_of_nobody_or_a_qos_that_is_not_there_is_refused(people, submit, person):
    await people(STUDENTS)
    with pytest.raises(SlurmRefused):
        await submit(person())
    known = person()
    await (await people(STUDENTS)).ensure({known: []})
    with pytest.raises(SlurmRefused):
        await submit(known, qos="haast")


async def test_a_changed_site_yaml_is_brought_into_slurm_at_the_next_start(accounted, people, submit, person):
    student, other = person(), person()
    await (await people(STUDENTS, per_person={"leerlab-groot": 1})).ensure({student: ["students"], other: []})
    jobs = [await submit(student) for _ in range(3)]
    await accounted.job_once(jobs[1], lambda job: job.reason == "AssocGrpJobsLimit")
    # Waiting jobs follow as well.
    await people({**STUDENTS, "each": {"servers": 2}}, per_person={"leerlab-groot": 2})
    await accounted.running(jobs[1])
    assert await settled(accounted, jobs) == ["RUNNING", "RUNNING", "AssocGrpJobsLimit"]
    assert await settled(accounted, [await submit(other, qos="leerlab-groot") for _ in range(2)]) == ["RUNNING"] * 2
    # The limit and the QOS are gone, and so is what they held back.
    none = await people()
    assert await settled(accounted, [await submit(student) for _ in range(3)]) == ["RUNNING"] * 3
    assert "leerlab-limit-students" not in await none._standings()
    assert "leerlab-groot" not in await none._qos_there()


async def test_a_qos_that_a_job_waits_under_stays_until_it_is_gone(accounted, people, submit, person):
    one = person()
    await (await people(per_person={"leerlab-wacht": 1})).ensure({one: []})
    jobs = [await submit(one, qos="leerlab-wacht") for _ in range(2)]
    await accounted.job_once(jobs[1], lambda job: job.reason == "MaxJobsPerAccount")
    assert "leerlab-wacht" in await (await people())._qos_there()
    await accounted.slurm.cancel([jobs[0]])
    await accounted.running(jobs[1])
    await accounted.slurm.cancel([jobs[1]])
    await accounted.ended(jobs[1])
    assert "leerlab-wacht" not in await (await people())._qos_there()


async def test_who_changes_groups_has_the_limits_of_the_new_one(accounted, people, submit, person):
    both = await people(STUDENTS, {"id": "rest", "each": {"servers": 2}})
    one = person()
    await both.ensure({one: ["students"]})
    await both.ensure({one: ["teachers"]})
    assert await settled(accounted, [await submit(one) for _ in range(3)]) == ["RUNNING"] * 2 + ["AssocGrpJobsLimit"]


async def test_what_leerlab_did_not_make_is_never_touched(accounted, people, person):
    name = person()
    commands = Commands(slurm_conf(accounted.state))
    for words in (
        ["add", "account", f"person-{name}", "Organization=rug", "GrpJobs=7"],
        ["add", "account", "leerlab-limit-vreemd", "Organization=rug"],
        ["add", "qos", "vreemd", "Description=rug", "Priority=5"],
    ):
        assert (await commands.run("sacctmgr", ["--immediate", *words])).code == 0

    async def seen():
        words = ["--noheader", "--parsable2", "show"]
        accounts = await commands.ask("sacctmgr", [*words, "assoc", "format=account,parentname,grpjobs,qos,user"])
        qos = await commands.ask("sacctmgr", [*words, "qos", "format=name,description,priority"])
        return [line for line in (accounts + qos).splitlines() if name in line or "vreemd" in line]

    before = await seen()
    assert len(before) == 3
    both = await people(STUDENTS)
    with pytest.raises(NotOurs, match=f"person-{name}"):
        await both.ensure({name: ["students"]})
    with pytest.raises(NotOurs, match="vreemd"):
        await people({"id": "vreemd", "each": {"servers": 1}})
    with pytest.raises(NotOurs, match="QOS vreemd"):
        await people(qos=[Qos(name="vreemd", priority=9)])
    await people()
    assert await seen() == before


async def test_a_whole_class_is_made_in_few_commands_and_again_changes_nothing(people, person):
    both = await people(STUDENTS)
    members = {person(): ["students"] for _ in range(120)}
    Told.changes.clear()
    await both.ensure(members)
    assert len(Told.changes) == 2
    await both.ensure(members)
    await both.ensure(members, anew=True)
    await people(STUDENTS)
    assert len(Told.changes) == 2


@pytest.mark.fault
async def test_without_slurmdbd_those_whom_slurm_knows_go_on(accounted, people, submit, person):
    both = await people(STUDENTS)
    known = person()
    await both.ensure({known: ["students"]})
    # Impatient from here on only: what answers may take its time.
    both._commands = replace(both._commands, answer=4.0)
    accounted.send("slurmdbd", signal.SIGSTOP)
    try:
        await both.ensure({known: ["students"]}, anew=True)
        jobs = [await submit(known) for _ in range(2)]
        with pytest.raises(SlurmUnavailable):
            await both.ensure({person(): ["students"]})
        assert await settled(accounted, jobs) == ["RUNNING", "AssocGrpJobsLimit"]
    finally:
        accounted.send("slurmdbd", signal.SIGCONT)


@pytest.mark.fault
async def test_a_start_that_was_interrupted_is_finished_by_the_next(accounted, people, submit, person):
    both = await people(STUDENTS)
    half = person()
    # The account is there, without a limit and without a user; so a kill between two commands leaves it.
    await both._change("add", "account", f"person-{half}", "Parent=leerlab-people", f"Organization={MARK}")
    with pytest.raises(SlurmRefused):
        await submit(half)
    await both.ensure({half: ["students"]})
    assert await settled(accounted, [await submit(half) for _ in range(2)]) == ["RUNNING", "AssocGrpJobsLimit"]


async def test_courses_stay_as_they_are(accounted, people, submit, request_for):
    await people(STUDENTS, per_person={"leerlab-groot": 1})
    await establish(accounted.settings, accounted.state)
    jobs = [await accounted.slurm.submit(request_for("/bin/sleep", "60", account=COURSES)) for _ in range(2)]
    assert await settled(accounted, jobs) == ["RUNNING"] * 2
