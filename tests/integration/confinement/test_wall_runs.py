"""A wall starts, carries bytes, and ends: with real bubblewrap and a real Jupyter server."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from confinement.errors import WallRefused
from confinement.run import Walled, check_machine, start
from confinement.wall import Bind, Limits, Relay, Wall

pytestmark = pytest.mark.integration

# Echoes every connection on 127.0.0.1:8888 until its end, then half-closes.
ECHO = """
import socket, threading
def echo(c):
    while piece := c.recv(65536):
        c.sendall(piece)
    c.shutdown(socket.SHUT_WR)
with socket.create_server(("127.0.0.1", 8888), backlog=128) as server:
    print("ready", flush=True)
    while True:
        threading.Thread(target=echo, args=(server.accept()[0],), daemon=True).start()
"""


def until(true: Callable[[], bool], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def dial(walled: Walled) -> socket.socket:
    assert walled.published is not None
    assert until(lambda: b"ready" in walled.output)
    return socket.create_connection(walled.published, timeout=20)


@pytest.fixture
def outside_echo(folder: Path) -> Iterator[str]:
    """An echo server outside on a unix socket."""
    path = folder / "s.sock"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(64)

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=(connection,), daemon=True).start()

    def echo(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while piece := connection.recv(65536):
                connection.sendall(piece)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"unix:{path}"
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


def test_this_machine_can_build_walls() -> None:
    check_machine()


def test_the_exit_code_and_the_output_arrive(begin: Callable[..., Walled]) -> None:
    walled = begin("import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)")
    assert walled.wait(60) == 7
    assert sorted(walled.output.split()) == [b"err", b"out"]


def test_a_command_that_dies_of_a_signal_gives_128_and_its_number(begin: Callable[..., Walled]) -> None:
    assert begin("import os; os.kill(os.getpid(), 9)").wait(60) == 137


def test_a_command_that_does_not_exist_says_so(plain: Wall) -> None:
    with start(replace(plain, command=("/opt/nothing",))) as walled:
        assert walled.wait(60) == 127
        assert b"could not be started" in walled.output


def test_environment_folder_and_umask_are_the_walls(begin: Callable[..., Walled]) -> None:
    walled = begin(
        "import json, os; print(json.dumps([dict(os.environ), os.getcwd(), os.umask(0), os.uname().nodename]))",
        environment={"JUPYTERHUB_API_TOKEN": "t", "LANG": "nl_NL.UTF-8"},
        umask=0o027,
    )
    assert walled.wait(60) == 0
    environment, folder, umask, name = json.loads(walled.output)
    assert environment == {
        "HOME": "/home/nb", "USER": "nb", "LOGNAME": "nb", "SHELL": "/bin/bash", "LANG": "nl_NL.UTF-8",
        "PATH": "/opt/notebook/bin:/usr/bin:/bin", "JUPYTERHUB_API_TOKEN": "t", "LC_CTYPE": "C.UTF-8",
        "OMP_NUM_THREADS": os.environ.get("SLURM_CPUS_ON_NODE") or str(len(os.sched_getaffinity(0))),
    }  # fmt: skip
    assert (folder, umask, name) == ("/home/nb", 0o027, "leerlab")


def test_what_is_written_at_home_stays_and_what_is_written_in_tmp_goes(
    begin: Callable[..., Walled], plain: Wall
) -> None:
    assert begin("open('work.txt','w').write('mine'); open('/tmp/x','w').write('y')").wait(60) == 0
    assert (plain.home / "work.txt").read_text() == "mine"
    assert begin("import os; assert not os.path.exists('/tmp/x')").wait(60) == 0


def test_output_beyond_the_limit_is_dropped_and_told(begin: Callable[..., Walled]) -> None:
    walled = begin("print('x' * 300_000)", start_with={"output_limit": 1000})
    assert walled.wait(60) == 0
    assert walled.output == b"x" * 1000
    assert walled.output_cut


def test_output_goes_to_a_descriptor(begin: Callable[..., Walled], folder: Path) -> None:
    with (folder / "log").open("wb") as log:
        assert begin("print('hello')", start_with={"output": log.fileno()}).wait(60) == 0
    assert (folder / "log").read_bytes() == b"hello\n"


def test_a_place_for_output_that_breaks_does_not_stop_the_command(begin: Callable[..., Walled]) -> None:
    def broken(_piece: bytes) -> None:
        raise OSError("disk full")

    walled = begin("print('x' * 1_000_000)", start_with={"output": broken})
    assert walled.wait(60) == 0
    assert walled.output_cut


@pytest.mark.slow
def test_jupyter_server_answers_through_the_published_port(plain: Wall) -> None:
    environment = Path(os.environ["LEERLAB_NOTEBOOK_ENV"])
    wall = replace(
        plain,
        command=(
            "python", "-m", "jupyter_server", "--ServerApp.ip=127.0.0.1", "--ServerApp.port=8888",
            "--ServerApp.allow_remote_access=True", "--IdentityProvider.token=abc",
        ),
        binds=(Bind(environment, Path("/opt/notebook")),),
        publish=8888,
    )  # fmt: skip
    with start(wall) as walled:
        assert walled.published is not None
        host, port = walled.published
        answer: list[tuple[int, bytes]] = []

        def ask() -> bool:
            with (
                contextlib.suppress(OSError, http.client.HTTPException),
                contextlib.closing(http.client.HTTPConnection(host, port, timeout=10)) as connection,
            ):
                connection.request("GET", "/api/status", headers={"Authorization": "token abc"})
                response = connection.getresponse()
                answer.append((response.status, response.read()))
            return bool(answer)

        assert until(ask, 60), walled.output
        assert answer[0][0] == 200
        assert json.loads(answer[0][1])["kernels"] == 0
        assert walled.terminate(grace=5) in (0, 143)


def test_fifty_megabytes_pass_intact_both_ways(begin: Callable[..., Walled]) -> None:
    walled = begin(ECHO, publish=8888)
    sent = os.urandom(2**20) * 50
    with dial(walled) as line:
        writer = threading.Thread(target=lambda: (line.sendall(sent), line.shutdown(socket.SHUT_WR)), daemon=True)
        writer.start()
        got = hashlib.sha256()
        while piece := line.recv(2**20):
            got.update(piece)
        writer.join(10)
    assert got.digest() == hashlib.sha256(sent).digest()


def test_the_first_use_of_a_relay_is_noticed_outside(begin: Callable[..., Walled], outside_echo: str) -> None:
    walled = begin(
        """
import socket, time
with socket.create_server(("127.0.0.1", 8888)) as server:
    print("ready", flush=True)
    server.accept()
socket.create_connection(("127.0.0.1", 8081)).close()
time.sleep(60)
""",
        publish=8888,
        relays=(Relay(8081, outside_echo),),
    )
    assert not walled.wait_for_relay(0.2)
    dial(walled).close()
    assert walled.wait_for_relay(30)


def test_a_relay_reaches_an_address_outside_and_carries_half_close(
    begin: Callable[..., Walled], outside_echo: str
) -> None:
    walled = begin(
        """
import socket, threading, os
line = socket.create_connection(("127.0.0.1", 8081), timeout=30)
data = os.urandom(1000) * 20000
threading.Thread(target=lambda: (line.sendall(data), line.shutdown(socket.SHUT_WR)), daemon=True).start()
got = b"".join(iter(lambda: line.recv(65536), b""))
print(got == data)
""",
        relays=(Relay(8081, outside_echo),),
    )
    assert walled.wait(60) == 0
    assert walled.output == b"True\n"


def test_a_relay_to_nobody_ends_the_connection(begin: Callable[..., Walled], folder: Path) -> None:
    program = """
import socket
line = socket.create_connection(("127.0.0.1", 8081), timeout=30)
try:
    print(line.recv(10))
except ConnectionResetError:
    print(b"")
"""
    walled = begin(program, relays=(Relay(8081, f"unix:{folder}/nobody"),))
    assert walled.wait(60) == 0
    assert walled.output == b"b''\n"


def test_a_slow_reader_does_not_hold_up_others_and_many_long_connections_stay_open(
    begin: Callable[..., Walled],
) -> None:
    walled = begin(ECHO, publish=8888)
    with contextlib.ExitStack() as stack:
        slow = stack.enter_context(dial(walled))
        slow.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                # Never read back: fills every buffer on the way.
                slow.send(b"x" * 65536)
        lines = [stack.enter_context(dial(walled)) for _ in range(100)]
        for _ in range(3):
            for number, line in enumerate(lines):
                line.sendall(b"%4d" % number)
            for number, line in enumerate(lines):
                assert line.recv(4, socket.MSG_WAITALL) == b"%4d" % number


def test_more_connections_than_fit_wait_for_their_turn(
    begin: Callable[..., Walled], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("confinement.relay.CONNECTIONS", 2)
    walled = begin(ECHO, publish=8888)
    first, second, third = dial(walled), dial(walled), dial(walled)
    with first, second, third:
        for line in (first, second):
            line.sendall(b"a")
            assert line.recv(1) == b"a"
        third.sendall(b"b")
        third.settimeout(0.2)
        with pytest.raises(TimeoutError):
            third.recv(1)
        first.close()
        third.settimeout(10)
        assert third.recv(1) == b"b"


def test_the_last_words_of_a_server_that_ends_arrive(begin: Callable[..., Walled]) -> None:
    walled = begin(
        """
import os, socket
server = socket.create_server(("127.0.0.1", 8888))
print("ready", flush=True)
line = server.accept()[0]
line.sendall(b"y" * 100_000)
os._exit(0)
""",
        publish=8888,
    )
    with dial(walled) as line:
        assert len(b"".join(iter(lambda: line.recv(65536), b""))) == 100_000


def test_a_signal_reaches_the_command(begin: Callable[..., Walled]) -> None:
    walled = begin(
        "import signal, time\n"
        "def stop(*_): raise SystemExit(5)\n"
        "signal.signal(signal.SIGINT, stop); print('ready', flush=True); time.sleep(30)"
    )
    assert until(lambda: b"ready" in walled.output)
    walled.signal(signal.SIGINT)
    assert walled.wait(60) == 5


STUBBORN = """
import os, signal, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        break
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
os.close(0); os.close(2)
print("ready", flush=True)
time.sleep(120)
"""


def alive(marker: str) -> list[int]:
    """Processes of the host whose arguments hold a marker; those inside walls are among them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if marker.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def test_terminate_ends_processes_that_ignore_signals_and_left_their_session(begin: Callable[..., Walled]) -> None:
    marker = f"marker-{os.urandom(8).hex()}"
    walled = begin(f"# {marker}\n{STUBBORN}")
    assert until(lambda: walled.output.count(b"ready") == 4)
    assert len(alive(marker)) == 4
    walled.terminate()
    assert alive(marker) == []


def test_terminate_works_twice_and_after_the_end(begin: Callable[..., Walled]) -> None:
    walled = begin("pass")
    assert walled.wait(60) == 0
    assert walled.terminate() == 0
    assert walled.terminate(grace=1) == 0


def test_waiting_is_bounded(begin: Callable[..., Walled]) -> None:
    walled = begin("import time; time.sleep(30)")
    with pytest.raises(TimeoutError):
        walled.wait(0.1)


@pytest.mark.fault
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("without_death_signal", [False, True])
def test_when_the_starter_is_ended_nothing_is_left(
    plain: Wall, folder: Path, number: int, without_death_signal: bool
) -> None:
    marker = f"marker-{os.urandom(8).hex()}"
    wall = replace(plain, command=("/usr/bin/python3", "-I", "-c", f"# {marker}\n{STUBBORN}"))
    (folder / "wall.json").write_text(wall.to_json())
    # Either of the two ties to the starter is enough: here the control line alone, then both.
    weaker = (
        "import confinement.run as r; a = r.bwrap_arguments\n"
        "r.bwrap_arguments = lambda *x: [o for o in a(*x) if o != '--die-with-parent']\n"
    )
    program = (
        f"import sys; sys.path.append({str(Path(__file__).parents[3])!r})\n"
        "from pathlib import Path; from confinement.wall import Wall; from confinement.run import start\n"
        f"{weaker if without_death_signal else ''}"
        f"start(Wall.from_json(Path({str(folder / 'wall.json')!r}).read_text()), output=1).wait()"
    )
    with subprocess.Popen(
        ["/usr/bin/python3", "-I", "-S", "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as starter:
        assert starter.stdout is not None
        for _ in range(4):
            assert starter.stdout.readline() == b"ready\n"
        inside = alive(marker)
        assert len(inside) == 4
        starter.send_signal(number)
        # At once, as a rule; by themselves they would go on for two minutes.
        assert until(lambda: not alive(marker))
        starter.wait(60)


def test_a_wall_survives_the_thread_that_started_it(plain: Wall) -> None:
    started: list[Walled] = []
    wall = replace(plain, command=("/usr/bin/sleep", "0.5"))
    thread = threading.Thread(target=lambda: started.append(start(wall)))
    thread.start()
    thread.join(60)
    assert started[0].wait(60) == 0


def test_walls_leave_no_descriptor_behind(plain: Wall) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(10):
        with start(replace(plain, publish=8888)) as walled:
            walled.wait(60)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


@pytest.mark.fault
def test_a_missing_filter_refuses_the_start(plain: Wall, folder: Path) -> None:
    with pytest.raises(WallRefused, match="system call filter"):
        start(replace(plain, seccomp=folder / "none"))


@pytest.mark.fault
def test_a_filter_that_others_may_change_refuses_the_start(plain: Wall, folder: Path) -> None:
    copy = folder / "filter"
    copy.write_bytes(plain.seccomp.read_bytes())
    copy.chmod(0o666)
    with pytest.raises(WallRefused, match="others may write"):
        start(replace(plain, seccomp=copy))


@pytest.mark.fault
def test_a_filter_that_the_kernel_rejects_refuses_the_start(plain: Wall, folder: Path) -> None:
    copy = folder / "filter"
    copy.write_bytes(b"\xff" * 16)
    with pytest.raises(WallRefused, match="could not be built"):
        start(replace(plain, seccomp=copy))


@pytest.mark.fault
def test_a_missing_bubblewrap_refuses_the_start(plain: Wall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("confinement.machine.PROGRAMS", "/nonexistent")
    with pytest.raises(WallRefused, match="bubblewrap is not installed"):
        start(plain)


@pytest.mark.fault
def test_a_missing_folder_refuses_the_start_with_its_name(plain: Wall, folder: Path) -> None:
    with pytest.raises(WallRefused, match=f"{folder}/none"):
        start(replace(plain, binds=(Bind(folder / "none", Path("/srv/none")),)))


@pytest.mark.fault
def test_a_port_that_cannot_be_bound_outside_refuses_the_start(plain: Wall) -> None:
    with pytest.raises(WallRefused, match="No port could be opened"):
        start(replace(plain, publish=8888), publish_on="192.0.2.1")


@pytest.mark.fault
def test_a_wall_that_is_not_ready_in_time_is_refused_and_leaves_nothing(plain: Wall) -> None:
    marker = f"marker-{os.urandom(8).hex()}"
    with pytest.raises(WallRefused, match="not ready after"):
        start(replace(plain, command=("/bin/sh", "-c", "sleep 60; exit 1", marker)), timeout=0.001)
    assert until(lambda: not alive(marker))


@pytest.mark.fault
def test_when_descriptors_run_out_a_connection_ends_and_the_wall_goes_on(begin: Callable[..., Walled]) -> None:
    walled = begin(ECHO, publish=8888)
    dial(walled).close()
    assert until(lambda: walled.connections == 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as refused, contextlib.ExitStack() as filled:
        refused.settimeout(20)
        most = max(int(each.name) for each in Path("/proc/self/fd").iterdir()) + 2
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        try:
            # Every descriptor but one is taken: room for the accepted connection, not for the pair behind it.
            taken = []
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.dup(0))
            for descriptor in taken[:-1]:
                filled.callback(os.close, descriptor)
            os.close(taken[-1])
            refused.connect(walled.published)
            with contextlib.suppress(ConnectionResetError):
                assert refused.recv(1) == b""
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with dial(walled) as line:
        line.sendall(b"again")
        assert line.recv(5, socket.MSG_WAITALL) == b"again"


def test_limits_hold_for_one_wall_and_not_for_the_account(begin: Callable[..., Walled]) -> None:
    limits = Limits(processes=20, open_files=100, file_size=2**20)
    program = """
import os, resource, time
print([resource.getrlimit(each)[1] for each in (resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE,
    resource.RLIMIT_CORE)], flush=True)
count = 0
try:
    while count < 50:
        if os.fork() == 0:
            time.sleep(60); os._exit(0)
        count += 1
except BlockingIOError:
    pass
print(count, flush=True)
time.sleep(60)
"""
    # The second wall of the same account has as much room as the first.
    for walled in [begin(program, limits=limits) for _ in range(2)]:
        assert until(lambda walled=walled: walled.output.count(b"\n") == 2)  # type: ignore[misc]
        assert walled.output == b"[20, 100, 1048576, 0]\n18\n"


def test_the_job_wrappers_python_can_import_all_it_needs() -> None:
    code = str(Path(__file__).parents[3])
    program = f"import sys; sys.path.append({code!r}); import confinement.run, confinement.wall, confinement.collect"
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-S", "-W", "error", "-c", program], timeout=60, check=False, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert sys.version_info >= (3, 11)
