"""Readings of a GPU's meter become the joules that were really used, whatever happens to the readings."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable

import pytest

from base.energy import Energy
from confinement.energy import METER, Integrator, Reading

SECONDS = 3600.0


def watts(at: float) -> float:
    """A GPU that trains in waves: between 80 and 620 W."""
    return 350 + 270 * math.sin(2 * math.pi * at / 97)


def joules(at: float) -> float:
    """The integral of `watts` from 0 on."""
    return 350 * at + 270 * 97 / (2 * math.pi) * (1 - math.cos(2 * math.pi * at / 97))


TRUE = joules(SECONDS)


def total(readings: Iterable[Reading]) -> Integrator:
    made = Integrator()
    for reading in readings:
        made.add(reading)
    return made


def steps(pause: Callable[[], float]) -> list[float]:
    times, at = [0.0], 0.0
    while (at := at + pause()) < SECONDS:
        times.append(at)
    return [*times, SECONDS]


def full(at: float, offset: float = 5e9) -> Reading:
    return Reading(at, int(offset + joules(at) * 1000), int(watts(at) * 1000))


def power(at: float) -> Reading:
    return Reading(at, None, int(watts(at) * 1000))


def within(found: Energy, part: float = 0.01) -> None:
    """The estimate is right within a part, and the truth lies between the bounds."""
    assert found.joules == pytest.approx(TRUE, rel=part)
    assert found.least <= TRUE <= found.most


def test_a_counter_is_exact_however_seldom_it_is_read() -> None:
    within(total([full(0), full(SECONDS)]).total, 1e-6)
    within(total(map(full, steps(lambda: 10.0))).total, 1e-6)


def test_irregular_readings_of_a_counter_are_as_good() -> None:
    chance = random.Random(1)
    within(total(map(full, steps(lambda: chance.uniform(0.01, 60)))).total, 1e-6)


def test_power_alone_is_integrated() -> None:
    within(total(map(power, steps(lambda: 1.0))).total, 1e-3)
    chance = random.Random(2)
    within(total(map(power, steps(lambda: chance.expovariate(1)))).total)


def test_readings_that_went_missing_cost_a_counter_nothing() -> None:
    chance = random.Random(3)
    times = steps(lambda: 1.0)
    kept = [at for at in times if at in (0.0, SECONDS) or chance.random() > 0.9]
    within(total(map(full, kept)).total, 1e-6)


def test_a_long_pause_of_power_readings_widens_the_bounds() -> None:
    times = [at for at in steps(lambda: 1.0) if not 1000 < at < 1400]
    found = total(map(power, times)).total
    assert found.least <= TRUE <= found.most
    assert found.most - found.least > 2.5 * METER * TRUE


@pytest.mark.fault
@pytest.mark.parametrize("pause", [1.0, 5.0])
def test_a_counter_that_begins_anew_loses_nothing(pause: float) -> None:
    def reset_twice(at: float) -> Reading:
        begun = max(start for start in (0.0, 1234.5, 3000.1) if start <= at)
        return Reading(at, int((joules(at) - joules(begun)) * 1000), int(watts(at) * 1000))

    within(total(map(reset_twice, steps(lambda: pause))).total)


@pytest.mark.fault
def test_a_counter_that_begins_anew_without_power_keeps_what_it_counted() -> None:
    readings = [Reading(0, 1_000_000), Reading(100, 31_000_000), Reading(110, 2_000_000), Reading(200, 29_000_000)]
    assert total(readings).total.joules == pytest.approx(30_000 + 2_000 + 27_000)


@pytest.mark.fault
def test_a_counter_that_falls_silent_is_followed_by_power_until_it_is_back() -> None:
    mixed = [power(at) if 600 < at < 2000 else full(at) for at in steps(lambda: 1.0)]
    within(total(mixed).total, 1e-6)
    within(total(full(at) if at < 600 else power(at) for at in steps(lambda: 1.0)).total, 1e-3)


@pytest.mark.fault
def test_readings_out_of_order_and_twice_are_left_out() -> None:
    times = steps(lambda: 1.0)
    shuffled = [times[max(0, i - 7)] if i % 5 == 0 else at for i, at in enumerate(times)]
    found = total(map(full, [*shuffled, SECONDS, SECONDS]))
    within(found.total, 1e-6)
    assert found.ignored > 700


def test_an_absurd_jump_of_a_counter_is_no_energy() -> None:
    readings = [full(at) for at in steps(lambda: 1.0)]
    broken = [
        Reading(one.at, (one.millijoules or 0) + 10**15, one.milliwatts) if one.at > 500 else one for one in readings
    ]
    within(total(broken).total, 1e-3)


def test_nothing_known_is_nothing_claimed() -> None:
    assert total([]).total == Energy()
    assert total([Reading(0), Reading(10)]).total == Energy()
    assert total([Reading(0, 5)]).total == Energy()
