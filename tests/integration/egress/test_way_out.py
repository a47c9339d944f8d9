"""The door to the way out: a ticket leads to its own sandbox's proxy and to no other; who has none is refused."""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from base.paths import State
from confinement import run, seccomp
from confinement.wall import Relay, Wall
from sandboxes import way_out
from sandboxes.egress_ports import FILE
from sandboxes.way_out import MOST_EACH, REFUSED, Door, ticket

pytestmark = [pytest.mark.integration]
KEY = "0" * 64
OURS, THEIRS, CLOSED = "aaaaaaaa", "bbbbbbbb", "cccccccc"


@dataclass
class Proxies:
    """A door, and for each of two sandboxes something in the place of squid that says whose it is.

    Args:
        state: with the door's socket.
    """

    state: State
    held: list[socket.socket] = field(default_factory=list)

    def say(self, words: bytes, then: bytes = b"", ending: bool = True) -> bytes:
        """Connect, say something, and hear all that is answered."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(60)
            line.connect(str(self.state.run / way_out.SOCKET))
            line.sendall(words)
            if then:
                line.sendall(then)
            if ending:
                line.shutdown(socket.SHUT_WR)
            heard = b""
            while piece := line.recv(65536):
                heard += piece
        return heard

    def hold(self, sandbox: str) -> bytes:
        """Keep a connection; what was heard on it first."""
        line = socket.socket(socket.AF_UNIX)
        self.held.append(line)
        line.settimeout(60)
        line.connect(str(self.state.run / way_out.SOCKET))
        line.sendall(ticket(KEY, sandbox).encode() + b"\n")
        return line.recv(4096)


def answer(server: socket.socket, name: str) -> None:
    """Say whose proxy this is, then send back what comes."""

    def one(connection: socket.socket) -> None:
        with connection:
            connection.sendall(f"proxy of {name}:".encode())
            while piece := connection.recv(65536):
                connection.sendall(piece)

    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=one, args=(connection,), daemon=True).start()


@pytest.fixture(scope="module")
def proxies() -> Iterator[Proxies]:
    root = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    state = State(root)
    state.run.mkdir(parents=True)
    servers = {name: socket.create_server(("127.0.0.1", 0), backlog=512) for name in (OURS, THEIRS)}
    ports = {name: server.getsockname()[1] for name, server in servers.items()}
    (state.run / FILE).write_text(json.dumps(ports))
    for name, server in servers.items():
        threading.Thread(target=answer, args=(server, name), daemon=True).start()
    door = Door(state, KEY)
    serving = threading.Thread(target=door.loop.run, daemon=True)
    serving.start()
    made = Proxies(state)
    yield made
    for line in made.held:
        line.close()
    door.loop.hand_over(door.close)
    door.loop.hand_over(door.loop.stop)
    serving.join(60)
    for server in servers.values():
        server.close()
    shutil.rmtree(root)


def test_a_ticket_leads_to_its_own_proxy_whole_or_in_pieces(proxies: Proxies) -> None:
    words = ticket(KEY, OURS).encode()
    assert proxies.say(words + b"\n", b"CONNECT pypi.org:443") == b"proxy of aaaaaaaa:CONNECT pypi.org:443"
    assert proxies.say(words + b"\nGET /", b" HTTP/1.1") == b"proxy of aaaaaaaa:GET / HTTP/1.1"
    assert proxies.say(words[:20], words[20:] + b"\n" + b"x" * 100_000) == b"proxy of aaaaaaaa:" + b"x" * 100_000
    assert proxies.say(ticket(KEY, THEIRS).encode() + b"\n").startswith(b"proxy of bbbbbbbb:")


@pytest.mark.attack
@pytest.mark.parametrize(
    "words",
    [
        ticket("1" * 64, THEIRS).encode(),
        THEIRS.encode() + b" " + ticket(KEY, OURS).encode().partition(b" ")[2],
        THEIRS.encode(),
        b"",
        ticket(KEY, CLOSED).encode(),
        ticket(KEY, "nobody").encode(),
        "bbbbbbbb \u00e9".encode(),
        b"GET http://pypi.org/ HTTP/1.1",
        b"\0" * 200,
    ],
    ids=["another key", "our proof", "no proof", "nothing", "nowhere to go", "the guard", "no ascii", "http", "zeros"],
)  # fmt: skip
def test_who_has_no_good_ticket_is_refused(proxies: Proxies, words: bytes) -> None:
    assert proxies.say(words + b"\n", ending=False) == REFUSED


@pytest.mark.attack
def test_a_line_without_end_is_refused(proxies: Proxies) -> None:
    assert proxies.say(b"a" * way_out.LONGEST_TICKET, ending=False) == REFUSED
    assert proxies.say(ticket(KEY, OURS).encode()) == REFUSED


@pytest.mark.attack
def test_who_says_nothing_is_sent_away(proxies: Proxies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(way_out, "TICKET_SECONDS", 0.2)
    assert proxies.say(b"aaaaaaaa ", ending=False) == REFUSED


@pytest.mark.attack
def test_one_sandbox_cannot_take_the_door_from_another(proxies: Proxies) -> None:
    heard = [proxies.hold(OURS) for _ in range(MOST_EACH + 1)]
    assert heard[:-1] == [b"proxy of aaaaaaaa:"] * MOST_EACH and heard[-1] == REFUSED
    assert proxies.hold(THEIRS) == b"proxy of bbbbbbbb:"
    for line in proxies.held:
        line.close()


@pytest.fixture
def walled(proxies: Proxies, tmp_path: Path) -> Callable[[str, str], str]:
    """Run a Python program in the wall of one of the sandboxes, whose relay has its ticket."""

    def walled(program: str, sandbox: str) -> str:
        (tmp_path / "home").mkdir(exist_ok=True)
        seccomp.write_filter(tmp_path / "seccomp.bpf")
        relay = Relay(3128, f"unix:{proxies.state.run / way_out.SOCKET}", ticket(KEY, sandbox))
        command = ("/usr/bin/python3", "-I", "-c", program)
        wall = Wall(command=command, home=tmp_path / "home", seccomp=tmp_path / "seccomp.bpf", relays=(relay,))
        with run.start(Wall.from_json(wall.to_json())) as started:
            started.wait(60)
            return started.output.decode()

    return walled


@pytest.mark.attack
def test_from_inside_a_wall_only_ones_own_proxy_can_be_reached_whatever_is_said(
    walled: Callable[[str, str], str],
) -> None:
    program = f"""
import socket
s = socket.create_connection(("127.0.0.1", 3128), 30)
s.sendall({ticket(KEY, THEIRS).encode() + bytes([10])!r})
s.shutdown(socket.SHUT_WR)
heard = b""
while piece := s.recv(4096):
    heard += piece
print(heard.decode().split(":")[0])
"""
    assert walled(program, OURS).strip() == "proxy of aaaaaaaa"
    # The ticket that it said is good: it is theirs who say it first.
    assert walled(program, THEIRS).strip() == "proxy of bbbbbbbb"


@pytest.mark.attack
def test_the_ticket_is_nowhere_inside_the_wall(walled: Callable[[str, str], str]) -> None:
    proof = ticket(KEY, OURS).partition(" ")[2]
    half = len(proof) // 2
    program = f"""
import glob
wanted = ({proof[:half]!r} + {proof[half:]!r}).encode()
processes = glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline")
for path in processes + glob.glob("/run/**", recursive=True):
    try:
        with open(path, "rb") as file:
            if wanted in file.read():
                print("found", path)
    except OSError:
        pass
print("looked")
"""
    assert walled(program, OURS).strip() == "looked"
    # What looks does find it where it is.
    shown = f"import subprocess\nshown = subprocess.Popen(['/usr/bin/sleep', '60'], env={{'X': {proof!r}}})"
    assert "found /proc" in walled(f"{shown}\n{program}\nshown.kill()", OURS)
