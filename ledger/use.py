"""What each job used, in the ledger: how long, of which processors and GPUs, and the energy; for whom and for what.

One row a job, by the comment that it has in Slurm; writing a row again replaces it, so that whoever collects may be
interrupted anywhere. What a page shows is a sum of rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, case, func, select

from ledger.schema import use_table
from ledger.store import Ledger

GPU = 1000
"""One GPU in thousandths, the unit in which Slurm charges GPUs and parts of them."""
KWH = 3_600_000.0
"""Joules of one kWh."""


class Place(StrEnum):
    """What a job was for."""

    COURSE = "course"
    SANDBOX = "sandbox"
    OWN = "own"
    ASSISTANT = "assistant"


@dataclass(frozen=True)
class Purpose:
    """For whom and for what a job runs.

    Args:
        person: pseudonym; empty for what nobody started for themselves.
        place: what it is for.
        place_id: the course, the sandbox or the model; empty for a person's own work.
    """

    person: str
    place: Place
    place_id: str = ""


@dataclass(frozen=True)
class Use:
    """What one job used.

    Args:
        id: the job's comment in Slurm.
        job: its number there; None when nobody knows it.
        person, place, place_id: its purpose.
        begun: seconds since 1970.
        seconds: how long it ran.
        core_seconds: processor cores that it had, times how long.
        cpu_seconds: processor time that it used.
        gpu_thousandths: thousandths of a GPU that it had, times how long.
        joules, least, most: energy of its processors and, where there is a meter, of its GPUs.
        gpu_joules: of these its GPUs; None where GPUs have no meter, so that their energy is missing.
        measured: whether a meter said so of all its energy but the processors'.
        source: who told how long it ran: `sacct`, `slurm` while it still remembered, or the job's own wrapper.
        final: whether it has ended and nothing more comes.
    """

    id: str
    job: int | None
    person: str
    place: Place
    place_id: str
    begun: float
    seconds: int
    core_seconds: int
    cpu_seconds: float
    gpu_thousandths: int
    joules: float
    least: float
    most: float
    gpu_joules: float | None
    measured: bool
    source: str
    final: bool


@dataclass(frozen=True)
class Total:
    """A sum of rows.

    Args:
        jobs: how many.
        seconds, core_seconds, cpu_seconds, gpu_thousandths, joules, least, most: as of `Use`.
        unmetered: of `gpu_thousandths` those of GPUs without a meter, whose energy is missing.
    """

    jobs: int = 0
    seconds: int = 0
    core_seconds: int = 0
    cpu_seconds: float = 0.0
    gpu_thousandths: int = 0
    joules: float = 0.0
    least: float = 0.0
    most: float = 0.0
    unmetered: int = 0

    def __add__(self, other: Total) -> Total:
        return Total(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    @property
    def gpu_seconds(self) -> int:
        """Seconds of a whole GPU, as `cluster.accounting` rounds them."""
        return self.gpu_thousandths // GPU

    @property
    def kwh(self) -> tuple[float, float, float]:
        """The energy in kWh: estimate, least, most."""
        return self.joules / KWH, self.least / KWH, self.most / KWH


class By(StrEnum):
    """What totals are made of."""

    PLACE = "place"
    PERSON = "person"


class UseLedger:
    """The part of the ledger about use.

    Args:
        ledger: the site's ledger.
        clock: seconds since 1970.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.time) -> None:
        self._ledger = ledger
        self._clock = clock

    def put(self, rows: Sequence[Use]) -> None:
        """Write rows down, all or none; of a job that has one, in its place, unless that one is final."""
        with self._ledger.transaction() as connection:
            for row in rows:
                values = asdict(row)
                known = connection.execute(select(use_table.c.final).where(use_table.c.id == row.id)).scalar()
                if known is None:
                    connection.execute(use_table.insert().values(**values))
                elif not known:
                    connection.execute(use_table.update().where(use_table.c.id == row.id).values(**values))

    def total(self, *, person: str | None = None, place: Place | None = None, place_id: str | None = None,
              days: float | None = None) -> Total:  # fmt: skip
        """The sum of all rows that fit what is given.

        Args:
            person: a pseudonym.
            place, place_id: what for.
            days: of jobs that began in so many days up to now.
        """
        fits = self._fits(person, place, place_id, days)
        with self._ledger.snapshot() as connection:
            return _total(connection.execute(select(*_SUMS).where(*fits)).one())

    def totals(self, by: By, *, days: float | None = None) -> dict[tuple[str, ...], Total]:
        """Sums, the one with the most energy first.

        Args:
            by: by place and its id, or by person.
            days: of jobs that began in so many days up to now.
        """
        table = use_table.c
        columns = (table.place, table.place_id) if by is By.PLACE else (table.person,)
        query = select(*columns, *_SUMS).where(*self._fits(None, None, None, days)).group_by(*columns)
        with self._ledger.snapshot() as connection:
            rows = connection.execute(query).all()
        sums = {tuple(map(str, row[: len(columns)])): _total(row[len(columns) :]) for row in rows}
        return dict(sorted(sums.items(), key=lambda item: (-item[1].joules, item[0])))

    def rows(self, *, person: str | None = None, place: Place | None = None, place_id: str | None = None,
             days: float | None = None) -> list[Use]:  # fmt: skip
        """Rows that fit what is given, the oldest first: for who asks what is known of them."""
        query = select(use_table).where(*self._fits(person, place, place_id, days)).order_by(use_table.c.begun)
        with self._ledger.snapshot() as connection:
            found = connection.execute(query).mappings().all()
        return [Use(**{**row, "place": Place(row["place"])}) for row in found]

    def open(self) -> list[str]:
        """The ids of rows of which more is to come."""
        with self._ledger.snapshot() as connection:
            return list(connection.execute(select(use_table.c.id).where(use_table.c.final.is_(False))).scalars())

    def forget(self, days: float) -> int:
        """Take the people out of rows of jobs that began longer ago; what was used for a course or sandbox stays.

        Returns:
            Of how many rows.
        """
        table = use_table
        old = (table.c.begun < self._clock() - days * 86400) & (table.c.person != "")
        with self._ledger.transaction() as connection:
            return connection.execute(table.update().where(old).values(person="")).rowcount

    def _fits(
        self, person: str | None, place: Place | None, place_id: str | None, days: float | None
    ) -> list[ColumnElement[bool]]:
        table, fits = use_table.c, list[ColumnElement[bool]]()
        for column, wanted in ((table.person, person), (table.place, place), (table.place_id, place_id)):
            if wanted is not None:
                fits.append(column == str(wanted))
        if days is not None:
            fits.append(table.begun >= self._clock() - days * 86400)
        return fits


def _sum(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.coalesce(func.sum(column), 0)


_UNMETERED = case((use_table.c.gpu_joules.is_(None), use_table.c.gpu_thousandths), else_=0)
# In the order of the fields of Total.
_SUMS = (
    func.count(),
    *map(_sum, (
        use_table.c.seconds, use_table.c.core_seconds, use_table.c.cpu_seconds, use_table.c.gpu_thousandths,
        use_table.c.joules, use_table.c.least, use_table.c.most, _UNMETERED,
    )),
)  # fmt: skip


def _total(row: Any) -> Total:
    jobs, seconds, cores, cpu, gpu, joules, least, most, unmetered = row
    # PostgreSQL adds whole numbers up to decimals.
    return Total(int(jobs), int(seconds), int(cores), float(cpu), int(gpu), float(joules), float(least), float(most),
                 int(unmetered))  # fmt: skip
