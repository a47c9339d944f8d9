"""What labs, formgraders and graded notebooks get from grading: environment, mounts and walls. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from base.course_groups import STAFF, STUDENTS
from base.paths import Installation, State
from confinement.nested import FILTER
from confinement.settings import ConfinementSettings
from confinement.wall import HOME, PATH, Bind, Relay, Wall
from spawners.plan import ServerPlan
from spawners.settings import Profile

NOTEBOOK_ENV = Path("/opt/notebook")
LAB = Path("/opt/leerlab")
# Datasets and models, each checked: see catalogue/shelf.py, and leerlab_lab.data inside.
CATALOGUE = Path("/opt/catalogue")
# The look and the texts that all pages of Leerlab share: templates, styles and catalogues; no code, nothing secret.
PAGES = Path("/opt/pages")
# Commands such as `nbgrader`, which the environment's own scripts cannot be inside (see images/notebook/bin/run).
COMMANDS = f"{LAB}/bin:{PATH}"
EXCHANGE_PORT = 8082
# Hugging Face's libraries look for nothing outside: what there is lies in the catalogue.
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_DATASETS_CACHE": "/tmp/datasets"}  # noqa: S108 - inside
SERVER_PORT = 8888
HUB_PORT = 8081
NOTEBOOK = "notebook.ipynb"
FILES = "files"
EXECUTED = "executed.ipynb"
OUTCOME = "outcome.json"
WARM = 768 * 2**20
"""Bytes that a process takes which has imported what notebooks import; each that it forks is counted with them, too."""


class Role(StrEnum):
    """Which lab settings somebody gets."""

    STUDENT = "student"
    TEACHER = "teacher"
    PLAIN = "plain"


def seccomp_of(state: State) -> Path:
    """The compiled system call filter that every wall uses."""
    return state.generated / "seccomp.bpf"


def nested_seccomp_of(state: State) -> Path:
    """The filter of a wall that makes walls inside itself; those have the one that every wall uses."""
    return state.generated / "seccomp-nested.bpf"


def nesting(state: State) -> dict[str, Any]:
    """What a wall has, as arguments of `Wall`, in which kernels are forked behind walls of their own."""
    return {"nested": True, "seccomp": nested_seccomp_of(state), "binds": (Bind(seccomp_of(state), Path(FILTER)),)}


def notebook_binds(installation: Installation, state: State) -> tuple[Bind, ...]:
    """The notebook environment, Leerlab's own part of it, and the catalogue, read-only: the same in every wall.

    A wall with these binds has `root=installation.image`, which brings the environment where the site names an image.
    """
    environment = () if installation.image else (Bind(installation.notebook_env, NOTEBOOK_ENV),)
    return (
        *environment,
        Bind(installation.code / "images" / "notebook", LAB),
        Bind(state.catalogue, CATALOGUE),
    )


def exchange_relay(state: State) -> Relay:
    """The way from loopback inside to the grading service."""
    return Relay(EXCHANGE_PORT, f"unix:{state.run / 'grading.sock'}")


def role_of(groups: Sequence[str]) -> Role:
    """The lab settings that fit somebody's groups: a teacher of any course, else a student of any, else plain."""
    if any(group.startswith(tuple(STAFF)) for group in groups):
        return Role.TEACHER
    return Role.STUDENT if any(group.startswith(STUDENTS) for group in groups) else Role.PLAIN


def lab_environment(role: Role) -> dict[str, str]:
    """Variables of a lab inside the wall, beside what the spawner and JupyterHub set.

    Args:
        role: which lab settings; the exchange works in all but `PLAIN`, as far as the service allows it.
    """
    return {
        **OFFLINE,
        "PATH": COMMANDS,
        "PYTHONPATH": str(LAB),
        "JUPYTER_CONFIG_PATH": f"{LAB}/config/{role}:{LAB}/config/base",
        # Python as the environment has it, with `%%ai`: asks the assistant, or says that it is off.
        "JUPYTER_PATH": f"{LAB}/kernels",
        # Who loads litellm by hand does not wait for a list of prices that no wall lets in.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LEERLAB_GRADING_URL": f"http://127.0.0.1:{EXCHANGE_PORT}",
    }


def lab_relays(role: Role, state: State) -> tuple[Relay, ...]:
    """Relays of a lab for grading: students and teachers reach the exchange, others reach nothing of it."""
    return () if role is Role.PLAIN else (exchange_relay(state),)


@dataclass(frozen=True)
class CoursePages:
    """What a course's grading pages say of the site around them; each title by language.

    Args:
        course: the course's title.
        site: the site's title.
        language: for who has not chosen one.
        time_zone: whose clock the pages show; a name of the tz database.
        portal: address of the portal, without a slash at its end; empty where there is none.
        demo: whether every page says that this is a demonstration.
        assignments: the titles of the catalogue's assignments, by id.
    """

    course: dict[str, str]
    site: dict[str, str]
    language: str = "nl"
    time_zone: str = "Europe/Amsterdam"
    portal: str = ""
    demo: bool = False
    assignments: dict[str, dict[str, str]] = field(default_factory=dict)


def pages_binds(installation: Installation) -> tuple[Bind, ...]:
    """The look and the texts of the portal, read-only."""
    return (
        Bind(installation.code / "portal" / "templates", PAGES / "templates"),
        Bind(installation.code / "portal" / "static", PAGES / "static"),
        Bind(installation.code / "base" / "locale", PAGES / "locale"),
    )


def formgrader_plan(
    course: str,
    profile: Profile,
    state: State,
    installation: Installation,
    confinement: ConfinementSettings,
    *,
    pages: CoursePages | None = None,
    account: str | None = None,
) -> ServerPlan:
    """The server of a course account: formgrader alone, with the course folder as its home.

    Args:
        course: the course's id.
        profile: resources of the job.
        pages: what its pages say of the site; without it, the course's id is its title.
        account: what the job is charged to; None where there is no accounting.
    """
    pages = pages or CoursePages(course={"nl": course, "en": course}, site={"nl": "Leerlab", "en": "Leerlab"})
    wall = Wall(
        command=(f"{NOTEBOOK_ENV}/bin/python", "-m", "leerlab_lab.formgrader"),
        home=state.courses / course,
        seccomp=seccomp_of(state),
        binds=(*notebook_binds(installation, state), *pages_binds(installation)),
        root=installation.image,
        relays=(Relay(HUB_PORT, f"unix:{state.run / 'hub-api.sock'}"), exchange_relay(state)),
        publish=SERVER_PORT,
        environment={
            "PATH": COMMANDS,
            "PYTHONPATH": str(LAB),
            "JUPYTER_CONFIG_PATH": f"{LAB}/config/course",
            # Not in the course folder, and gone with the job.
            "JUPYTER_CONFIG_DIR": "/tmp/jupyter",  # noqa: S108 - the wall's own
            "JUPYTER_DATA_DIR": "/tmp/jupyter",  # noqa: S108
            "JUPYTER_RUNTIME_DIR": "/tmp/jupyter/runtime",  # noqa: S108
            "IPYTHONDIR": "/tmp/ipython",  # noqa: S108
            "JUPYTERHUB_ROOT_DIR": HOME,
            "LEERLAB_GRADING_URL": f"http://127.0.0.1:{EXCHANGE_PORT}",
            "LEERLAB_COURSE_PAGES": json.dumps({"id": course, **asdict(pages)}),
        },
        **confinement.sizes(),
    )
    return ServerPlan(profile=profile, wall=wall, api_port=HUB_PORT, account=account)


@dataclass(frozen=True)
class RunBounds:
    """What the runs of one execution may take.

    Args:
        cell_seconds: most for one cell.
        notebook_seconds: most for one notebook as a whole.
        memory: most bytes for one notebook, beside what all of them share.
        slots: how many notebooks run side by side.
    """

    cell_seconds: int
    notebook_seconds: int
    memory: int
    slots: int = 1


def execution_memory(profile: Profile) -> int:
    """Bytes of a graded execution's job: what each notebook may take, and the process that they are forked from.

    Args:
        profile: `grading.profile`; as many notebooks run side by side as it has cores, each with its memory.
    """
    return profile.cpus * int(profile.memory) + (profile.cpus + 1) * WARM


def execution_wall(
    home: Path, bounds: RunBounds, state: State, installation: Installation, confinement: ConfinementSettings
) -> Wall:
    """The wall of one graded execution: its own folder, the notebook environment, no network and no relay; inside,
    each notebook runs behind a wall of its own.

    Args:
        home: folder with a folder for each notebook, of `NOTEBOOK` and the folder `FILES`; each gets `EXECUTED`.
        bounds: what each of them may take.
    """
    more = nesting(state)
    return Wall(
        command=(
            f"{NOTEBOOK_ENV}/bin/python", "-m", "leerlab_lab.forked.batch", HOME,
            "--cell-time", str(bounds.cell_seconds), "--notebook-time", str(bounds.notebook_seconds),
            "--memory", str(bounds.memory), "--slots", str(bounds.slots),
        ),
        home=home,
        binds=(*notebook_binds(installation, state), *more.pop("binds")),
        root=installation.image,
        environment={
            "PATH": COMMANDS,
            "PYTHONPATH": str(LAB),
            **OFFLINE,
            # Numbers are crunched by one thread for each notebook, of which several run side by side.
            "OMP_NUM_THREADS": "1",
            "MPLCONFIGDIR": "/tmp/matplotlib",  # noqa: S108
            "IPYTHONDIR": "/tmp/ipython",  # noqa: S108
        },
        **more,
        **confinement.sizes(),
    )  # fmt: skip
