"""The loopback ports of one run of the site: chosen free at `up`, remembered until `down`."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from base.paths import State


@dataclass(frozen=True)
class Ports:
    """Ports that the site's own daemons listen on, all on 127.0.0.1.

    Args:
        proxy_api: the proxy's API, for the hub alone.
        slurm: slurmctld first, then one slurmd per node; empty where the cluster is not ours.
    """

    proxy_api: int
    slurm: tuple[int, ...]


def free_ports(count: int) -> list[int]:
    """That many free loopback ports, all different.

    Args:
        count: how many.
    """
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    numbers = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return numbers


def choose(state: State, nodes: int) -> Ports:
    """Choose ports and remember them.

    Args:
        state: the site's state folder.
        nodes: how many slurmd will run; 0 where the cluster is not ours.
    """
    proxy_api, *slurm = free_ports(1 + (nodes + 1 if nodes else 0))
    ports = Ports(proxy_api, tuple(slurm))
    _file(state).write_text(json.dumps(asdict(ports)))
    return ports


def remembered(state: State) -> Ports:
    """The ports of the running site.

    Raises:
        FileNotFoundError: the site is not running.
    """
    data = json.loads(_file(state).read_text())
    return Ports(data["proxy_api"], tuple(data["slurm"]))


def _file(state: State) -> Path:
    return state.run / "ports.json"


def in_use(address: str, port: int) -> bool:
    """Whether something else listens on this address and port already."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return True
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
