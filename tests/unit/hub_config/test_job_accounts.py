"""Runs for courses are charged to the courses' account where there is accounting, and to nobody where there is none."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from traitlets.config import Config

from base.paths import Installation, State
from cluster.command import Commands
from cluster.commands import Slurm
from cluster.limits import GroupLimits, Share
from cluster.people import People
from cluster.settings import Interval
from cluster.watcher import Watcher
from grading.configuration import VARIABLE, ServiceConfiguration
from grading.executions import Asked, ExecutionLimits, Executions
from hub_config.app import LeerlabHub
from hub_config.audit import Audit, open_ledger
from hub_config.charging import Charging
from hub_config.courses import Courses
from hub_config.jupyterhub import set_use
from hub_config.plans import Plans
from hub_config.run.processes import grading_daemon
from hub_config.sandboxes import Members
from hub_config.site import load
from hub_config.use import Collector
from spawners.facility import Facility
from spawners.starts import Start
from spawners.submission import job_request, task_of

CODE = Path(__file__).resolve().parents[3]


@pytest.fixture(params=[True, False], ids=["with-accounting", "without"])
def site(request):
    demo = load(CODE / "hub_config/demo.yaml")
    return demo.model_copy(update={"cluster": demo.cluster.model_copy(update={"accounting": request.param})})


@pytest.fixture
def installation(tmp_path):
    return Installation(CODE, tmp_path, tmp_path, tmp_path, tmp_path, tmp_path)


@pytest.fixture
def state(tmp_path):
    state = State(tmp_path / "s")
    state.make()
    return state


@pytest.mark.parametrize("name", ["sanne", "course-ai-in-je-vak"])
def test_a_lab_and_a_formgrader(site, state, installation, name):
    plans = Plans(site, state, installation, Members(), Courses(site, state, CODE), Charging(site, None))
    plan = plans.plan_for(SimpleNamespace(name=name, groups=[]), {})
    slurm = Slurm(state.generated / "slurm.conf")
    facility = Facility(
        "0" * 12, plans.plan_for, slurm, Watcher(slurm, Interval()), state, "unix:/x", ("/bin/true",), str
    )
    start, secret = Start.new("cpu-small", None, datetime.now(UTC))
    task = task_of(facility, plan, start, secret, person=name, environment={}, base="/", hub_prefix="/hub/")
    request = job_request(facility, plan, start, task)
    assert request.account == ("courses" if site.cluster.accounting else None)


@pytest.mark.parametrize(("name", "account"), [("sanne", "person-sanne"), ("course-ai-in-je-vak", "courses")])
def test_where_slurm_keeps_limits_each_person_has_an_account_of_their_own(site, state, installation, name, account):
    if not site.cluster.accounting:
        return
    people = People(
        Commands(state.generated / "slurm.conf"), user="leerlab",
        limits=[GroupLimits(id="everybody", each=Share(servers=1))],
    )  # fmt: skip
    courses = Courses(site, state, CODE)
    plan = Plans(site, state, installation, Members(), courses, Charging(site, people)).plan_for(
        SimpleNamespace(name=name, groups=[]), {}
    )
    assert plan.account == account
    assert (plan.before is not None) == (name == "sanne")


def test_a_graded_run(site, state, installation):
    daemon = grading_daemon(site, state, installation, {})
    configuration = ServiceConfiguration.model_validate_json(Path(daemon.environment[VARIABLE]).read_text())
    executions = Executions(
        hub="0" * 12,
        state=state,
        installation=installation,
        limits=ExecutionLimits(1, 1, configuration.limits),
        profile=configuration.profile,
        confinement=configuration.confinement,
        cluster=Slurm(configuration.slurm_conf),
        interval=configuration.slurm_interval,
        account=configuration.account,
    )
    asked = Asked(id="0" * 24, course="klein", by="course-klein", time=datetime.now(UTC), items=("0",))
    assert executions._request(asked).account == ("courses" if site.cluster.accounting else None)


def test_the_hub_collects_what_its_jobs_used(site, state):
    config = Config()
    set_use(config, site, state, Audit(open_ledger(site, state)))
    collector = LeerlabHub(config=config).use
    assert isinstance(collector, Collector)
    # traitlets copies what it is configured with; there is one collector.
    assert collector is config.LeerlabHub.use
