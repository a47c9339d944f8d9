"""The kernel that waits for the first notebook: the same as one that starts anew, or else a new one starts."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import psutil
import pytest
from walled_lab import OFF, TOKEN, Lab

pytestmark = pytest.mark.integration
HERE = Path(__file__).parent
CODE = HERE.parents[2]
IMPORTED = ["numpy", "pandas", "torch"]
WAITING, ORDINARY = "leerlab_lab.warm.waiting", "ipykernel_launcher"
READY: dict[str, Any] = {"do": "ready"}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a notebook lies."""
    place = tmp_path / "my work"
    place.mkdir()
    yield place


def start(folder: Path, **environment: str) -> dict[str, Any]:
    return {"do": "start", "folder": str(folder), "environment": environment}


def probe(home: Path, *steps: dict[str, Any]) -> list[Any]:
    """What the steps give, one after another, in one server's life."""
    python = Path(os.environ["LEERLAB_NOTEBOOK_ENV"], "bin/python")
    done = subprocess.run(
        [str(python), str(HERE / "kernels_probe.py"), json.dumps(steps)],
        env={
            "PATH": "/usr/bin:/bin", "HOME": str(home), "PYTHONPATH": str(CODE / "images/notebook"), "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return list(json.loads(done.stdout.splitlines()[-1]))


def test_the_first_kernel_has_its_imports_and_nothing_else_tells_it_from_the_second(
    tmp_path: Path, folder: Path
) -> None:
    session = {"JPY_SESSION_NAME": "my work/a.ipynb"}
    _, first, second = probe(tmp_path, READY, start(folder, **session), start(folder, **session))
    assert (first.pop("imported"), second.pop("imported")) == (IMPORTED, [])
    assert first == second
    assert first["folder"] == str(folder) and first["environment"]["JPY_SESSION_NAME"] == "my work/a.ipynb"
    assert first["parent"] and first["leads"]


def test_who_is_faster_than_the_imports_gets_a_kernel_all_the_same(tmp_path: Path, folder: Path) -> None:
    add = {"do": "run", "code": "import torch; print(torch.ones(2).sum().item())"}
    first, words = probe(tmp_path, start(folder), add)
    assert first["folder"] == str(folder)
    assert words == ["2.0\n", ""]


@pytest.mark.parametrize("own", ["pandas.py", "torch/__init__.py", "csv.py"])
def test_a_learner_s_own_module_is_found_before_one_that_is_imported_already(
    tmp_path: Path, folder: Path, own: str
) -> None:
    (folder / own).parent.mkdir(exist_ok=True)
    (folder / own).write_text("mine = True\n")
    name = own.partition(".")[0].partition("/")[0]
    look = {"do": "run", "code": f"import {name}\nprint(hasattr({name}, 'mine'))"}
    _, kernel, words = probe(tmp_path, READY, start(folder), look)
    assert kernel["imported"] in ([], ["numpy"]), "an ordinary kernel"
    # The control: what the ordinary kernel of a server without any spare one says of the same folder.
    _, _, ordinary = probe(tmp_path, {"do": "end"}, start(folder), look)
    assert words == ordinary


def test_data_beside_a_notebook_costs_nobody_the_kernel(tmp_path: Path, folder: Path) -> None:
    (folder / "pandas").mkdir()
    (folder / "pandas/data.csv").write_text("1\n")
    (folder / "numpy.csv").write_text("1\n")
    _, kernel = probe(tmp_path, READY, start(folder))
    assert kernel["imported"] == IMPORTED


def test_packages_that_the_learner_has_just_installed_count(tmp_path: Path, folder: Path) -> None:
    (tmp_path / ".local/lib/python3.11/site-packages").mkdir(parents=True)
    _, _, kernel = probe(tmp_path, READY, {"do": "install"}, start(folder))
    assert kernel["imported"] == []


def test_another_environment_has_a_kernel_of_its_own_and_the_spare_one_waits_on(tmp_path: Path, folder: Path) -> None:
    _, other, kernel = probe(tmp_path, READY, start(folder, PYTHONWARNINGS="ignore"), start(folder))
    assert (other["imported"], kernel["imported"]) == ([], IMPORTED)
    assert other["environment"]["PYTHONWARNINGS"] == "ignore"


@pytest.mark.fault
def test_a_spare_one_that_has_died_keeps_nobody_waiting(tmp_path: Path, folder: Path) -> None:
    _, _, kernel = probe(tmp_path, READY, {"do": "lose"}, start(folder))
    assert kernel["imported"] == []


@pytest.mark.fault
def test_it_is_interrupted_restarted_and_its_death_is_noticed_like_any_other(tmp_path: Path, folder: Path) -> None:
    said = probe(
        tmp_path, READY, start(folder), {"do": "interrupt"}, {"do": "kill"}, {"do": "restart"}, {"do": "interrupt"}
    )
    assert said[1]["imported"] == IMPORTED
    assert said[2:] == ["KeyboardInterrupt", "noticed", "again\n", "KeyboardInterrupt"]


def running(module: str) -> int:
    """How many processes behind the wall run a module."""
    found = 0
    for process in psutil.Process().children(recursive=True):
        try:
            words = process.cmdline()
        except psutil.NoSuchProcess:  # it has ended meanwhile
            continue
        found += words[1:3] == ["-m", module]
    return found


def has_imported() -> bool:
    """Whether the one that waits has what takes longest: it is given up when that keeps it from answering."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            if process.cmdline()[1:3] == ["-m", WAITING]:
                return "libtorch_python" in Path(f"/proc/{process.pid}/maps").read_text()
    return False


def visitor(address: str) -> httpx.Client:
    return httpx.Client(base_url=address, headers={"Authorization": f"token {TOKEN}"}, timeout=60, trust_env=False)


def until(done: Any) -> None:
    end = monotonic() + 60
    while not done():
        assert monotonic() < end
        sleep(0.1)


def test_a_lab_keeps_one_ready_and_gives_it_to_its_first_notebook(lab: Lab) -> None:
    with lab.served(offer=OFF, MEM_LIMIT=str(2 * 1024**3)) as (address, _), visitor(address) as browser:
        until(lambda: running(WAITING) == 1 and has_imported())
        assert browser.post("/api/kernels", json={"name": "python3"}).status_code == 201
        assert running(ORDINARY) == 0
        assert browser.post("/api/kernels", json={"name": "python3"}).status_code == 201
        assert (running(ORDINARY), running(WAITING)) == (1, 1)
        for kernel in browser.get("/api/kernels").json():
            assert browser.delete(f"/api/kernels/{kernel['id']}").status_code == 204
        until(lambda: running(ORDINARY) == running(WAITING) == 0)


def test_a_lab_with_little_memory_keeps_none(lab: Lab) -> None:
    with lab.served(offer=OFF, MEM_LIMIT=str(1024**3)) as (address, walled), visitor(address) as browser:
        until(lambda: b"no kernel is kept ready" in walled.output)
        assert browser.post("/api/kernels", json={"name": "python3"}).status_code == 201
        assert (running(ORDINARY), running(WAITING)) == (1, 0)
