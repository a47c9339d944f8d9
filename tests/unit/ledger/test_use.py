"""Rows of what jobs used, and their sums, in both kinds of database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from ledger.store import Ledger
from ledger.use import By, Place, Total, Use, UseLedger

ROW = Use(
    id="hub:one", job=7, person="sanne", place=Place.COURSE, place_id="klein", begun=time.time() - 60, seconds=3,
    core_seconds=6, cpu_seconds=1.5, gpu_thousandths=333, joules=9.0, least=4.5, most=18.0, gpu_joules=None,
    measured=False, source="sacct", final=False,
)  # fmt: skip


@pytest.fixture
def ledger(place: Any) -> Iterator[UseLedger]:
    with closing(Ledger(place.url, b"k" * 32)) as made:
        yield UseLedger(made)


def test_rows_come_back_as_they_were_written(ledger: UseLedger) -> None:
    others = [replace(ROW, id="hub:two", person="", gpu_joules=2.25), replace(ROW, id="hub:three", job=None)]
    ledger.put([ROW, *others])
    assert sorted(ledger.rows(), key=lambda row: row.id) == sorted([ROW, *others], key=lambda row: row.id)
    assert ledger.open() and ledger.rows(person="jelmer") == []


def test_a_row_is_replaced_until_it_is_final(ledger: UseLedger) -> None:
    final = replace(ROW, seconds=5, final=True)
    for row in (ROW, final, ROW):
        ledger.put([row])
    assert ledger.rows() == [final] and ledger.open() == []


def test_sums_are_exact_and_the_largest_comes_first(ledger: UseLedger) -> None:
    ledger.put([replace(ROW, id=f"hub:{number}") for number in range(3)])
    ledger.put([replace(ROW, id="hub:box", person="mila", place=Place.SANDBOX, place_id="abcdefgh", joules=99.0)])
    total = ledger.total(person="sanne")
    assert total == Total(3, 9, 18, 4.5, 999, 27.0, 13.5, 54.0, 999) and total.gpu_seconds == 0
    assert list(ledger.totals(By.PLACE)) == [("sandbox", "abcdefgh"), ("course", "klein")]
    assert ledger.totals(By.PERSON)["mila",].joules == 99.0
    assert ledger.total(place=Place.OWN) == Total() and ledger.total(days=0.0001) == Total()


def test_people_are_forgotten_and_what_it_was_for_stays(ledger: UseLedger) -> None:
    ledger.put([ROW, replace(ROW, id="hub:old", begun=time.time() - 500 * 86400)])
    assert ledger.forget(400) == 1 and ledger.forget(400) == 0
    assert ledger.total(person="sanne").jobs == 1 and ledger.total(place=Place.COURSE, place_id="klein").jobs == 2
