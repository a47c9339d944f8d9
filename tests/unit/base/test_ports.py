"""Free ports."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from base import ports
from base.errors import LeerlabError
from base.ports import free_ports


def test_they_are_free_different_and_out_of_the_way_of_outgoing_connections() -> None:
    found = free_ports(20)
    assert len(set(found)) == 20
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(10_240 <= port < lowest for port in found)
    listeners = [socket.create_server(("127.0.0.1", port)) for port in found]
    for listener in listeners:
        listener.close()


def test_where_the_kernel_takes_all_of_them_any_free_port_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "range").write_text("1024\t65535\n")
    monkeypatch.setattr(ports, "_RANGE", tmp_path / "range")
    assert len(set(free_ports(3))) == 3


def test_none_left_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_TRIES", 1)
    with pytest.raises(LeerlabError, match="no 5 free ports"):
        free_ports(5)
