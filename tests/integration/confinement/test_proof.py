"""The proof of a wall: on this machine nothing gets through, and a wall that lacks a defence is found out."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from confinement import proof
from confinement.attempts import ATTEMPTS
from confinement.proof import prove
from confinement.wall import Limits, Wall

pytestmark = [pytest.mark.integration, pytest.mark.attack]
ALL = tuple(sentence for sentence, _ in ATTEMPTS.values())
LARGE = 2**40


def test_every_attempt_works_on_the_bare_machine_and_none_behind_the_wall(plain: Wall) -> None:
    seen = prove(plain)
    assert (seen.held, seen.broken, seen.untried) == (ALL, (), ())


@pytest.mark.parametrize(
    ("without", "found"),
    [
        (["--unshare-net"], {"reach a port of the machine", "reach an abstract socket of the machine"}),
        (["--unshare-ipc"], {"reach shared memory of the machine"}),
        (
            ["--seccomp", "--disable-userns"],
            {
                "make a user namespace", "mount something", "trace a process", "use a kernel keyring",
                "set up io_uring", "open a socket that crosses namespaces",
            },
        ),
    ],
)  # fmt: skip
def test_a_defence_that_is_missing_is_found(
    plain: Wall, weakened: Callable[..., Any], without: Sequence[str], found: set[str]
) -> None:
    with weakened(without=without):
        assert set(prove(plain).broken) == found


def test_processes_and_files_of_the_host_are_found(plain: Wall, weakened: Callable[..., Any]) -> None:
    with weakened(host_processes=True, extra=["--bind", "/tmp", "/tmp"]):
        assert set(prove(plain).broken) >= {
            "read a file outside", "write outside", "reach a socket file outside", "see other processes",
            "signal another process", "put more into /tmp than it holds",
        }  # fmt: skip


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
