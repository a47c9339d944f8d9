"""Where one site keeps its state, and where this installation keeps its environments."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from base.errors import LeerlabError

# sockaddr_un.sun_path holds 108 bytes with its final NUL (unix(7)); the longest name below the state folder is 40.
LONGEST_STATE_PATH = 64


@dataclass(frozen=True)
class State:
    """The state folder of one site, mode 0700. Every path of the layout is named here and nowhere else."""

    root: Path

    @classmethod
    def of_site(cls, name: str) -> State:
        """The folder `$XDG_STATE_HOME/leerlab/<site>` (XDG base directory specification 0.8).

        Raises:
            LeerlabError: the path is too long to hold unix sockets.
        """
        home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        return cls(Path(home) / "leerlab" / name).checked()

    def checked(self) -> State:
        """This state folder, once its path is known to be short enough for unix sockets."""
        if len(os.fsencode(self.root)) > LONGEST_STATE_PATH:
            raise LeerlabError(
                f"The state folder's path is too long: {self.root}.",
                f"Unix sockets below it need a path of at most {LONGEST_STATE_PATH} bytes.",
                "Set XDG_STATE_HOME to a shorter folder.",
            )
        return self

    @property
    def run(self) -> Path:
        """Sockets, ports and process ids: gone after `down`."""
        return self.root / "run"

    @property
    def secrets(self) -> Path:
        """Keys and tokens, mode 0700, one file each, mode 0600."""
        return self.root / "secrets"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def generated(self) -> Path:
        """Files written from site.yaml at every `up`: supervisord.conf, slurm.conf, the seccomp filter."""
        return self.root / "generated"

    @property
    def slurm(self) -> Path:
        """The embedded Slurm's own state."""
        return self.root / "slurm"

    @property
    def homes(self) -> Path:
        """One private home per person: `homes/<name>`."""
        return self.root / "homes"

    @property
    def jobs(self) -> Path:
        """One folder per start or execution: `jobs/<start id>` with the job's log and its sockets."""
        return self.root / "jobs"

    @property
    def use(self) -> Path:
        """What jobs used, until it is in the ledger: `jobs/use/<job's folder>`, which outlives the job's own folder."""
        return self.jobs / "use"

    @property
    def courses(self) -> Path:
        """One nbgrader course folder per course: `courses/<id>` with source, release, submitted, gradebook.db."""
        return self.root / "courses"

    @property
    def exchange(self) -> Path:
        """What travels between students and teachers; written by the exchange service alone."""
        return self.root / "exchange"

    @property
    def class_runs(self) -> Path:
        """What is remembered of runs that no teacher began: `class-runs/<course>/<assignment>.json`."""
        return self.root / "class-runs"

    @property
    def sandboxes(self) -> Path:
        """One folder per sandbox: `sandboxes/<id>`; see `sandboxes.folders`."""
        return self.root / "sandboxes"

    @property
    def catalogue(self) -> Path:
        """Datasets and models, each checked, as every wall sees them: `catalogue/<id>/<version>`."""
        return self.root / "catalogue"

    @property
    def published(self) -> Path:
        """Courses that were published on the running site: `published/<course>/<version>`."""
        return self.root / "published"

    @property
    def images(self) -> Path:
        """Unpacked images that walls run from: `images/<SHA-256 of the squashfs file>`; see images/unpack.py."""
        return self.root / "images"

    @property
    def stopped(self) -> Path:
        """Touched each time that `leerlab down` begins to end this site's jobs."""
        return self.root / "stopped"

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.sqlite"

    @property
    def hub_database(self) -> Path:
        return self.root / "jupyterhub.sqlite"

    def make(self, people: int | None = None) -> None:
        """Create the folders, private to their owner, but for what walls of people's accounts use.

        Args:
            people: number of the group of those accounts, of which this account is a member; None: there are none.
        """
        passable = {self.root: 0o710, self.run: 0o710, self.generated: 0o710, self.images: 0o710, self.catalogue: 0o750}
        for folder in (
            self.root, self.run, self.secrets, self.logs, self.generated, self.slurm,
            self.homes, self.jobs, self.use, self.courses, self.exchange, self.class_runs, self.sandboxes,
            self.catalogue, self.published, self.images,
        ):  # fmt: skip
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            mode = passable.get(folder, 0o700) if people is not None else 0o700
            if people is not None and mode != 0o700:
                os.chown(folder, -1, people)
            # In one step: jobs that run must not be shut out for a moment.
            folder.chmod(mode)


# The variable in which `./leerlab` passes each field of an installation on.
INSTALLED = {
    "LEERLAB_CODE": "code",
    "LEERLAB_HUB_ENV": "hub_env",
    "LEERLAB_NOTEBOOK_ENV": "notebook_env",
    "LEERLAB_PROXY": "proxy",
    "LEERLAB_CATALOGUE_ENV": "catalogue_env",
    "LEERLAB_ASSISTANT_ENV": "assistant_env",
}
IMAGE = "LEERLAB_IMAGE"


@dataclass(frozen=True)
class Installation:
    """What `./leerlab` installed: passed on in environment variables, so that one launcher decides.

    Args:
        image: root file system that walls of labs and graded work run from, where the site names an image; `up` passes
            it on to the daemons. None: they run from `notebook_env` and the machine's own software.
    """

    code: Path
    hub_env: Path
    notebook_env: Path
    proxy: Path
    catalogue_env: Path
    assistant_env: Path
    image: Path | None = None

    @classmethod
    def current(cls) -> Installation:
        """The installation that this process was started from.

        Raises:
            LeerlabError: the process was not started by `./leerlab`.
        """
        names = tuple(INSTALLED)
        missing = [name for name in names if not os.environ.get(name)]
        if missing:
            raise LeerlabError(
                f"Not set in the environment: {', '.join(missing)}.",
                "Leerlab does not know where its own environments are.",
                "Start it with ./leerlab, which sets them.",
            )
        image = os.environ.get(IMAGE)
        return replace(cls(*(Path(os.environ[name]) for name in names)), image=Path(image) if image else None)

    @property
    def packages(self) -> Path:
        """Where the packages lie from which the catalogue takes data and weights."""
        return self.catalogue_env / "lib" / "python3.11" / "site-packages"

    def environment(self) -> dict[str, str]:
        """The variables that tell another process of this installation."""
        told = {name: str(getattr(self, field)) for name, field in INSTALLED.items()}
        return {**told, IMAGE: str(self.image)} if self.image is not None else told
