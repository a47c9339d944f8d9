"""What ends a benchmark without a figure."""

from __future__ import annotations

from base.errors import LeerlabError


class BenchmarkFailed(LeerlabError):
    """One of the sides did not do what is measured, so there is nothing to compare."""
