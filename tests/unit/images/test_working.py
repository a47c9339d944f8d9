"""A server in which something computes is in use, whether or not anybody looks at it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

# What runs in labs is a distribution of its own.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "images/notebook"))

from leerlab_lab.working import works


class Kernels:
    """A kernel manager with kernels in these states."""

    def __init__(self, *states: str) -> None:
        self._states = states

    def list_kernel_ids(self) -> list[str]:
        return [str(number) for number in range(len(self._states))]

    def get_kernel(self, one: str) -> Any:
        return SimpleNamespace(execution_state=self._states[int(one)])


def server(*states: str, shells: tuple[int, ...] = ()) -> Any:
    terminals = SimpleNamespace(
        terminals={str(pid): SimpleNamespace(ptyproc=SimpleNamespace(pid=pid)) for pid in shells}
    )
    return SimpleNamespace(
        kernel_manager=Kernels(*states), web_app=SimpleNamespace(settings={"terminal_manager": terminals})
    )


@pytest.fixture
def shell() -> Iterator[subprocess.Popen[str]]:
    """A shell that does what is written to it."""
    made = subprocess.Popen(["/bin/sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield made
    made.kill()
    made.communicate()


def say(shell: subprocess.Popen[str], line: str) -> str:
    assert shell.stdin is not None and shell.stdout is not None
    shell.stdin.write(line + "\n")
    shell.stdin.flush()
    return shell.stdout.readline().strip()


@pytest.mark.parametrize(
    ("states", "busy"), [((), False), (("idle",), False), (("starting", "idle"), False), (("idle", "busy"), True)]
)
def test_a_busy_kernel_is_work(states: tuple[str, ...], busy: bool) -> None:
    assert works(server(*states)) is busy


def test_a_terminal_is_work_only_while_its_shell_has_started_something(shell: subprocess.Popen[str]) -> None:
    say(shell, "echo ready")
    assert not works(server(shells=(shell.pid,)))
    child = say(shell, f"{sys.executable} -c 'import time; time.sleep(60)' & echo $!")
    assert works(server(shells=(shell.pid,)))
    say(shell, f"kill -9 {child}; wait; echo over")
    assert not works(server(shells=(shell.pid,)))


def test_a_server_without_terminals(tmp_path: Path) -> None:
    without = SimpleNamespace(kernel_manager=Kernels(), web_app=SimpleNamespace(settings={}))
    assert not works(without, tmp_path)


def test_a_processs_name_with_brackets_and_spaces_misleads_nobody(tmp_path: Path) -> None:
    for number, stat in ((2, "2 (a) b) (R 7) S 1 0"), (3, "3 (sh) Z 7 0"), (4, "x"), (5, "5 (top) S 7 0")):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "stat").write_text(stat)
    assert not works(server(shells=(8,)), tmp_path)
    assert works(server(shells=(7,)), tmp_path)
    (tmp_path / "5" / "stat").unlink()
    assert not works(server(shells=(7,)), tmp_path)
