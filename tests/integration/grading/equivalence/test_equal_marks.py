"""Marks equal those of stock nbgrader, cell for cell, for hundreds of ways in which people work.

Where they differ, `equal_differences` says in which cells, to what, and for which fault of stock nbgrader.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from equal_differences import EXPLAINED
from equal_product import graded_alone, graded_together
from equal_stock import CELL_SECONDS, graded_by_stock, lock_of, recorded
from equal_work import Work, all_work
from grading_site import Site, make_site
from grading_slurm import RunningSlurm

from base.paths import Installation

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]
AGAIN = "Record it again: tests/README.md says how."
# Numbers of processes, and times.
CHANCE = re.compile(r"ipykernel_\d+|[\d.]+(?:e[+-]\d+)? ?(?:ns|[mµμ]?s|it/s)\b")
WORK = {work.name: work for work in all_work()}
# Two of three in each run of the tests, the third in those that leave nothing out.
REST = list(WORK.values())[2::3]
MOST = [work for work in WORK.values() if work not in REST]
# Spread over the assignments and the texts; none whose marks depend on how a kernel ends.
SAMPLE = [work for work in MOST if work.assignment != "einden"][::8]


def ended(site: Site) -> None:
    site.service.stop()
    assert site.hub.server is not None
    site.hub.server.stop()


@pytest.fixture(scope="module")
def together(installation: Installation, slurm: RunningSlurm) -> Iterator[dict[str, dict[str, Any]]]:
    """What runs over everybody's work make of most of it; left in `build/equivalence` for who has to explain it."""
    place = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    site = make_site(place, installation, slurm.conf)
    try:
        yield told(graded_together(MOST, site, 1500), "most")
    finally:
        ended(site)
        shutil.rmtree(place)


def told(graded: dict[str, dict[str, Any]], name: str) -> dict[str, dict[str, Any]]:
    """Leave what came of work where somebody can look it up."""
    left = Path(os.environ["LEERLAB_BUILD"]) / "equivalence" / f"{name}.json"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_text(json.dumps(graded, indent=1))
    return graded


def differences(
    here: Mapping[str, Mapping[str, Any]], there: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any] | str]:
    """By the work's name the cells whose marks differ, as they are here; `failed` where there are none here.

    Args:
        here: what is compared, by name.
        there: what it is compared with, of at least that work.
    """
    found: dict[str, dict[str, Any] | str] = {}
    for name, told in here.items():
        mine, theirs = told.get("marks"), there[name].get("marks")
        if mine is None or theirs is None:
            if mine is not theirs:
                found[name] = mine if mine is not None else "failed"
        elif different := {cell: mine.get(cell) for cell in {*mine, *theirs} if mine.get(cell) != theirs.get(cell)}:
            found[name] = different
    return found


def explained(works: Iterable[Work]) -> dict[str, dict[str, Any]]:
    """The differences that are known of some work, in the form of `differences`."""
    return {work.name: dict(EXPLAINED[work.name].marks) for work in works if work.name in EXPLAINED}


def test_the_record_is_of_this_work_and_of_this_environment(installation: Installation) -> None:
    record = recorded()
    assert (record["lock"], record["cell_seconds"]) == (lock_of(installation), CELL_SECONDS), AGAIN
    assert {name: told["digest"] for name, told in record["work"].items()} == {
        name: work.digest for name, work in WORK.items()
    }, AGAIN
    assert len(MOST) >= 200 and len({work.behaviour for work in MOST}) >= 40
    assert len(SAMPLE) >= 20 and EXPLAINED.keys() <= WORK.keys()


def test_a_class_gets_stocks_marks_but_where_stock_is_at_fault(together: dict[str, dict[str, Any]]) -> None:
    assert differences(together, recorded()["work"]) == explained(MOST)


@pytest.mark.slow
def test_so_do_the_others(site: Site) -> None:
    graded = told(graded_together(REST, site, 1500), "rest")
    assert differences(graded, recorded()["work"]) == explained(REST)


@pytest.mark.slow
def test_one_submission_alone_gets_the_same_marks_as_in_a_class(
    site: Site, together: dict[str, dict[str, Any]]
) -> None:
    alone = graded_alone(SAMPLE, site, 1200)
    assert alone.keys() == {work.name for work in SAMPLE}
    assert differences(alone, together) == {}
    assert {name: alike(one["outputs"]) for name, one in alone.items()} == {
        name: alike(together[name]["outputs"]) for name in alone
    }


@pytest.mark.slow
def test_stock_still_gives_the_marks_that_were_recorded_and_shows_what_we_show(
    site: Site, folder: Path, installation: Installation, together: dict[str, dict[str, Any]]
) -> None:
    home = folder / "stock"
    home.mkdir()
    stock = graded_by_stock(SAMPLE, home, site.state, installation, 1200)
    assert {name: one.get("marks") for name, one in stock.items()} == {
        work.name: recorded()["work"][work.name].get("marks") for work in SAMPLE
    }, AGAIN
    assert {name: alike(one["outputs"]) for name, one in stock.items() if name not in EXPLAINED} == {
        name: alike(together[name]["outputs"]) for name in stock if name not in EXPLAINED
    }


def alike(outputs: Mapping[str, list[list[Any]]]) -> dict[str, list[Any]]:
    """Outputs without what two runs, or what a page of ours may show, make different.

    What a test writes to standard error is shown as ordinary text, results come first, and no kinds of data are kept
    that could hold a script (`leerlab_lab.merge`).
    """
    found: dict[str, list[Any]] = {}
    for notebook, cells in outputs.items():
        found[notebook] = [
            (
                sorted(CHANCE.sub("...", line) for line in _lines(cell)),
                sorted([*one[:2], CHANCE.sub("...", one[2])] for one in cell if one[0] == "error"),
                sorted(CHANCE.sub("...", one[1]) for one in cell if one[0] in ("display_data", "execute_result")),
            )
            for cell in cells
        ]
    return found


def _lines(cell: list[list[Any]]) -> list[str]:
    return [line for one in cell if one[0] in ("stdout", "stderr") for line in one[1].splitlines() if line]
