"""Puts this folder's own modules, and those about whole sites, on the path, which pytest's importlib mode does not."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "hub_config")]
