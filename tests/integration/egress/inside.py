"""Run in a network namespace of its own, where nothing but what is made here exists: addresses, names, servers, squid.

Arguments: a folder for state, and what to change in squid's configuration: a Python function on its text.
Prints one JSON object: what each attempt got.
"""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from base.paths import State
from sandboxes import egress
from sandboxes.egress_ports import port_of
from sandboxes.folders import Folders

PUBLIC, OTHER = "203.0.113.10", "203.0.113.20"
NAMES = {
    "good.test": PUBLIC, "sub.good.test": PUBLIC, "evil.test": OTHER, "good.test.evil.test": OTHER, "other.test": OTHER,
    "inner.test": "127.0.0.1", "metadata.test": "169.254.169.254", "private.test": "10.1.2.3",
}  # fmt: skip
LISTED = (".good.test", "good.test", "sub.good.test", "inner.test", "metadata.test", "private.test", "rebind.test")
OFFERED = (*LISTED, "other.test")
# squid started as root would change to an account that does not exist here.
AS_ACCOUNT = ("/usr/bin/unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
# squid keeps a name's address for a minute at least, longer than a test wants to wait for it to change.
SHORT_MEMORY = "negative_dns_ttl 1 second\n"
asked: list[str] = []
turns = {"rebind.test": 0}


def answer_names() -> None:
    """A name server for exactly these names (RFC 1035); `rebind.test` is public first and private afterwards."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    while True:
        query, client = server.recvfrom(512)
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode().lower())
            at += query[at] + 1
        name, kind = ".".join(labels), struct.unpack(">H", query[at + 1 : at + 3])[0]
        asked.append(name)
        address = NAMES.get(name)
        if name == "rebind.test" and kind == 1:
            address = PUBLIC if turns[name] == 0 else "127.0.0.1"
            turns[name] += 1
        question = query[12 : at + 5]
        found = address is not None and kind == 1
        flags = 0x8180 if address else 0x8183
        head = query[:2] + struct.pack(">HHHHH", flags, 1, int(found), 0, 0)
        record = (
            b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + socket.inet_aton(address) if found and address else b""
        )
        server.sendto(head + question + record, client)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"{self.server.server_address[0]} {self.headers.get('Host')} {self.headers.get('Via')} ".encode()
        body += str(self.headers.get("X-Forwarded-For")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


class Six(ThreadingHTTPServer):
    address_family = socket.AF_INET6


def through(port: int, request: str) -> str:
    """The status of the proxy's answer, with the page when there is one; or what went wrong."""
    try:
        with socket.create_connection(("127.0.0.1", port), 20) as line:
            line.settimeout(20)
            line.sendall(request.encode())
            received = b""
            while part := line.recv(65536):
                received += part
                if request.startswith("CONNECT") and b"\r\n\r\n" in received:
                    break
            head, _, body = received.decode("latin-1").partition("\r\n\r\n")
            status = head.split(" ")[1]
            return f"{status} {body}" if status == "200" else status
    except (OSError, IndexError) as error:
        return f"no answer: {type(error).__name__}"


def get(url: str, host: str | None = None) -> str:
    return f"GET {url} HTTP/1.1\r\nHost: {host or url.split('/')[2]}\r\nConnection: close\r\n\r\n"


def tunnel(target: str) -> str:
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"


def listens(port: int) -> bool:
    """Wait until squid has started."""
    until = time.monotonic() + 40
    while not egress._listens(port) and time.monotonic() < until:
        time.sleep(0.05)
    return egress._listens(port)


def another_squid() -> None:
    """What Debian's own squid of this machine keeps in shared memory, which ours can neither use nor remove."""
    subprocess.run(["/usr/bin/mount", "-t", "tmpfs", "tmpfs", "/dev/shm"], check=True)
    Path("/dev/shm").chmod(0o1777)
    for name in ("metadata", "queues", "readers"):
        Path(f"/dev/shm/squid-cf__{name}.shm").mkdir()


def main() -> None:
    state, change = State(Path(sys.argv[1])), eval(sys.argv[2], {"re": re})
    run = subprocess.run
    run(["/usr/sbin/ip", "link", "set", "lo", "up"], check=True)
    for address in (PUBLIC, OTHER, "169.254.169.254", "10.1.2.3"):
        run(["/usr/sbin/ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    run(["/usr/sbin/ip", "address", "add", "2001:db8::10/128", "dev", "lo", "nodad"], check=True)
    routes = run(["/usr/sbin/ip", "route"], capture_output=True, text=True, check=True).stdout
    assert routes == "", "nothing may leave this namespace"
    resolv = Path(sys.argv[1]) / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\n")
    run(["/usr/bin/mount", "--bind", str(resolv), os.path.realpath("/etc/resolv.conf")], check=True)
    another_squid()
    threading.Thread(target=answer_names, daemon=True).start()
    for address in (PUBLIC, OTHER, "127.0.0.1", "169.254.169.254", "10.1.2.3"):
        for port in (80, 443, 22):
            threading.Thread(target=ThreadingHTTPServer((address, port), Handler).serve_forever, daemon=True).start()
    threading.Thread(target=Six(("2001:db8::10", 80), Handler).serve_forever, daemon=True).start()
    write = egress.Egress._configuration
    egress.Egress._configuration = lambda self, now, lists: change(write(self, now, lists)) + SHORT_MEMORY  # type: ignore[method-assign]
    way = egress.Egress(state, OFFERED)
    for sandbox in ("aaaaaaaa", "bbbbbbbb"):
        Folders(state, sandbox).make()
    daemon = way.daemon()
    assert daemon is not None
    command = [*AS_ACCOUNT, *daemon.argv]
    with subprocess.Popen(
        [*AS_ACCOUNT, *daemon.argv], env=daemon.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as squid:
        guard = port_of(state, "nobody")
        assert guard and listens(guard)
        way.update({"aaaaaaaa": []})
        port = port_of(state, "aaaaaaaa")
        assert port
        found: dict[str, object] = {"before anything was opened": through(port, get("http://good.test/"))}
        # What the site does not offer is not reached, whatever a list says.
        way.update({"aaaaaaaa": [*LISTED, "evil.test"], "bbbbbbbb": ["other.test"]})
        attempts = {
            "listed": get("http://good.test/x?secret=1"), "listed below": get("http://sub.good.test/"),
            "listed tunnel": tunnel("good.test:443"), "not listed": get("http://evil.test/"),
            "listed for another sandbox": get("http://other.test/"),
            "suffix trick": get("http://good.test.evil.test/"), "raw address": get(f"http://{OTHER}/"),
            "raw address in hexadecimal": get("http://0xcb007114/"), "raw address as a number": get("http://3405803796/"),
            "IPv6 literal": get("http://[2001:db8::10]/"), "name of loopback": get("http://inner.test/"),
            "name of the metadata service": get("http://metadata.test/"), "name of a private address": get("http://private.test/"),
            "tunnel to another port": tunnel("good.test:22"), "page at another port": get("http://good.test:22/"),
            "host header of a listed name": get("http://evil.test/", "good.test"),
            "another protocol": get("ftp://good.test:80/", "good.test"),
            "cache manager": get("cache_object://good.test/info", "good.test"),
        }  # fmt: skip
        found |= {name: through(port, request) for name, request in attempts.items()}
        found["rebinding, first"] = through(port, get("http://rebind.test/"))
        time.sleep(2.5)  # the name server's word counts for a second here
        found["rebinding, later"] = through(port, get("http://rebind.test/"))
        other = port_of(state, "bbbbbbbb")
        assert other
        found["the other's own place"] = through(other, get("http://other.test/"))
        guard = port_of(state, "nobody")
        assert guard
        found["nobody's port"] = through(guard, get("http://good.test/"))
        found["asked of the name server"] = sorted(set(asked))
        found["log"] = [[one.host, one.port, one.allowed] for one in egress.log_of(Folders(state, "aaaaaaaa"))]
        found["log of the other"] = [[one.host, one.allowed] for one in egress.log_of(Folders(state, "bbbbbbbb"))]
        found["secret in the log"] = "secret" in Folders(state, "aaaaaaaa").egress_log.read_text()
        squid.kill()
        squid.wait(10)
        found["squid killed"] = through(port, get("http://good.test/"))
    ending = threading.Event()

    def keep() -> None:
        """As the site's supervisor does: squid that ends is started again."""
        while not ending.is_set():
            with subprocess.Popen(command, env=daemon.environment, stderr=subprocess.DEVNULL) as one:
                while one.poll() is None and not ending.is_set():
                    time.sleep(0.02)
                one.kill()

    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        assert listens(port)
        found["squid again, same port"] = through(port, get("http://good.test/"))
        with socket.create_connection(("127.0.0.1", port), 5) as line:
            line.settimeout(20)
            line.sendall(tunnel("sub.good.test:443").encode())
            found["tunnel before it was closed"] = line.recv(65536).decode("latin-1").split(" ")[1]
            way.update({"aaaaaaaa": ["good.test"], "bbbbbbbb": []})
            try:
                found["tunnel after it was closed"] = "ended" if line.recv(1) == b"" else "goes on"
            except TimeoutError:
                found["tunnel after it was closed"] = "goes on"
            except ConnectionResetError:
                found["tunnel after it was closed"] = "ended"
        found["closed again"] = through(port, get("http://sub.good.test/"))
        found["still open"] = through(port, get("http://good.test/"))
        way.update({"bbbbbbbb": []})
        found["ended sandbox"] = through(port, get("http://good.test/"))
        way.update({"bbbbbbbb": [], "cccccccc": []})
        found["a sandbox without a folder"] = port_of(state, "cccccccc")
    finally:
        ending.set()
        keeper.join(20)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
