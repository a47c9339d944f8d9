"""A slow and lossy line between two network namespaces, packet by packet: this kernel has no netem."""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_CLONE_NEWNET = 0x40000000
# TUNSETIFF, IFF_TUN | IFF_NO_PI (linux/if_tun.h)
_TUNSETIFF, _TUN = 0x400454CA, 0x0001 | 0x1000
_T = TypeVar("_T")
_libc = ctypes.CDLL(None, use_errno=True)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


def within(namespace: str, call: Callable[[], _T]) -> _T:
    """Do something in a network namespace, in a thread of its own: sockets stay where they were made."""
    found: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with Path("/run/netns", namespace).open("rb") as file:
                if _libc.setns(file.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            found.append(call())
        except BaseException as error:  # noqa: BLE001  raised again by the caller
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return found[0]


class DelayLine:
    """Joins two namespaces, which it makes.

    Args:
        names: of the two.
        addresses: IPv4 addresses of their ends, in one /24.
        delay: seconds that every packet takes.
        loss: part of the packets that is lost, each way.
    """

    def __init__(self, names: tuple[str, str], addresses: tuple[str, str], delay: float, loss: float) -> None:
        self.delay, self.loss = delay, loss
        self.carried = self.lost = 0
        self._names = names
        self._ends: list[int] = []
        self._over = threading.Event()
        for name, address in zip(names, addresses, strict=True):
            ip("netns", "add", name)
            self._ends.append(within(name, self._end))
            for words in (
                ("address", "add", f"{address}/24", "dev", "line"), ("link", "set", "line", "up"),
                ("link", "set", "lo", "up"),
            ):  # fmt: skip
                ip("-n", name, *words)
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    @staticmethod
    def _end() -> int:
        end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH", b"line", _TUN))
        return end

    def _carry(self) -> None:
        waiting: list[tuple[float, int, int, bytes]] = []
        order, chance = itertools.count(), random.Random(7)
        other = {self._ends[0]: self._ends[1], self._ends[1]: self._ends[0]}
        while not self._over.is_set():
            now = time.monotonic()
            while waiting and waiting[0][0] <= now:
                _, _, end, packet = heapq.heappop(waiting)
                os.write(end, packet)
            rest = min(0.1, waiting[0][0] - now) if waiting else 0.1
            for end in select.select(self._ends, [], [], rest)[0]:
                packet = os.read(end, 65536)
                if chance.random() < self.loss:
                    self.lost += 1
                    continue
                self.carried += 1
                heapq.heappush(waiting, (time.monotonic() + self.delay, next(order), other[end], packet))

    def close(self) -> None:
        self._over.set()
        self._thread.join(5)
        for end in self._ends:
            os.close(end)
        for name in self._names:
            ip("netns", "del", name)
