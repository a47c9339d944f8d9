"""A real wall for every test: bubblewrap, the compiled filter, a home, and ways to take one defence away."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from confinement import run, seccomp, wall
from confinement.run import Walled, start
from confinement.wall import Wall

CODE = Path(run.__file__).parent
# What one option of bwrap takes beside its own name, for those that a test removes.
OPERANDS = {"--seccomp": 1, "--cap-drop": 1, "--remount-ro": 1, "--proc": 1}


@pytest.fixture(scope="session")
def filter_file() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    seccomp.write_filter(folder / "seccomp.bpf")
    yield folder / "seccomp.bpf"
    shutil.rmtree(folder)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the host with a short path, outside every wall."""
    made = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def plain(filter_file: Path, folder: Path) -> Wall:
    """A wall with all defaults, a home of its own and a command that ends at once."""
    home = folder / "home"
    home.mkdir()
    return Wall(command=("/usr/bin/true",), home=home, seccomp=filter_file)


def python(program: str, *arguments: str) -> tuple[str, ...]:
    return ("/usr/bin/python3", "-I", "-c", program, *arguments)


@pytest.fixture
def begin(plain: Wall) -> Iterator[Callable[..., Walled]]:
    """Start a Python program inside; everything ends with the test."""
    started: list[Walled] = []

    def begin(program: str, *, start_with: dict[str, Any] | None = None, **changes: Any) -> Walled:
        walled = start(replace(plain, command=python(program), **changes), **(start_with or {}))
        started.append(walled)
        return walled

    yield begin
    for walled in started:
        walled.terminate()


@dataclass(frozen=True)
class Outcome:
    """How an attack ended: it printed GOT, or an error held it."""

    code: int
    text: str

    @property
    def got(self) -> bool:
        return "GOT" in self.text

    @property
    def held(self) -> bool:
        return "HELD" in self.text and not self.got


# The attack raises OSError where a defence holds, or says so itself; anything else is a broken test.
FRAME = """
import ctypes, os, signal, socket, struct, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def called(result):
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
def attack():
{body}
try:
    attack()
    print("GOT", flush=True)
except OSError as error:
    print("HELD", error, flush=True)
"""


def framed(body: str) -> str:
    return FRAME.format(body="\n".join(f"    {line}" for line in body.strip("\n").splitlines()))


@pytest.fixture
def attempt(plain: Wall, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run the body of an attack in the wall, or in the same wall with named defences taken away.

    By name: `without`, options of bwrap to leave out, with what they take; `extra`, options to add after all mounts and
    before / becomes read-only; `edits`, replacements in the text of inner.py; `host_processes`, show the host's
    processes instead of the wall's own. All other names change the wall.
    """

    def attempt(
        body: str,
        *,
        without: Sequence[str] = (),
        extra: Sequence[str] = (),
        edits: Sequence[tuple[str, str]] = (),
        host_processes: bool = False,
        **changes: Any,
    ) -> Outcome:
        with monkeypatch.context() as patch:
            patch.setattr(run, "bwrap_arguments", _weakened(without, extra, edits, host_processes, folder))
            walled = start(replace(plain, command=python(framed(body)), **changes))
            code = walled.wait(60)
        outcome = Outcome(code, walled.output.decode(errors="replace"))
        assert outcome.got or outcome.held, outcome.text
        return outcome

    return attempt


@pytest.fixture
def weakened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AbstractContextManager[None]]:
    """Within the block, walls lack defences, named as for `attempt`."""

    @contextmanager
    def weakened(
        *, without: Sequence[str] = (), extra: Sequence[str] = (), host_processes: bool = False
    ) -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(run, "bwrap_arguments", _weakened(without, extra, (), host_processes, folder))
            yield

    return weakened


@pytest.fixture
def bare() -> Callable[[str], Outcome]:
    """Run the body of an attack without any wall."""

    def bare(body: str) -> Outcome:
        done = subprocess.run(python(framed(body)), capture_output=True, timeout=60, check=False, text=True)
        outcome = Outcome(done.returncode, done.stdout + done.stderr)
        assert outcome.got or outcome.held, outcome.text
        return outcome

    return bare


def _weakened(
    without: Sequence[str],
    extra: Sequence[str],
    edits: Sequence[tuple[str, str]],
    host_processes: bool,
    folder: Path,
) -> Callable[..., list[str]]:
    def arguments(one: Wall, code: Path, etc: dict[str, int], filter_: int) -> list[str]:
        options = wall.bwrap_arguments(one, _edited(edits, folder) if edits else code, etc, filter_)
        leave_out = list(without)
        if host_processes:
            at = options.index("--proc")
            options[at : at + 2] = ["--bind", "/proc", "/proc"]
            leave_out += ["--unshare-pid", "--as-pid-1"]
        at = options.index("--remount-ro", options.index("/run"))
        options[at:at] = extra
        for name in leave_out:
            assert name in options
            while name in options:
                at = options.index(name)
                del options[at : at + 1 + OPERANDS.get(name, 0)]
        return options

    return arguments


def _edited(edits: Sequence[tuple[str, str]], folder: Path) -> Path:
    """A copy of the package whose inner.py lacks something."""
    copy = folder / "code"
    shutil.copytree(CODE, copy / "confinement", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    inner = copy / "confinement" / "inner.py"
    text = inner.read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    inner.write_text(text)
    return copy
