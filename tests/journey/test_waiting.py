"""Waiting as people meet it: why, until when, what else there is; cancelled, preempted, the hub gone, the time up."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from accessible import serious
from playwright.sync_api import Page, expect
from steps import START, idle

from cluster.embedded import slurm_conf
from hub_config.run.supervisor_client import Supervisor

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(900)]

TITLES = {
    "cpu-small": {"nl": "Gewoon", "en": "Ordinary"},
    "gpu-part": {"nl": "Met een stukje GPU", "en": "With a part of a GPU"},
    "gpu-whole": {"nl": "Met een hele GPU", "en": "With a whole GPU"},
    "gpu-both": {"nl": "Met twee GPU's", "en": "With two GPUs"},
}
SIZE = {"cpus": 1, "memory": "1G", "time": "2h"}
PROFILES = [
    # So short that its owner is told of the end at once.
    {"id": "cpu-small", "partition": "cpu", **SIZE, "time": "14m", "extend": {"by": "1h", "most": 1}},
    {"id": "gpu-part", "partition": "gpu", "shards": 1, **SIZE, "home_size": "100M"},
    {"id": "gpu-whole", "partition": "gpu", "gpus": 1, **SIZE},
    {"id": "gpu-both", "partition": "gpu", "gpus": 2, **SIZE},
]
CLUSTER = {
    "kind": "embedded",
    "demonstration": True,
    "accounting": True,
    "nodes": [
        {"name": "gpu01", "cpus": 4, "memory": "8G", "gpus": 2, "shards": 8},
        {"name": "cpu01", "cpus": 8, "memory": "16G"},
    ],
    "partitions": [
        {"name": "cpu", "nodes": ["cpu01"], "time": "8h", "default": True},
        {"name": "gpu", "nodes": ["gpu01"], "time": "8h"},
    ],
}
PREEMPTION = (
    "PreemptType=preempt/partition_prio\nPreemptMode=CANCEL\n"
    "PartitionName=urgent Nodes=gpu01 PriorityTier=10 MaxTime=60 State=UP\n"
)


@pytest.fixture(scope="module")
def busy_site(site_of_module: Callable[..., Any]) -> Any:
    """A site with two GPUs."""
    return site_of_module(cluster=CLUSTER, profiles=[{**one, "title": TITLES[one["id"]]} for one in PROFILES])


def slurm(site: Any, *command: str) -> str:
    environment = {**os.environ, "SLURM_CONF": str(slurm_conf(site.state))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert not done.returncode, done.stderr
    return done.stdout


def until(seen: Callable[[], Any], seconds: float, what: str) -> Any:
    end = time.monotonic() + seconds
    while not (value := seen()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.2)
    return value


def hub_of(site: Any) -> str:
    return str(site.address)


def choose(somebody: Any, site: Any, title: str) -> Page:
    """From the start page, by a choice, to the page that waits."""
    page: Page = somebody.page
    name = somebody.name.lower()
    page.goto(f"{hub_of(site)}/hub/spawn/{name}?next=/user/{name}/lab")
    page.get_by_label(title).check()
    page.get_by_role("main").get_by_role("button", name="Starten").click()
    page.wait_for_url("**/hub/spawn-pending/**")
    return page


def is_ready(page: Page, name: str) -> None:
    """The waiting page has gone on to the lab; whether that is drawn is another journey's."""
    page.wait_for_url(f"**/user/{name}/lab*", timeout=2 * START, wait_until="commit")


def in_lab(page: Page, name: str) -> None:
    is_ready(page, name)
    expect(page.locator("#jp-main-statusbar")).to_be_visible(timeout=2 * START)


def stop(somebody: Any, site: Any) -> None:
    """Stop, from the portal, and see that it is gone."""
    page: Page = somebody.page
    page.goto(f"http://portal.{site.site.hub.host}/?changed=1")
    buttons = page.locator(".servers form button")
    expect(page.get_by_role("heading", name="Mijn cursussen")).to_be_visible()
    if buttons.count():
        buttons.first.click()
    expect(page.locator(".servers")).to_have_count(0)


def submit(site: Any, name: str, gpus: int, partition: str = "gpu", minutes: int = 60) -> None:
    """A job of somebody else's, which has its GPUs once this returns."""
    slurm(site, "sbatch", f"--partition={partition}", f"--gres=gpu:{gpus}", "--mem=100M", "--output=/dev/null",
          "--chdir=/", f"--job-name={name}", f"--time={minutes}", "--wrap=exec sleep 3000")  # fmt: skip
    until(lambda: slurm(site, "squeue", "-h", "-t", "R", "-n", name, "-o", "%i"), 60, f"{name} runs")


@pytest.fixture
def sanne(busy_site: Any, person: Any) -> Iterator[Any]:
    """Somebody else has a whole GPU, so Sanne cannot have both; at the end nobody has anything."""
    sanne = person("Sanne")
    sanne.log_in(busy_site.login_link())
    submit(busy_site, "other", 1)
    yield sanne
    for name in ("other", "last", "urgent"):
        slurm(busy_site, "scancel", f"--name={name}")
    stop(sanne, busy_site)


def waiting(sanne: Any, site: Any) -> Page:
    page = choose(sanne, site, "Met twee GPU's")
    expect(page.locator("#start-text")).to_contain_text("Alle rekenkracht is nu in gebruik", timeout=START)
    return page


def test_who_waits_takes_what_can_start_now(busy_site: Any, sanne: Any) -> None:
    page = waiting(sanne, busy_site)
    expect(page.locator("#fact-position dd")).to_have_text("1")
    expect(page.locator("#fact-estimate dd")).to_have_text(re.compile("uiterlijk|nog niet bekend"))
    offer = page.get_by_role("button", name="“Met een stukje GPU” starten")
    expect(offer).to_be_visible()
    expect(page.get_by_role("button", name="“Met een hele GPU” starten")).to_be_visible()
    sanne.shows_portal("wacht")
    assert serious(page, page.locator("main")) == []
    offer.click()
    is_ready(page, "sanne")
    assert "leerlab-server" in slurm(busy_site, "squeue", "-h", "-t", "R", "-p", "gpu", "-o", "%j")
    assert slurm(busy_site, "squeue", "-h", "-t", "PD", "-o", "%i") == ""


def test_an_offer_that_somebody_else_took_first_costs_no_place(busy_site: Any, sanne: Any) -> None:
    page = waiting(sanne, busy_site)
    before = slurm(busy_site, "squeue", "-h", "-t", "PD", "-o", "%i").strip()
    offer = page.get_by_role("button", name="“Met een hele GPU” starten")
    expect(offer).to_be_visible()
    # A page that has not heard of it yet; else the button would be gone.
    page.evaluate("stream.close()")
    # So short that it ends before Sanne's turn: Slurm lets it go first.
    submit(busy_site, "last", 1, minutes=5)
    offer.click()
    expect(page.locator(".notice.waiting")).to_contain_text("je houdt je plaats")
    sanne.shows_portal("net-genomen")
    assert slurm(busy_site, "squeue", "-h", "-t", "PD", "-o", "%i").strip() == before


def test_a_start_that_is_cancelled(busy_site: Any, sanne: Any) -> None:
    page = waiting(sanne, busy_site)
    page.get_by_role("button", name="Annuleren").click()
    page.wait_for_url(f"http://portal.{busy_site.site.hub.host}/**")
    expect(page.get_by_role("heading", name="Mijn cursussen")).to_be_visible()
    sanne.shows("geannuleerd")
    until(lambda: not slurm(busy_site, "squeue", "-h", "-t", "PD", "-o", "%i"), 30, "no job waits")


def test_the_hub_goes_down_and_comes_back_while_somebody_waits(busy_site: Any, sanne: Any) -> None:
    page = waiting(sanne, busy_site)
    supervisor = Supervisor(busy_site.state)

    def hub() -> int:
        return next((one.pid for one in supervisor.processes() if one.name == "hub" and one.state == "RUNNING"), 0)

    job = slurm(busy_site, "squeue", "-h", "-t", "PD", "-o", "%i").strip()
    killed = hub()
    psutil.Process(killed).kill()
    # It would be back before anybody noticed.
    supervisor.stop(["hub"])
    expect(page.locator("#start-text")).to_contain_text("Leerlab start opnieuw op", timeout=START)
    sanne.shows("hub-weg")
    supervisor.start_stopped()
    expect(page.locator("#start-text")).to_contain_text("Alle rekenkracht is nu in gebruik", timeout=2 * START)
    sanne.shows("hub-terug")
    assert hub() != killed
    assert slurm(busy_site, "squeue", "-h", "-t", "PD", "-o", "%i").strip() == job
    # And it goes on by itself when there is room.
    slurm(busy_site, "scancel", "--name=other")
    is_ready(page, "sanne")


def test_a_workplace_that_is_preempted_says_so(busy_site: Any, sanne: Any) -> None:
    is_ready(choose(sanne, busy_site, "Met een hele GPU"), "sanne")
    page: Page = sanne.page
    conf = slurm_conf(busy_site.state)
    before = conf.read_text()
    conf.write_text(before + PREEMPTION)
    try:
        slurm(busy_site, "scontrol", "reconfigure")
        submit(busy_site, "urgent", 2, "urgent")
        ended = page.locator(".notice")

        def told() -> bool:
            page.goto(f"{hub_of(busy_site)}/hub/user/sanne/lab")
            return ended.filter(has_text="iemand met voorrang").count() == 1

        until(told, 60, "the page says why")
        sanne.shows_portal("verdrongen")
        assert serious(page, page.locator("main")) == []
    finally:
        slurm(busy_site, "scancel", "--name=urgent")
        conf.write_text(before)
        slurm(busy_site, "scontrol", "reconfigure")


def test_the_end_is_told_in_time_and_put_off(busy_site: Any, person: Any) -> None:
    sanne = person("Sanne")
    sanne.log_in(busy_site.login_link())
    page = choose(sanne, busy_site, "Gewoon")
    in_lab(page, "sanne")
    toast = page.locator(".Toastify__toast").filter(has_text="Deze werkplek stopt om")
    expect(toast).to_contain_text("variabelen en lopende programma's gaan verloren.", timeout=START)
    expect(page.locator("#jp-main-statusbar").get_by_text(re.compile(r"^Stopt over 1\d minuten$"))).to_be_visible()
    expect(toast).to_be_in_viewport(ratio=1)  # it slides in
    sanne.shows("tijd-bijna-om")
    assert serious(page, toast) == []
    toast.get_by_role("button", name="Alles opslaan").click()
    expect(page.get_by_text("Alles wat openstaat, is opgeslagen.")).to_be_visible()
    expect(toast).to_be_visible()
    toast.get_by_role("button", name="1 uur langer").click()
    expect(page.get_by_text(re.compile(r"^Je werkplek gaat nu door tot \d\d:\d\d\.$"))).to_be_visible()
    sanne.shows("langer")
    expect(toast).to_have_count(0)
    assert slurm(busy_site, "squeue", "-h", "-p", "cpu", "-o", "%l").strip() == "1:14:00"
    stop(sanne, busy_site)


def test_while_the_site_is_away_nobody_is_asked_anything_and_all_goes_on_when_it_is_back(
    busy_site: Any, person: Any
) -> None:
    jelmer = person("Jelmer")
    jelmer.log_in(busy_site.login_link())
    page = choose(jelmer, busy_site, "Met een stukje GPU")
    in_lab(page, "jelmer")
    page.locator(".jp-LauncherCard[data-category=Console]").first.click()
    supervisor = Supervisor(busy_site.state)
    expect(page.locator(".jp-CodeConsole-promptCell")).to_be_visible(timeout=START)
    # As JupyterLab's own requests: with the token that other sites' pages cannot read.
    token = "document.cookie.match(/_xsrf=([^;]+)/)[1]"
    kernels = (
        f"fetch('/user/jelmer/api/kernels', {{headers: {{'X-XSRFToken': {token}}}}})"
        ".then(answer => answer.json()).then(found => found.map(one => one.id))"
    )
    before = until(lambda: page.evaluate(kernels), 30, "a kernel")
    idle(page)
    toast = page.locator(".leerlab-away").filter(has_text="De verbinding is even weg.")
    supervisor.stop(["proxy"])
    try:
        expect(toast).to_be_visible(timeout=90_000)
        expect(toast).to_be_in_viewport(ratio=1)  # it slides in
        jelmer.shows("even-weg")
        assert serious(page, toast) == []
        assert page.locator("dialog.jp-Dialog").count() == 0
    finally:
        supervisor.start_stopped()
    expect(page.get_by_text("De verbinding is er weer.")).to_be_visible(timeout=90_000)
    expect(toast).to_have_count(0)
    assert page.locator("dialog.jp-Dialog").count() == 0
    assert page.evaluate(kernels) == before
    # Really stopped: one dialog, and the page behind it says why.
    job = slurm(busy_site, "squeue", "-h", "-p", "gpu", "-t", "R", "-o", "%i").strip()
    slurm(busy_site, "scancel", job)
    dialog = page.locator("dialog.jp-Dialog").filter(has_text="Je werkplek draait niet meer")
    expect(dialog).to_be_visible(timeout=150_000)
    jelmer.shows("gestopt")
    dialog.get_by_role("button", name="Naar die pagina").click()
    expect(page.locator(".notice").filter(has_text="Een beheerder heeft je werkplek gestopt")).to_be_visible()


def test_a_home_that_fills_up_is_told_in_time_and_stopped_when_it_is_too_full(busy_site: Any, person: Any) -> None:
    jelmer = person("Jelmer")
    jelmer.log_in(busy_site.login_link())
    home = busy_site.state.homes / "jelmer"
    home.mkdir(mode=0o700, exist_ok=True)
    (home / "metingen.bin").write_bytes(b"x" * (94 << 20))
    page = choose(jelmer, busy_site, "Met een stukje GPU")
    in_lab(page, "jelmer")
    toast = page.locator(".Toastify__toast").filter(has_text="Je bestanden nemen")
    expect(toast).to_contain_text(re.compile(r"nemen 9\d(,\d)? MB in, van de 100 MB die je hebt\."), timeout=START)
    expect(toast).to_be_in_viewport(ratio=1)  # it slides in
    jelmer.shows("bestanden-bijna-vol")
    assert serious(page, toast) == []
    (home / "meer.bin").write_bytes(b"x" * (60 << 20))
    until(lambda: not slurm(busy_site, "squeue", "-h", "-p", "gpu", "-t", "R", "-o", "%i").strip(), 60, "it is stopped")
    why = page.locator(".notice").filter(has_text="meer ruimte in dan je hebt")

    def told() -> bool:
        page.goto(f"{hub_of(busy_site)}/hub/user/jelmer/lab")
        return why.count() == 1

    until(told, 60, "the page says why")
    jelmer.shows_portal("bestanden-vol")
    assert serious(page, page.locator("main")) == []
    # Nothing was removed, and who comes to clean up is let in and told how much is too much.
    assert {one.name for one in home.glob("*.bin")} == {"metingen.bin", "meer.bin"}
    in_lab(choose(jelmer, busy_site, "Met een stukje GPU"), "jelmer")
    expect(toast).to_contain_text("Verwijder nu iets", timeout=START)
    stop(jelmer, busy_site)


def test_the_last_minutes_are_told_in_english_too(busy_site: Any, person: Any) -> None:
    sanne = person("Sanne")
    sanne.log_in(busy_site.login_link())
    page: Page = sanne.page
    page.locator(".languages a[hreflang=en]").click()
    page.route(
        "**/leerlab/time*",
        lambda route: route.fulfill(json={"language": "en", "seconds": 50, "by": 0, "left": 0}),
    )
    page.goto(f"{hub_of(busy_site)}/hub/spawn/sanne?next=/user/sanne/lab")
    page.get_by_label("Ordinary").check()
    page.get_by_role("main").get_by_role("button", name="Start").click()
    in_lab(page, "sanne")
    toast = page.locator(".Toastify__toast").filter(has_text="This workplace stops at")
    expect(toast).to_contain_text("Everything that is open has just been saved.", timeout=START)
    expect(toast.get_by_role("button", name="longer")).to_have_count(0)
    expect(toast).to_be_in_viewport(ratio=1)
    sanne.shows("last-minute")
    page.goto(f"http://portal.{busy_site.site.hub.host}/")
    page.locator(".languages a[hreflang=nl]").click()
    stop(sanne, busy_site)
