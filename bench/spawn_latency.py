"""How long a person waits for a server: from the request to the hub to the server's first answer through the proxy."""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.http import POLL_SECONDS, HubSide
from bench.limit import BareServer, EmptyJob, wait_until_idle
from bench.result import Result
from bench.site import CPUS, MEMORY, PERSON, BenchSite, running_site
from bench.stock_hub import BEST, VARIANTS, StockHub, Variant, lab_folders, running_stock_hub
from grading.plans import LAB, NOTEBOOK_ENV, lab_environment, role_of
from hub_config.plans import in_language
from hub_config.settings import DemoLoginSettings

NAME = "spawn-latency"
# What the hubs' and the machine's own background work gets before each measurement, so that no side pays for another.
# Of random length: slurmctld starts batch jobs in a loop that runs once a second, and no side may keep step with it.
SETTLE_SECONDS = (0.5, 1.5)
QUIET_LOAD = 1.5


FOLDER = "ll-bench-"
"""How the folder of a run begins, below /tmp."""


@dataclass
class Measured:
    """The values of all sides so far, in seconds."""

    product: list[float] = field(default_factory=list)
    peers: dict[str, list[float]] = field(default_factory=dict)
    servers: list[float] = field(default_factory=list)
    jobs: list[float] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)

    @property
    def limits(self) -> list[float]:
        return [server + job for server, job in zip(self.servers, self.jobs, strict=True)]


@dataclass(frozen=True)
class Sides:
    """What is measured in turn.

    Args:
        product: Leerlab.
        peers: each way of setting stock BatchSpawner.
        server: the server alone.
        job: an empty job.
        slurm_conf: of the Slurm that all use.
    """

    product: HubSide
    peers: Sequence[HubSide]
    server: BareServer
    job: EmptyJob
    slurm_conf: Path

    def _of_hub(self, side: HubSide) -> float:
        settle(self.slurm_conf)
        try:
            return side.start()
        finally:
            side.stop()

    def _alone(self, measure: Callable[[], float]) -> float:
        settle(self.slurm_conf)
        return measure()

    def repetition(self, measured: Measured, turn: int) -> None:
        """Measure each side once, the next one first each time, so that none always follows the same other."""
        steps: list[Callable[[], object]] = [
            lambda: measured.product.append(self._of_hub(self.product)),
            *(
                lambda side=side: measured.peers.setdefault(side.name, []).append(self._of_hub(side))
                for side in self.peers
            ),
            lambda: measured.servers.append(self._alone(self.server.measure)),
            lambda: measured.jobs.append(self._alone(self.job.measure)),
        ]
        measured.loads.append(os.getloadavg()[0])
        for place in range(len(steps)):
            steps[(turn + place) % len(steps)]()


def run(n: int) -> Result:
    """Product, the best stock BatchSpawner and the limit, in turn.

    Args:
        n: repetitions.

    Raises:
        LeerlabError: a side does not start, does not answer or does not stop.
    """
    return _run(n, (BEST,))


def run_variants(n: int) -> Result:
    """The same with each way of setting stock BatchSpawner, to see which is the best."""
    return _run(n, VARIANTS)


def _run(n: int, variants: Sequence[Variant]) -> Result:
    with _sides(variants) as sides:
        # Once before it counts: the first start fills caches and each home's settings.
        say("warming up")
        sides.repetition(Measured(), 0)
        measured = Measured()
        for turn in range(n):
            say(f"repetition {turn + 1} of {n}")
            sides.repetition(measured, turn)
    return Result(
        name=NAME,
        unit="s",
        product=measured.product,
        peers=measured.peers,
        limit=measured.limits,
        notes=_notes(measured),
    )


@contextmanager
def _sides(variants: Sequence[Variant]) -> Iterator[Sides]:
    folder = Path(tempfile.mkdtemp(prefix=FOLDER, dir="/tmp"))
    try:
        with running_site(folder, say) as site:
            environment = bare_environment(site)
            stock, bare = folder / "stock", folder / "bare"
            stock.mkdir()
            bare.mkdir()
            say("starting the stock hub")
            with running_stock_hub(site, stock, environment, variants) as hub:
                yield Sides(
                    product=product_side(site),
                    peers=[hub.side(variant) for variant in variants],
                    server=_bare_server(site, hub, environment, bare),
                    job=EmptyJob(site.slurm_conf, bare),
                    slurm_conf=site.slurm_conf,
                )
    except BaseException:
        say(f"the logs stay in {folder}")
        raise
    shutil.rmtree(folder)


def product_side(site: BenchSite) -> HubSide:
    """The product as a person's request meets it."""
    host = f"{site.site.hub.domain}:{site.site.hub.port}"
    return HubSide(
        name="product",
        address=f"http://127.0.0.1:{site.site.hub.port}",
        hub_host=host,
        server_host=f"{PERSON}.{host}",
        user=PERSON,
        server="",
        token=site.token,
        log=str(site.state.logs / "hub.log"),
    )


def bare_environment(site: BenchSite) -> dict[str, str]:
    """The product's lab environment (same settings, same extensions) with the paths that hold outside the wall."""
    login = site.site.login
    assert isinstance(login, DemoLoginSettings), "the benchmark's site has demo people"
    groups = next(person.all_groups for person in login.people if person.name == PERSON)
    environment = in_language(lab_environment(role_of(tuple(groups))), site.site.site.language)
    folders: Mapping[str, str] = lab_folders(site)
    assert set(folders) == {str(LAB), str(NOTEBOOK_ENV)}
    for inside, outside in folders.items():
        environment = {name: value.replace(inside, outside) for name, value in environment.items()}
    return environment


def _bare_server(site: BenchSite, hub: StockHub, environment: Mapping[str, str], folder: Path) -> BareServer:
    return BareServer(site.installation.notebook_env, environment, folder, hub.hub_api, hub.token)


def _notes(measured: Measured) -> list[str]:
    half = len(measured.servers) // 2
    server, job = sorted(measured.servers)[half], sorted(measured.jobs)[half]
    most = max(measured.loads)
    notes = [
        "from POST of the request for a server to the first HTTP 200 of its api through the proxy, "
        f"asked every {POLL_SECONDS * 1000:.0f} ms",
        f"limit: the same server program alone ({server:.3f} s) and an empty job ({job:.3f} s), medians, added up",
        "the same notebook environment, extensions, Jupyter settings and Slurm on all sides; one start at a time, "
        f"warm file cache; {CPUS} CPU and {MEMORY} asked of Slurm",
        f"an empty job took {min(measured.jobs):.2f} to {max(measured.jobs):.2f} s: slurmctld looks for batch jobs to "
        "start once a second, so every start of every side has a random wait of up to a second in it",
        "the product runs the server behind its wall; the stock peer and the limit run it without one",
        f"{os.cpu_count()} processors; load average at the start of each repetition at most {most:.2f}",
    ]
    return notes + not_quiet(most)


def not_quiet(most: float) -> list[str]:
    """What a reader must know where the machine had more to do than the benchmark.

    Args:
        most: the highest load average at the start of a repetition.
    """
    if most < QUIET_LOAD:
        return []
    return [f"the machine was not quiet (load average {QUIET_LOAD} or more): compare sides, not with other runs"]


def settle(slurm_conf: Path) -> None:
    """Let everything come to rest before a measurement."""
    wait_until_idle(slurm_conf)
    time.sleep(random.uniform(*SETTLE_SECONDS))  # noqa: S311  no secret


def say(what: str) -> None:
    """Tell whoever watches how far it is."""
    sys.stderr.write(f"{what}\n")
    sys.stderr.flush()
