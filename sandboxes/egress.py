"""What sandboxes may reach outside: one squid with a port of its own and a list of host names for each sandbox.

A wall's relay leads to its sandbox's port and to no other, so the port says who asks. Without squid nothing gets out:
there is no other way. Reference: squid.conf of Squid 5 (http://www.squid-cache.org/Doc/config/).
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from base.daemons import Daemon
from base.errors import LeerlabError
from base.paths import State
from base.ports import LOOPBACK, free_ports
from sandboxes.egress_ports import FILE, ports
from sandboxes.folders import Folders

SQUID = "/usr/sbin/squid"
PID = "squid.pid"
LISTEN_SECONDS = 15.0
MOST_READ = 256 * 1024
_GUARD = "nobody"
"""A port that is refused everything, another one at each change: squid listens there once it has read the change. squid
does not start without any port either, and a site begins without sandboxes."""
# Addresses inside some network, of this machine, or that carry such an address (IANA special-purpose registries).
_INNER = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.168.0.0/16 "
    "198.18.0.0/15 224.0.0.0/4 240.0.0.0/4 ::/128 ::1/128 64:ff9b::/96 64:ff9b:1::/48 2002::/16 fc00::/7 fe80::/10 "
    "ff00::/8"
)
Lists = Mapping[str, Collection[str]]
"""For each active sandbox the host names that it may reach."""


@dataclass(frozen=True)
class Reached:
    """One line of a sandbox's log.

    Args:
        time: when the answer was over.
        host: name that was asked for.
        port: port that was asked for.
        allowed: whether squid let it through; what the place itself answered does not count.
        bytes: to the sandbox and from it.
    """

    time: datetime
    host: str
    port: int
    allowed: bool
    bytes: int


class Egress:
    """The way out of all sandboxes of a site.

    Args:
        state: the site's state folder.
        offered: host names that sandboxes may be given; a leading dot means every name below.
    """

    def __init__(self, state: State, offered: Sequence[str]) -> None:
        self._state = state
        self._offered = frozenset(offered)

    def daemon(self) -> Daemon | None:
        """squid in the foreground; None when the site offers no place. Ports are those that were there before."""
        if not self._offered:
            return None
        self._write(ports(self._state) or {_GUARD: free_ports(1)[0]}, {})
        # Its shared memory has this name for the whole machine, and another squid may run there.
        name = "leerlab" + hashlib.sha256(os.fsencode(self._state.root)).hexdigest()[:12]
        command = (SQUID, "-N", "-d", "1", "-n", name, "-f", str(self._configuration_file))
        return Daemon("squid", command, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, priority=350)

    def update(self, lists: Lists) -> None:
        """Give each of these sandboxes a port and its own list, and no other; returns when squid has read that.

        What a list names but the site does not offer any more is closed.

        Args:
            lists: of all active sandboxes.

        Raises:
            LeerlabError: squid does not take the change in time.
        """
        if not self._offered:
            return
        before = ports(self._state)
        # squid ends when it cannot write a log: one sandbox whose folder is not there yet must not shut all others in.
        there = [sandbox for sandbox in sorted(lists) if Folders(self._state, sandbox).root.is_dir()]
        new = [sandbox for sandbox in there if sandbox not in before]
        known = {sandbox: before[sandbox] for sandbox in there if sandbox in before}
        # Written is not read: what squid did not take the last time is told to it again.
        guarded = not new and _GUARD in before and _listens(before[_GUARD])
        if guarded and self._written(known | {_GUARD: before[_GUARD]}, lists):
            return
        found = dict(zip((*new, _GUARD), _other_ports(len(new) + 1, before.values()), strict=True))
        now = {sandbox: (known | found)[sandbox] for sandbox in (*there, _GUARD)}
        opened = self._opened()
        self._write(now, lists)
        # Reading anew leaves open what was allowed before; ending squid, which is started again at once, does not.
        self._tell(signal.SIGTERM if opened - self._opened() else signal.SIGHUP)
        until = time.monotonic() + LISTEN_SECONDS
        while not all(_listens(port) for port in now.values()):
            if time.monotonic() > until:
                raise LeerlabError("squid does not listen for a sandbox.", "It reaches nothing.", "See logs/squid.log.")
            time.sleep(0.05)

    def _opened(self) -> set[str]:
        """What the configuration opens, a line for each place of each sandbox."""
        try:
            lines = self._configuration_file.read_text().splitlines()
        except FileNotFoundError:
            return set()
        return {line for line in lines if line.startswith("acl listed_")}

    def _tell(self, what: signal.Signals) -> None:
        """Let squid read its configuration anew, or end; one that does not run reads it at its start."""
        with suppress(FileNotFoundError, ValueError, ProcessLookupError, PermissionError):
            pid = int((self._state.run / PID).read_text())
            # The file of one that was killed may name somebody else's process by now.
            if str(Path(f"/proc/{pid}/exe").readlink()).removesuffix(" (deleted)") == SQUID:
                os.kill(pid, what)

    @property
    def _configuration_file(self) -> Path:
        return self._state.generated / "squid.conf"

    def _written(self, now: Mapping[str, int], lists: Lists) -> bool:
        try:
            return self._configuration_file.read_text() == self._configuration(now, lists)
        except FileNotFoundError:
            return False

    def _write(self, now: Mapping[str, int], lists: Lists) -> None:
        """Write what squid and the walls read."""
        _replace(self._configuration_file, self._configuration(now, lists))
        _replace(self._state.run / FILE, json.dumps(now))

    def _configuration(self, now: Mapping[str, int], lists: Lists) -> str:
        lines = [
            "# Written from site.yaml and the ledger at every change; changes here are lost.",
            f"pid_filename {self._state.run / PID}",
            f"cache_log {self._state.logs / 'squid-cache.log'}",
            "visible_hostname sandbox\nvia off\nforwarded_for delete\nhttpd_suppress_version_string on",
            "cache deny all\ncache_mem 0 MB\nshutdown_lifetime 1 second\npinger_enable off\nicp_port 0\nsnmp_port 0",
            "strip_query_terms on\nlogformat box %ts %>rm %>rd %>rP %Ss %<st %>st",
            f"acl inner dst {_INNER}",
            "acl literal dstdom_regex -n ^[0-9.]+$ ^0x : ^\\[",
            "acl CONNECT method CONNECT\nacl tls port 443\nacl web port 80\nacl http proto HTTP",
        ]
        for sandbox, port in now.items():
            lines.append(f"http_port {LOOPBACK}:{port} name=box-{sandbox}\nacl from_{sandbox} myportname box-{sandbox}")
            if sandbox != _GUARD:
                log = Folders(self._state, sandbox).egress_log
                lines.append(f"access_log stdio:{log} logformat=box from_{sandbox}")
        lines.append("access_log none\nhttp_access deny manager\nhttp_access deny literal")
        # A list comes before everything that would look a name up: a question to a name server is a way out too.
        for sandbox in now:
            listed = _widest(self._offered & frozenset(lists.get(sandbox, ())))
            if listed:
                lines += [f"acl listed_{sandbox} dstdomain -n {host}" for host in listed]
                lines.append(f"http_access deny from_{sandbox} !listed_{sandbox}")
            else:
                lines.append(f"http_access deny from_{sandbox}")
        lines.append("http_access deny CONNECT !tls\nhttp_access deny !CONNECT !web\nhttp_access deny !CONNECT !http")
        lines.append("http_access deny inner")
        lines += [f"http_access allow from_{sandbox}" for sandbox in now if sandbox != _GUARD]
        lines.append("http_access deny all")
        return "\n".join(lines) + "\n"


def _other_ports(count: int, taken: Collection[int]) -> list[int]:
    """Free ports, all different, and none that leads to a sandbox already: squid may be down and not hold it now.

    Two sandboxes with one port would have one list and one log.
    """
    return [port for port in free_ports(count + len(taken)) if port not in taken][:count]


def _widest(hosts: Collection[str]) -> list[str]:
    """The names that no other of them holds already: squid refuses to read a list with both."""
    above = [host for host in hosts if host.startswith(".")]
    return sorted(one for one in hosts if not any(one != each and f".{one}".endswith(each) for each in above))


def see_egress(state: State) -> None:
    """Look whether squid listens for everybody.

    Raises:
        LeerlabError: it does not, or not for all.
    """
    if (known := ports(state)) and all(_listens(port) for port in known.values()):
        return
    raise LeerlabError(
        "squid does not listen.", "Sandboxes reach nothing outside.", f"See {state.logs / 'squid-cache.log'}."
    )


def log_of(folders: Folders, last: int = 50) -> list[Reached]:
    """The newest lines of a sandbox's log, newest first; half lines and nonsense are left out.

    Args:
        folders: of the sandbox.
        last: most lines.
    """
    try:
        with folders.egress_log.open("rb") as file:
            file.seek(max(0, folders.egress_log.stat().st_size - MOST_READ))
            lines = file.read().decode("ascii", "replace").splitlines()
    except FileNotFoundError:
        return []
    found = [one for line in lines if (one := _read(line)) is not None]
    return found[: -last - 1 : -1]


def _read(line: str) -> Reached | None:
    try:
        moment, _method, host, port, status, received, sent = line.split(" ")
        allowed = "DENIED" not in status and "NONE" not in status
        size = int(received) + int(sent)
        return Reached(datetime.fromtimestamp(int(moment), UTC), host[:253], int(port), allowed, size)
    except ValueError:
        return None


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    fresh = path.with_name(path.name + ".fresh")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    fresh.replace(path)


def _listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), 1).close()
    except OSError:
        return False
    return True
