"""Started by `unshare` in namespaces of its own: run a command, and write down every packet that leaves for elsewhere.

Without any way out a call would fail before there is a packet. So there is a way out here, which leads to nobody: one
end of a pair of interfaces has a default route, and what comes out at the other end is what was tried. The one name
server is there too. Arguments: FILE for the calls as JSON, and the command, which runs without any capability.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

RESOLV = "nameserver 192.0.2.53\noptions timeout:1 attempts:1\n"
WAY_OUT = """
ip link set lo up
ip link add out type veth peer name nobody
sysctl -qw net.ipv6.conf.out.accept_dad=0 net.ipv6.conf.out.router_solicitations=0 net.ipv6.conf.nobody.disable_ipv6=1
ip link set out addrgenmode none
ip addr add 192.0.2.1/24 dev out
ip -6 addr add 2001:db8::1/64 dev out nodad
ip link set nobody up
ip link set out up
for near in 192.0.2.2 192.0.2.53 2001:db8::2; do
    ip neigh replace $near lladdr 02:00:00:00:00:01 dev out nud permanent
done
ip route add default via 192.0.2.2
ip -6 route add default via 2001:db8::2 dev out
mount --bind "$1" /etc/resolv.conf
"""
IPV4, IPV6, ARP = 0x0800, 0x86DD, 0x0806
EVERY = 0x0003
MARK = "198.51.100.254"
# The kernel's own: it looks for routers and tells of its multicast groups, whoever runs or not.
KERNELS = {2, 58}
PORTS = {6: "tcp", 17: "udp"}


def call_of(packet: bytes) -> str | None:
    """What an Ethernet frame asks of whom; None for the kernel's own."""
    kind, body = int.from_bytes(packet[12:14], "big"), packet[14:]
    if kind == IPV4:
        number, target, rest = body[9], str(ipaddress.IPv4Address(body[16:20])), body[(body[0] & 15) * 4 :]
    elif kind == IPV6:
        number, target, rest = body[6], str(ipaddress.IPv6Address(body[24:40])), body[40:]
    else:
        return f"ethernet {kind:#06x}" if kind != ARP else f"arp for {ipaddress.IPv4Address(body[24:28])}"
    if number in KERNELS or (number == 0 and ipaddress.ip_address(target).is_multicast):
        return None
    if number not in PORTS:
        return f"protocol {number} to {target}"
    port = int.from_bytes(rest[2:4], "big")
    return f"{PORTS[number]} to {target} port {port}{_asked(rest[8:]) if port == 53 else ''}"


def _asked(query: bytes) -> str:
    """The name in a question to a name server (RFC 1035, 4.1.2)."""
    words, place = [], 12
    while place < len(query) and (length := query[place]):
        words.append(query[place + 1 : place + 1 + length].decode("ascii", "replace"))
        place += length + 1
    return f" for {'.'.join(words)}"


def watch(calls: dict[str, int], outside: socket.socket) -> None:
    while True:
        packet, _ = outside.recvfrom(65536)
        call = call_of(packet)
        if call:
            calls[call] = calls.get(call, 0) + 1


def settle(calls: dict[str, int]) -> None:
    """Wait until every packet of before has been looked at: one of our own comes behind them."""
    mark = f"udp to {MARK} port 9"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"mark", (MARK, 9))
    until = time.monotonic() + 60
    while mark not in calls and time.monotonic() < until:
        time.sleep(0.01)
    del calls[mark]


def first_process_runs(command: list[str]) -> int:
    """Run a command as an init does, which this is: whoever loses its parent is waited for here, or never gone."""
    wanted = os.posix_spawnp(command[0], command, os.environ)
    while True:
        ended, status = os.wait()
        if ended == wanted:
            return os.waitstatus_to_exitcode(status)


def main() -> None:
    file, *command = sys.argv[1:]
    resolv = Path(f"{file}.resolv")
    resolv.write_text(RESOLV)
    subprocess.run(["sh", "-euc", WAY_OUT, "sh", str(resolv)], timeout=20, check=True)
    calls: dict[str, int] = {}
    outside = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY))
    outside.bind(("nobody", 0))
    threading.Thread(target=watch, args=(calls, outside), daemon=True).start()
    code = first_process_runs(["setpriv", "--ambient-caps=-all", "--inh-caps=-all", *command])
    settle(calls)
    Path(file).write_text(json.dumps({"code": code, "calls": calls}))


if __name__ == "__main__":
    main()
