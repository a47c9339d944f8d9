"""What a lab does not import, because every person who starts one would wait for it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

CODE = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.integration
PROGRAM = """
import sys
import jupyterlab.labapp
import jsonschema
print("lark" in sys.modules, jsonschema.FormatChecker().conforms("no uri", "uri"))
"""


@pytest.mark.parametrize(("path", "builds_a_parser"), [(CODE / "images/notebook", False), (None, True)])
def test_a_lab_builds_no_parser_for_a_format_that_nobody_uses(path: Path | None, builds_a_parser: bool) -> None:
    """Without our folder on the path the parser is built, so this test would see it."""
    python = Path(os.environ["LEERLAB_NOTEBOOK_ENV"]) / "bin/python"
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"} | ({"PYTHONPATH": str(path)} if path else {})
    result = subprocess.run(
        [str(python), "-c", PROGRAM], env=environment, cwd="/", capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout.split() == [str(builds_a_parser), "False"]
