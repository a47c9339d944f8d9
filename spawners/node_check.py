"""A small job's look at the node that it runs on: whether notebooks of this site can run there.

Run as `/usr/bin/python3 -I -S spawners/node_check.py` by a Slurm job of `leerlab doctor`: standard library and
`confinement` only. What to look at stands in LEERLAB_NODE_CHECK; what is wrong is printed as one JSON line.
"""

from __future__ import annotations

import json
import os
import pwd
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parent.parent))

from confinement.errors import WallInvalid, WallRefused
from confinement.nested import FILTER
from confinement.proof import prove
from confinement.wall import Bind, Wall
from spawners.node_address import NoAddress, address_in

VARIABLE = "LEERLAB_NODE_CHECK"
MARK = "leerlab-node-check:"
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class Wanted:
    """What a node needs.

    Args:
        programs: files that must be there and can be run.
        folders: folders on shared storage that must be writable.
        shared: a file that the hub's machine has just written to shared storage.
        content: what is in it.
        seccomp, nested_seccomp: the system call filters of every wall, and of one that holds others.
        sockets: unix sockets that must answer.
        publish_on: address, or network in which the node must have one.
        accounts: some of the unix accounts as which jobs of people run, each as `name:number`.
    """

    programs: tuple[str, ...]
    folders: tuple[str, ...]
    shared: str
    content: str
    seccomp: str
    nested_seccomp: str
    sockets: tuple[str, ...]
    publish_on: str
    accounts: tuple[str, ...] = ()

    def to_json(self) -> str:
        """As the value of LEERLAB_NODE_CHECK."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Lack:
    """One thing that is missing on a node.

    Args:
        what: what was seen.
        do: what to do about it.
    """

    what: str
    do: str


def look(wanted: Wanted) -> Iterator[Lack]:
    """Everything that is missing here."""
    for program in wanted.programs:
        if not os.access(program, os.X_OK):
            yield Lack(f"{program} is missing", "run ./leerlab install --node there, from the same version")
    yield from _shared(wanted)
    for name, see in (("wall", _wall), ("address", _address)):
        lack = see(wanted)
        if lack is not None:
            yield Lack(f"{name}: {lack.what}", lack.do)
    yield from _accounts(wanted)
    for path in wanted.sockets:
        why = _deaf(path)
        if why:
            yield Lack(f"nobody answers at {path} ({why})", "start stunnel there, and look in its log and in the hub's")


def _shared(wanted: Wanted) -> Iterator[Lack]:
    mount = "mount the site's shared storage there, at the same path and for the same account"
    try:
        if Path(wanted.shared).read_text() != wanted.content:
            yield Lack(f"{wanted.shared} is another file than on the hub's machine", mount)
    except OSError as error:
        yield Lack(f"{wanted.shared} cannot be read: {error.strerror}", mount)
    for folder in wanted.folders:
        try:
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            yield Lack(f"{folder} cannot be written: {error.strerror}", mount)


def _accounts(wanted: Wanted) -> Iterator[Lack]:
    for one in wanted.accounts:
        name, _, number = one.partition(":")
        try:
            known = pwd.getpwnam(name)
        except KeyError:
            yield Lack(f"the unix account {name} is not known there", "run the playbook, or join the directory there")
            continue
        if str(known.pw_uid) != number:
            lack = f"the unix account {name} has the number {known.pw_uid} there, and {number} on the hub's machine"
            yield Lack(lack, "give it the same number everywhere: files on shared storage bear it")
        elif not os.path.isdir(known.pw_dir):  # noqa: PTH112  nothing of pathlib is needed here
            yield Lack(f"the home {known.pw_dir} of {name} is not there", "mount the storage of people's homes there")


def _wall(wanted: Wanted) -> Lack | None:
    with tempfile.TemporaryDirectory(prefix="leerlab-") as home:
        wall = Wall(command=("/usr/bin/true",), home=Path(home), seccomp=Path(wanted.seccomp))
        outer = replace(
            wall,
            nested=True,
            seccomp=Path(wanted.nested_seccomp),
            binds=(Bind(Path(wanted.seccomp), Path(FILTER)),),
        )
        try:
            found = {sentence for each in (wall, outer) for sentence in prove(each).broken}
        except (WallRefused, WallInvalid, OSError) as error:
            return Lack(
                f"it cannot be built: {' '.join(str(error).split())}",
                "install bubblewrap, allow user namespaces, and copy both filters from the hub's machine",
            )
    if found:
        return Lack(
            f"from inside it one can {'; '.join(sorted(found))}",
            "take the node out of the site's partitions, and report this as a security fault",
        )
    return None


def _address(wanted: Wanted) -> Lack | None:
    if "/" not in wanted.publish_on:
        return None
    try:
        address_in(wanted.publish_on)
    except NoAddress as error:
        return Lack(str(error), "give the node an address in cluster.network, or mend that setting")
    return None


def _deaf(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_CONNECT_SECONDS)
        try:
            probe.connect(path)
            # To be sure of the other end: stunnel takes every connection, and drops those that it cannot lead on.
            probe.sendall(b"GET /status HTTP/1.0\r\nHost: localhost\r\n\r\n")
            answer = probe.recv(16)
        except OSError as error:
            return error.strerror or str(error)
    return "" if answer.startswith(b"HTTP/") else "connected, but no answer"


def main(say: Callable[[str], int] = sys.stdout.write) -> int:
    """Look, and print."""
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        say(f"{VARIABLE} is not set: this program is started by leerlab doctor, as a Slurm job.\n")
        return 2
    raw: dict[str, Any] = json.loads(text)
    several = {name: tuple(raw[name]) for name in ("programs", "folders", "sockets", "accounts")}
    wanted = Wanted(**{**raw, **several})
    say(MARK + json.dumps([asdict(lack) for lack in look(wanted)]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
