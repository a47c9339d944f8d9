"""Which torch an installation takes is chosen by a word, and a wrong word stops it before anything is installed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

CODE = Path(__file__).resolve().parents[3]


def status(data: Path, choice: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(CODE / "leerlab"), "status"],
        env={**os.environ, "LEERLAB_TORCH": choice, "LEERLAB_DATA": str(data)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_torch_that_does_not_exist_is_refused_before_anything_is_installed(tmp_path: Path) -> None:
    told = status(tmp_path, "gpu")
    assert told.returncode == 1
    assert "LEERLAB_TORCH is 'gpu'" in told.stderr and "cpu or as cuda" in told.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_choice_that_was_made_once_holds(tmp_path: Path) -> None:
    (tmp_path / "torch").write_text("rocm\n")
    told = status(tmp_path, "")
    assert told.returncode == 1 and "LEERLAB_TORCH is 'rocm'" in told.stderr
