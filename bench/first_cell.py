"""What a learner feels: from the click that starts a server to the output of a first cell that imports PyTorch."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from bench.errors import BenchmarkFailed
from bench.http import HubSide
from bench.limit import BareServer, EmptyJob
from bench.result import Result
from bench.site import CPUS, MEMORY, PERSON, BenchSite, running_site
from bench.spawn_latency import FOLDER, bare_environment, not_quiet, product_side, say, settle
from bench.stock_hub import BEST, StockHub, running_stock_hub
from hub_config.login import keys

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

NAME = "first-cell"
NOTEBOOK = "first.ipynb"
_DONE = "the first cell is done"
CELL = "import numpy\nimport pandas\nimport matplotlib.pyplot\nimport torch\nprint('the first cell', 'is done')"
_SECONDS = 120
_CHROMIUM = Path("/usr/bin/chromium")
# Nothing of Chromium's own asks a network for anything while it is measured.
_QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
# The notebook's own circle says so before there is a kernel, and a cell that is run then is not run at all.
_IDLE = r"#jp-main-statusbar >> text=/\| (Idle|Inactief)$/"


@dataclass(frozen=True)
class Clicked:
    """One hub as a person with a browser meets it.

    Args:
        side: its hub and its server.
        hub: address of the hub's pages.
        pages: address of the server's pages.
        home: the person's home, outside a wall.
        log_in: logs a page's browser in.
    """

    side: HubSide
    hub: str
    pages: str
    home: Path
    log_in: Callable[[Page], None]

    @property
    def _place(self) -> str:
        return "/".join(part for part in (self.side.user, self.side.server) if part)

    @property
    def _notebook(self) -> str:
        return f"/user/{self._place}/lab/tree/{NOTEBOOK}"

    def measure(self, browser: Browser) -> float:
        """Start the server by one click, run the cell, stop the server.

        Returns:
            Seconds from the click to the output.

        Raises:
            BenchmarkFailed: the output does not come in time.
        """
        write(self.home)
        try:
            with _visit(browser, self.log_in) as page:
                begin = time.monotonic()
                goal = quote(self._notebook, safe="")
                page.goto(f"{self.hub}/hub/spawn/{self._place}?next={goal}", wait_until="commit")
                return run_the_cell(page, begin, self.side.name)
        finally:
            self.side.stop()

    def measure_page(self, browser: Browser) -> float:
        """Open the notebook on a server that runs, where its kernel has run the cell before, and run it again.

        Returns:
            Seconds from the request for the page to the output.

        Raises:
            BenchmarkFailed: the output does not come in time.
        """
        seconds = 0.0
        self.side.start()
        try:
            for _ in ("the kernel starts", "the kernel runs"):
                # Without the output that the browser before has saved.
                write(self.home)
                with _visit(browser, self.log_in) as page:
                    begin = time.monotonic()
                    page.goto(f"{self.pages}{self._notebook}", wait_until="commit")
                    seconds = run_the_cell(page, begin, f"the page of {self.side.name}")
        finally:
            self.side.stop()
        return seconds


def run_the_cell(page: Page, begin: float, name: str) -> float:
    """Press Shift and Enter in the first cell as soon as the kernel can take it, and wait for its output.

    Args:
        page: a page that is on the way to the notebook.
        begin: when the time began to count, on the monotonic clock.
        name: of the side, for the error.

    Returns:
        Seconds from `begin` to the output.

    Raises:
        BenchmarkFailed: it does not come in time.
    """
    from playwright.sync_api import Error  # noqa: PLC0415  only who measures this has a browser

    try:
        page.wait_for_selector(".jp-Notebook .jp-CodeCell .cm-content", timeout=_SECONDS * 1000)
        page.wait_for_selector(_IDLE, timeout=_SECONDS * 1000)
        page.click(".jp-Notebook .jp-CodeCell .cm-content")
        page.keyboard.press("Shift+Enter")
        page.wait_for_selector(f".jp-OutputArea-output:has-text('{_DONE}')", timeout=_SECONDS * 1000)
    except Error as error:
        raise BenchmarkFailed(f"{name}: the first cell gave nothing at {page.url}: {error}") from error
    return time.monotonic() - begin


@contextmanager
def _visit(browser: Browser, log_in: Callable[[Page], None]) -> Iterator[Page]:
    """A page of a browser that has nothing in its cache, as on the first day, and is logged in."""
    context: BrowserContext = browser.new_context(locale="nl-NL")
    context.set_default_timeout(_SECONDS * 1000)
    try:
        page = context.new_page()
        log_in(page)
        yield page
    finally:
        context.close()


def write(home: Path) -> None:
    """Put a notebook of one cell, as an assignment has it, into a home.

    Args:
        home: a folder; made where it is not there.
    """
    home.mkdir(mode=0o700, exist_ok=True)
    cell: dict[str, object] = {
        "cell_type": "code",
        "id": "first",
        "metadata": {},
        "outputs": [],
        "source": CELL,
        "execution_count": None,
    }
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    notebook = {"cells": [cell], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    (home / NOTEBOOK).write_text(json.dumps(notebook))


@dataclass
class _Measured:
    """The values of all sides so far, in seconds; a limit is a server's start, an empty job and a page."""

    product: list[float] = field(default_factory=list)
    peers: dict[str, list[float]] = field(default_factory=dict)
    limits: list[tuple[float, float, float]] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Sides:
    """What is measured in turn.

    Args:
        product: Leerlab.
        peers: stock JupyterHub with BatchSpawner.
        server: the server alone.
        job: an empty job.
        slurm_conf: of the Slurm that all use.
        browser: Chromium.
    """

    product: Clicked
    peers: Sequence[Clicked]
    server: BareServer
    job: EmptyJob
    slurm_conf: Path
    browser: Browser

    def repetition(self, measured: _Measured, turn: int) -> None:
        """Measure each side once, the next one first each time, so that none always follows the same other."""
        steps: list[Callable[[], object]] = [
            lambda: measured.product.append(self.product.measure(self.browser)),
            *(
                lambda peer=peer: measured.peers.setdefault(peer.side.name, []).append(peer.measure(self.browser))
                for peer in self.peers
            ),
            lambda: measured.limits.append(self._limit()),
        ]
        measured.loads.append(os.getloadavg()[0])
        for place in range(len(steps)):
            settle(self.slurm_conf)
            steps[(turn + place) % len(steps)]()

    def _limit(self) -> tuple[float, float, float]:
        job = self.job.measure()
        settle(self.slurm_conf)
        return self.server.measure(), job, self.product.measure_page(self.browser)


def run(n: int) -> Result:
    """Product, stock JupyterHub with a stock lab, the same with the product's settings of the lab, and the limit.

    Args:
        n: repetitions.

    Raises:
        LeerlabError: a side does not start, does not answer or does not stop.
    """
    folder = Path(tempfile.mkdtemp(prefix=FOLDER, dir="/tmp"))
    try:
        measured = _run(folder, n)
    except BaseException:
        say(f"the logs stay in {folder}")
        raise
    shutil.rmtree(folder)
    return Result(
        name=NAME,
        unit="s",
        product=measured.product,
        peers=measured.peers,
        limit=[sum(parts) for parts in measured.limits],
        notes=_notes(measured),
    )


def _run(folder: Path, n: int) -> _Measured:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  only who measures this has a browser

    stock, alike, bare = folder / "stock", folder / "alike", folder / "bare"
    for each in (stock, alike, bare):
        each.mkdir()
    with running_site(folder, say) as site:
        # With so little memory its labs keep no kernel ready: that is the product's, not the settings'. Their kernel is
        # the environment's own: the product's has a path that is there inside a wall alone.
        ours = {**bare_environment(site), "MEM_LIMIT": "1"}
        del ours["JUPYTER_PATH"]
        say("starting the stock hubs")
        with (
            running_stock_hub(site, stock, {}, (BEST,)) as plain,
            running_stock_hub(site, alike, ours, (BEST,)) as same,
            sync_playwright() as playwright,
        ):
            sides = Sides(
                product=_product(site),
                peers=(
                    _stock(plain, f"{BEST.title}, JupyterLab as it is", stock / "home"),
                    _stock(same, f"{BEST.title}, the product's settings of JupyterLab", alike / "home"),
                ),
                server=BareServer(site.installation.notebook_env, ours, bare, plain.hub_api, plain.token),
                job=EmptyJob(site.slurm_conf, bare),
                slurm_conf=site.slurm_conf,
                browser=playwright.chromium.launch(executable_path=str(_CHROMIUM), args=list(_QUIET)),
            )
            say("warming up")
            sides.repetition(_Measured(), 0)
            measured = _Measured()
            for turn in range(n):
                say(f"repetition {turn + 1} of {n}")
                sides.repetition(measured, turn)
            sides.browser.close()
    return measured


def _product(site: BenchSite) -> Clicked:
    side = product_side(site)
    address = f"http://{side.hub_host}"

    def log_in(page: Page) -> None:
        page.goto(keys.link(address, keys.mint(site.state)))
        page.click(f"button[value={PERSON}]")
        page.wait_for_url(f"http://portal.{side.hub_host}/**")

    return Clicked(side, address, f"http://{side.server_host}", site.state.homes / PERSON, log_in)


def _stock(hub: StockHub, name: str, home: Path) -> Clicked:
    side = replace(hub.side(BEST), name=name)

    def log_in(page: Page) -> None:
        page.goto(f"{hub.address}/hub/login?next=%2Fhub%2Fhome")
        page.fill("input[name=username]", hub.user)
        page.press("input[name=username]", "Enter")
        page.wait_for_url("**/hub/home**")

    return Clicked(side, hub.address, hub.address, home, log_in)


def _notes(measured: _Measured) -> list[str]:
    server, job, page = (statistics.median(values) for values in zip(*measured.limits, strict=True))
    most = max(measured.loads)
    notes = [
        "from the browser's request for a server to the output of a first cell that imports numpy, pandas, "
        "matplotlib.pyplot and torch; Chromium with an empty cache, logged in before",
        "the cell is run with Shift and Enter as soon as JupyterLab shows an idle kernel",
        f"limit: an empty job ({job:.2f} s), the server program alone ({server:.2f} s), and the product's page with "
        f"the notebook whose kernel runs and has imported everything ({page:.2f} s), medians, added up",
        f"{CPUS} CPU and {MEMORY} asked of Slurm; {os.cpu_count()} processors for Slurm, hub, lab and browser; "
        f"load average at the start of each repetition at most {most:.2f}",
    ]
    return notes + not_quiet(most)
