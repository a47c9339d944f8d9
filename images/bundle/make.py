"""Make a bundle: code, Debian packages, wheels, npm packages and a manifest, in one archive or not at all."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from base.errors import InputError, LeerlabError
from images.bundle import debian, node, wheels
from images.bundle.archive import write_archive, write_manifest
from images.bundle.fetching import fetched
from images.bundle.wheels import Torch

CODE, ABOUT = "code", "BUNDLE.json"
TOOLS = ("proxy",)
DEVELOPMENT_TOOLS = ("test-tools",)
DEVELOPMENT_ROLE = "test"
GIT_SECONDS = 300


@dataclass(frozen=True)
class Made:
    """What came of it.

    Args:
        file: the archive.
        sha256: its digest.
        bytes: its size.
        commit: the commit of the code in it.
        debian: how many Debian packages are in it.
        wheels: how many Python packages.
    """

    file: str
    sha256: str
    bytes: int
    commit: str
    debian: int
    wheels: int


def make_bundle(
    tree: Path, hub_env: Path, file: Path, step: Callable[[str], None], *, torch: Torch = Torch.CPU,
    development: bool = False,
) -> Made:  # fmt: skip
    """Make `file` from the commit that is checked out in `tree`; whatever goes wrong, nothing is left.

    Args:
        tree: a git clone of Leerlab.
        hub_env: the hub's environment, for Node.
        file: the archive to make; replaced at the very end.
        step: told what is being done.
        torch: which build of torch goes in.
        development: also what tests and lint need.

    Raises:
        InputError: `tree` is no clone, or has changes that no commit holds.
        LeerlabError: something could not be fetched or written.
    """
    with _work_folder(file) as work, _full_disk(file):
        commit, epoch = _commit(tree)
        version = tomllib.loads((tree / "pyproject.toml").read_text())["project"]["version"]
        top = work / f"leerlab-{version}-{commit[:12]}"
        for folder in ("debian", "wheels", "npm"):
            (top / folder).mkdir(parents=True)
        step("the code")
        _add_code(tree, commit, top / CODE, work)
        images = top / CODE / "images"
        roles = debian.roles(images / "debian.yaml")
        wanted = {role: names for role, names in roles.items() if development or role != DEVELOPMENT_ROLE}
        packages = debian.add_packages(top / "debian", wanted, work / "apt", epoch, step)
        locks = wheels.locks_for(images / "locks", torch, development=development)
        wheels.add_wheels(top / "wheels", locks, step)
        for name in TOOLS + (DEVELOPMENT_TOOLS if development else ()):
            node.add_tools(top / "npm", images / name, hub_env, step)
        about = {
            "format": 1, "version": version, "commit": commit, "architecture": _architecture(), "debian": "12",
            "python": "3.11", "torch": str(torch), "development": development, "packages": packages,
        }  # fmt: skip
        (top / ABOUT).write_text(json.dumps(about, indent=1) + "\n")
        step("the digest of every file")
        write_manifest(top)
        digest = write_archive(
            top, work / "archive", epoch, lambda written: step(f"the archive, {written / 10**9:.2f} GB")
        )
        made = Made(
            str(file), digest, (work / "archive").stat().st_size, commit, len(packages),
            len(list((top / "wheels").iterdir())),
        )  # fmt: skip
        (work / "archive").replace(file)
        return made


def _commit(tree: Path) -> tuple[str, int]:
    """The commit that is checked out, and its time."""
    if not (tree / ".git").exists():
        raise InputError(
            f"{tree} is no git clone.",
            "A bundle holds exactly one commit, so that it can be told where it came from.",
            "Clone the repository with git, and start ./leerlab bundle there.",
        )
    if _git(tree, "status", "--porcelain", "--untracked-files=no"):
        raise InputError(
            f"{tree} has changes that are in no commit.",
            "A bundle holds exactly one commit, and these changes would not be in it.",
            "Commit them, or take them back.",
        )
    commit, epoch = _git(tree, "show", "--no-patch", "--format=%H %ct", "HEAD")[0].split()
    return commit, int(epoch)


def _git(tree: Path, *arguments: str) -> list[str]:
    # Root makes a bundle of somebody else's clone too; what git runs there is only what stands here.
    argv = ["/usr/bin/git", "-c", f"safe.directory={tree}", "-c", "core.fsmonitor=false", "-C", str(tree), *arguments]
    return fetched(argv, f"The code of {tree}", seconds=GIT_SECONDS)


def _add_code(tree: Path, commit: str, target: Path, work: Path) -> None:
    packed = work / "code.tar"
    _git(tree, "archive", "--format=tar", f"--output={packed}", commit)
    target.mkdir()
    fetched(["/usr/bin/tar", "-xf", str(packed), "-C", str(target)], "The code", seconds=GIT_SECONDS)
    packed.unlink()


def _architecture() -> str:
    return fetched(["/usr/bin/dpkg", "--print-architecture"], "The machine's architecture", seconds=GIT_SECONDS)[0]


@contextmanager
def _work_folder(file: Path) -> Iterator[Path]:
    """A folder beside the archive, on the same disk, gone afterwards. What a killed run left goes first."""
    work = file.with_name(f".{file.name}.making")
    try:
        work.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise InputError(
            f"{file.parent} cannot be written: {error.strerror}.", do="Name a file in a folder that you may write."
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LeerlabError(
                f"Another leerlab bundle is making {file}.", do="Wait for it, or name another file."
            ) from None
        try:
            _empty(work)
            with _ends_by_signal():
                yield work
        finally:
            shutil.rmtree(work)
    finally:
        os.close(descriptor)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def _full_disk(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise LeerlabError(
            f"The disk of {file.parent} is full.",
            "No bundle was made, and nothing of it is left.",
            "Make room for twice the bundle (about 3 GB; with CUDA 10 GB), or name a file on another disk.",
        ) from error


@contextmanager
def _ends_by_signal() -> Iterator[None]:
    """SIGTERM and SIGHUP end it as Ctrl-C does: with nothing left."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
