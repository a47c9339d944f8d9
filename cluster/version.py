"""Which Slurm the commands of a site are, and in which form they are asked to answer."""

from __future__ import annotations

import re
from typing import NamedTuple

from cluster import answers

_VERSION = re.compile(r"slurm(?:-wlm)? (\d{2})\.(\d{2})\b")


class SlurmVersion(NamedTuple):
    """A release of Slurm, which has the form `year.month`.

    Args:
        year: two digits.
        month: of the release.
    """

    year: int
    month: int

    @classmethod
    def parse(cls, text: str) -> SlurmVersion:
        """Read what a command of Slurm prints when it is called with `--version`.

        Raises:
            SlurmUnavailable: the text names no version.
        """
        match = _VERSION.search(text)
        if match is None:
            raise answers.not_understood("squeue --version", text)
        return cls(int(match[1]), int(match[2]))

    @property
    def tells_json(self) -> bool:
        """Whether single jobs and nodes are asked for in JSON: since 23.11, whose form (data_parser/v0.0.40) stayed.

        Older ones print JSON too, each in a form of its own (22.05: none that keeps to a schema), so they are read as
        text. The whole queue is asked for as text of every version: it is the same text, and a thirtieth of the bytes.
        """
        return self >= (23, 11)

    def __str__(self) -> str:
        return f"{self.year:02d}.{self.month:02d}"
