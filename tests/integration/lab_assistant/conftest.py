"""A real small model where the gateway's relay leads, and labs that ask it; the parts are in walled_lab.py."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from base.paths import Installation, State
from base.ports import free_ports
from confinement import seccomp
from grading.plans import seccomp_of

# pytest's importlib mode puts no test folder on the path.
sys.path.insert(0, str(Path(__file__).parent))

from walled_lab import SERVER, TOKEN, UP, WEIGHTS, Lab, answers


@pytest.fixture(scope="module")
def model() -> Iterator[str]:
    """Where the model listens."""
    installation, port = Installation.current(), free_ports(1)[0]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [str(installation.assistant_env / "bin/python"), str(SERVER), str(installation.catalogue_env / WEIGHTS),
             TOKEN, str(port)],
            stdout=output, stderr=output, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            until = monotonic() + UP
            while not answers(f"http://127.0.0.1:{port}/v1/models", {"Authorization": f"Bearer {TOKEN}"}):
                output.seek(0)
                assert process.poll() is None and monotonic() < until, output.read().decode(errors="replace")
                sleep(0.1)
            yield f"tcp:127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait(10)


@pytest.fixture(scope="module")
def lab(model: str) -> Iterator[Lab]:
    root = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    state = State(root / "s")
    state.make()
    seccomp.write_filter(seccomp_of(state))
    yield Lab(state, model)
    shutil.rmtree(root)
