"""The kit's own package, imported from the tree, with pandas and its like from the notebook environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

KIT = Path(__file__).parents[3] / "sandboxes" / "starters" / "maintenance"

# The development environment runs on the same Python and has no pandas; its own packages stay the first on the path.
for folder in (str(KIT), *map(str, Path(os.environ["LEERLAB_NOTEBOOK_ENV"]).glob("lib/python3.11/site-packages"))):
    if folder not in sys.path:
        sys.path.append(folder)


@pytest.fixture
def kit_folder() -> Path:
    return KIT


@pytest.fixture
def csv(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file of rows, or of bytes."""

    def write(content: str | bytes, name: str = "meting.csv") -> Path:
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return write
