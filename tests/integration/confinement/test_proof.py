"""The proof of a wall: on this machine nothing gets through, and a wall that lacks a defence is found out."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from confinement import proof
from confinement.attempts import ATTEMPTS
from confinement.errors import WallRefused
from confinement.nested import FILTER
from confinement.proof import prove
from confinement.seccomp import write_filter
from confinement.wall import Bind, Limits, Wall

pytestmark = [pytest.mark.integration, pytest.mark.attack]
ALL = tuple(sentence for sentence, _ in ATTEMPTS.values())
LARGE = 2**40


def test_every_attempt_works_on_the_bare_machine_and_none_behind_the_wall(plain: Wall) -> None:
    seen = prove(plain)
    assert (seen.held, seen.broken, seen.untried) == (ALL, (), ())


# What each layer holds alone, as docs/explanation/wall.md says it.
BY_NETWORK = {"reach a port of the machine", "reach an abstract socket of the machine"}
BY_IPC = {"reach shared memory of the machine"}
BY_FILTER = {
    "trace a process", "use a kernel keyring", "set up io_uring", "open a socket that crosses namespaces",
}  # fmt: skip
BY_FILTER_OR_USERNS = {"make a user namespace", "mount something"}
BY_PROCESSES = {"see other processes", "signal another process"}
BY_FILES = {"read a file outside", "write outside", "reach a socket file outside", "put more into /tmp than it holds"}


@pytest.mark.parametrize(
    ("taken", "found"),
    [
        ({"without": ["--unshare-net"]}, BY_NETWORK),
        ({"without": ["--unshare-ipc"]}, BY_IPC),
        ({"without": ["--seccomp"]}, BY_FILTER),
        ({"without": ["--disable-userns"]}, set()),
        ({"without": ["--seccomp", "--disable-userns"]}, BY_FILTER | BY_FILTER_OR_USERNS),
        ({"host_processes": True}, BY_PROCESSES),
        ({"extra": ["--bind", "/tmp", "/tmp"]}, BY_FILES),
        ({"without": ["--cap-drop"]}, set()),
    ],
    ids=[
        "network",
        "messages",
        "filter",
        "user namespaces",
        "filter and user namespaces",
        "processes",
        "files",
        "rights",
    ],
)
def test_a_layer_that_is_missing_lets_through_what_it_alone_holds(
    plain: Wall, weakened: Callable[..., Any], taken: dict[str, Any], found: set[str]
) -> None:
    with weakened(**taken):
        assert set(prove(plain).broken) == found


def test_limits_that_are_not_set_are_found(plain: Wall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "_LIMITS", {"tmp": LARGE, "limits": Limits(processes=4096, file_size=LARGE)})
    found = {"start more processes than it may", "write a larger file than it may", "put more into /tmp than it holds"}
    assert set(prove(plain).broken) == found


def test_what_the_machine_never_allows_proves_nothing(plain: Wall) -> None:
    with no_large_files():
        seen = prove(plain)
    assert seen.untried == ("write a larger file than it may",)
    assert seen.broken == () and len(seen.held) == len(ALL) - 1


@contextmanager
def no_large_files() -> Iterator[None]:
    """What this process starts can write no file of more than half a mebibyte."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**19, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def outer(plain: Wall, folder: Path) -> Wall:
    """A wall that holds others."""
    write_filter(folder / "nested.bpf", nested=True)
    return replace(plain, nested=True, seccomp=folder / "nested.bpf", binds=(Bind(plain.seccomp, Path(FILTER)),))


def test_a_wall_inside_a_wall_holds_every_attempt_too(outer: Wall) -> None:
    seen = prove(outer)
    assert (seen.held, seen.broken, seen.untried) == (ALL, (), ())


def test_an_inner_wall_that_cannot_be_made_is_no_proof(outer: Wall) -> None:
    with pytest.raises(WallRefused, match="gave no result"):
        prove(replace(outer, binds=()))
