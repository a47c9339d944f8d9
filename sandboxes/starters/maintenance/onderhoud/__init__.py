"""Predictive maintenance on one measurement: read a CSV, warn of the unusual, write down whether it pays.

Start with `kit = onderhoud.start("nl")` (or `"en"`) in a notebook; every step is a method of the kit. The rest of the
package can be used without it: `reading`, `detecting`, `judging` and `papers` know nothing of notebooks.
"""

from .kit import Kit, start

__all__ = ["Kit", "start"]
