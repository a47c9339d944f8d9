"""The loopback ports of one run of the site: chosen free at `up`, kept until `down`."""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from base.errors import LeerlabError
from base.paths import State
from base.ports import LOOPBACK, free_ports


@dataclass(frozen=True)
class Ports:
    """Ports that the site's own daemons listen on, all on 127.0.0.1.

    Args:
        proxy_api: the proxy's API, for the hub alone.
        portal: the portal, for the proxy alone, which takes no unix sockets.
        slurm: slurmctld first, then one slurmd per node, then slurmdbd; empty where the cluster is not ours.
    """

    proxy_api: int
    portal: int
    slurm: tuple[int, ...]

    @property
    def all(self) -> tuple[int, ...]:
        return (self.proxy_api, self.portal, *self.slurm)


def choose(state: State, slurm: int, *, jobs_run: bool) -> Ports:
    """Choose ports and remember them: those of before where they still are free.

    Args:
        state: the site's state folder.
        slurm: how many Slurm needs; 0 where the cluster is not ours.
        jobs_run: whether jobs of an earlier run still run, which know Slurm by its ports.

    Raises:
        LeerlabError: jobs still run, and another program has taken one of Slurm's ports.
    """
    before = remembered(state) if _file(state).exists() else None
    taken: list[int] = []
    if before is not None and len(before.slurm) == slurm:
        taken = [port for port in before.all if in_use(LOOPBACK, port)]
        if not taken:
            return before
    if before is not None and jobs_run:
        raise LeerlabError(
            "Jobs of before still run, and Slurm cannot have its ports back"
            + (
                f": another program uses {', '.join(map(str, taken))}."
                if taken
                else ": it needs another number of them now."
            ),
            "Slurm would not find those jobs again.",
            "Stop that program, or run ./leerlab down, which ends the jobs, and then ./leerlab up.",
        )
    proxy_api, portal, *of_slurm = free_ports(2 + slurm)
    ports = Ports(proxy_api, portal, tuple(of_slurm))
    _file(state).write_text(json.dumps(asdict(ports)))
    return ports


def remembered(state: State) -> Ports:
    """The ports of the running site.

    Raises:
        FileNotFoundError: the site is not running.
    """
    data = json.loads(_file(state).read_text())
    return Ports(data["proxy_api"], data["portal"], tuple(data["slurm"]))


def _file(state: State) -> Path:
    return state.run / "ports.json"


def in_use(address: str, port: int) -> bool:
    """Whether something else listens on this address and port already.

    Raises:
        LeerlabError: this machine has no such address, or the port may not be used.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise LeerlabError(
                f"Nothing can be served at {address} port {port}: {error.strerror}.",
                "The pages would be out of reach.",
                "Set hub.bind to an address of this machine; 127.0.0.1 always is one.",
            ) from error
    return False


def listening_sockets(addresses: Sequence[Path]) -> list[Path]:
    """Those of the given unix sockets that accept a connection."""
    answering = []
    for address in addresses:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(address))
            except OSError:
                continue
            answering.append(address)
    return answering
