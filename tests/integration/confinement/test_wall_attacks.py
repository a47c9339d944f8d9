"""What untrusted code tries from inside the wall, each with the same attempt where only the named defence is gone."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from confinement import run
from confinement.wall import Bind, Limits, Relay

pytestmark = [pytest.mark.attack, pytest.mark.integration]

# The fixture `attempt` of conftest.py: body, and by name the defences that are taken away.
Attempt = Callable[..., Any]
Taken = dict[str, Any]

NO_FILTER: Taken = {"without": ["--seccomp"]}
NO_NETWORK_NAMESPACE: Taken = {"without": ["--unshare-net"]}
HOST_PROCESSES: Taken = {"host_processes": True}
DUMPABLE = ("_PR_SET_DUMPABLE, 0,", "_PR_SET_DUMPABLE, 1,")
KEEP_DESCRIPTORS = ('os.closerange(3, os.sysconf("SC_OPEN_MAX"))', "pass")


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the same account outside every wall."""
    with subprocess.Popen(["/usr/bin/sleep", "600.25"]) as process:
        yield process
        process.kill()


# Network and sockets


def test_a_tcp_port_of_the_host_is_out_of_reach(attempt: Attempt) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        body = f"socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5)"
        assert attempt(body).held
        assert attempt(body, **NO_NETWORK_NAMESPACE).got


def test_an_abstract_socket_of_the_host_is_out_of_reach(attempt: Attempt) -> None:
    name = f"leerlab-{os.urandom(8).hex()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        body = f"socket.socket(socket.AF_UNIX).connect('\\0{name}')"
        assert attempt(body).held
        assert attempt(body, **NO_NETWORK_NAMESPACE).got


def test_a_socket_file_of_the_host_such_as_munges_is_out_of_reach(attempt: Attempt, folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "munge.sock"))
        server.listen()
        body = f"socket.socket(socket.AF_UNIX).connect({str(folder / 'munge.sock')!r})"
        assert attempt(body).held
        assert attempt(body, extra=["--ro-bind", str(folder), str(folder)]).got


@pytest.mark.parametrize(
    ("family", "kind", "protocol"),
    [
        (socket.AF_VSOCK, socket.SOCK_STREAM, 0),
        (socket.AF_NETLINK, socket.SOCK_RAW, 15),
        ((1 << 32) + socket.AF_VSOCK, socket.SOCK_STREAM, 0),
    ],
)
def test_socket_families_that_cross_namespaces_are_refused(
    attempt: Attempt, family: int, kind: int, protocol: int
) -> None:
    body = f"called(libc.syscall(41, ctypes.c_long({int(family)}), {int(kind)}, ctypes.c_long({protocol})))"
    outcome = attempt(body)
    assert outcome.held
    assert "Operation not permitted" in outcome.text
    assert attempt(body, **NO_FILTER).got


@pytest.mark.parametrize("family", [socket.AF_ALG, socket.AF_CAN])
def test_families_that_this_kernel_may_lack_never_reach_it(attempt: Attempt, family: int) -> None:
    # Where the kernel lacks the family, its own error without the filter shows that the filter answered with it.
    body = f"socket.socket({int(family)}, socket.SOCK_RAW)"
    assert "Operation not permitted" in attempt(body).text
    assert "Operation not permitted" not in attempt(body, **NO_FILTER).text


@pytest.mark.parametrize("family", [socket.AF_PACKET, 44])
def test_raw_frames_are_refused_even_with_all_rights_in_the_namespace(attempt: Attempt, family: int) -> None:
    body = f"socket.socket({int(family)}, socket.SOCK_RAW)"
    rights: dict[str, Any] = {"extra": ["--cap-add", "ALL"]}
    assert attempt(body).held
    assert attempt(body, without=["--cap-drop", "--disable-userns"], **rights).held
    # The network namespace belongs to a user namespace in which the command has rights only after making its own.
    body = f"called(libc.unshare(0x40000000))\n{body}"
    assert attempt(body, without=["--cap-drop", "--disable-userns", "--seccomp"], **rights).got


def test_the_port_of_a_relay_cannot_be_taken_over(attempt: Attempt) -> None:
    body = """
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", 8081))
s.listen()
"""
    relays = (Relay(8081, "tcp:127.0.0.1:1"),)
    assert attempt(body, relays=relays).held
    # Without the port that is opened before the command starts.
    assert attempt(body, edits=[("    inside.open_ports()", "    pass")], relays=relays).got


def test_no_socket_file_of_a_relay_can_be_replaced_because_there_is_none(attempt: Attempt, folder: Path) -> None:
    body = """
import stat
found = [os.path.join(where, name) for where, _, names in os.walk("/run") for name in names]
sockets = [path for path in found if stat.S_ISSOCK(os.lstat(path).st_mode)]
if not sockets:
    raise OSError("no socket file")
os.unlink(sockets[0])
"""
    relays = (Relay(8081, "tcp:127.0.0.1:1"),)
    assert attempt(body, relays=relays).held
    # A run folder with sockets, mounted writable, is what would make it possible.
    with socket.socket(socket.AF_UNIX) as server:
        (folder / "run").mkdir()
        server.bind(str(folder / "run" / "8081.sock"))
        assert attempt(body, extra=["--bind", str(folder / "run"), "/run/sockets"], relays=relays).got


# Files


@pytest.mark.parametrize("what", ["homes/other/work.ipynb", "secrets/munge.key"])
def test_another_home_and_the_state_folder_cannot_be_read(attempt: Attempt, folder: Path, what: str) -> None:
    (folder / what).parent.mkdir(parents=True)
    (folder / what).write_text("theirs")
    body = f"assert open({str(folder / what)!r}).read() == 'theirs'"
    assert attempt(body).held
    assert attempt(body, extra=["--ro-bind", str(folder), str(folder)]).got


def test_a_read_only_folder_cannot_be_changed(attempt: Attempt, folder: Path) -> None:
    (folder / "environment").mkdir()
    body = "open('/opt/notebook/sitecustomize.py', 'w').write('evil')"
    assert attempt(body, binds=(Bind(folder / "environment", Path("/opt/notebook")),)).held
    assert attempt(body, binds=(Bind(folder / "environment", Path("/opt/notebook"), writable=True),)).got


@pytest.mark.parametrize("where", ["/", "/run", "/home", "/dev", "/etc", "/usr/local"])
def test_the_walls_own_folders_cannot_be_filled(attempt: Attempt, where: str) -> None:
    body = f"open(os.path.join({where!r}, 'x'), 'w').write('x')"
    assert attempt(body).held
    assert attempt(body, without=["--remount-ro"]).got


@pytest.mark.parametrize(("where", "size"), [("/tmp", "tmp"), ("/dev/shm", "shm")])
def test_memory_file_systems_end_at_their_size(attempt: Attempt, where: str, size: str) -> None:
    body = f"""
with open("{where}/fill", "wb") as target:
    for _ in range(32):
        target.write(b"x" * 2**20)
"""
    outcome = attempt(body, **{size: 16 * 2**20})
    assert outcome.held
    assert "No space left" in outcome.text
    assert attempt(body, **{size: 64 * 2**20}).got


def test_a_file_ends_at_the_limit(attempt: Attempt) -> None:
    body = "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nwith open('big', 'wb') as f: f.truncate(2**21)"
    assert attempt(body, limits=Limits(file_size=2**20)).held
    assert attempt(body, limits=Limits(file_size=2**22)).got


def test_a_device_of_the_host_that_was_not_allotted_is_absent(attempt: Attempt, bare: Attempt) -> None:
    # The account's own terminal stands for another person's GPU: both are device nodes it may open outside.
    main, other = os.openpty()
    try:
        device = Path(os.ttyname(other))
        body = f"os.close(os.open({str(device)!r}, os.O_RDWR | os.O_NOCTTY))"
        assert bare(body).got
        assert attempt(body).held
        assert attempt(body, extra=["--dev-bind", "/dev/pts", "/dev/pts"]).got
    finally:
        os.close(main)
        os.close(other)


def test_a_setuid_program_gains_nothing(attempt: Attempt, bare: Attempt) -> None:
    body = """
pipe = subprocess.PIPE
process = subprocess.Popen(["/usr/bin/su", "nobody"], stdin=pipe, stdout=pipe, stderr=pipe)
time.sleep(0.2)
status = open(f"/proc/{process.pid}/status").read()
effective = int(status.split("Uid:")[1].split()[1])
process.kill()
process.wait()
if effective == os.getuid():
    raise OSError("not raised")
assert effective == 0, effective
"""
    assert attempt(body).held
    # An unprivileged account cannot lift no_new_privs inside a wall: the control runs without the wall.
    assert bare(body).got


# Other processes


def test_processes_outside_are_not_seen(attempt: Attempt, victim: subprocess.Popen[bytes]) -> None:
    body = """
def words(process):
    try:
        return open(f"/proc/{process}/cmdline", "rb").read()
    except (FileNotFoundError, ProcessLookupError):
        return b""  # it has ended since the list was made
seen = [p for p in os.listdir("/proc") if p.isdigit() and b"600" b".25" in words(p)]
if not seen:
    raise OSError("not seen")
"""
    assert victim.poll() is None
    assert attempt(body).held
    assert attempt(body, **HOST_PROCESSES).got


def test_processes_outside_cannot_be_signalled(attempt: Attempt, victim: subprocess.Popen[bytes]) -> None:
    body = f"os.kill({victim.pid}, signal.SIGTERM)"
    assert attempt(body).held
    assert victim.poll() is None
    assert attempt(body, **HOST_PROCESSES).got
    assert victim.wait(30) == -15


def test_shared_memory_of_the_host_is_out_of_reach(attempt: Attempt) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    key = int.from_bytes(os.urandom(3)) + 1
    segment = libc.shmget(key, 4096, 0o1600)
    assert segment >= 0
    try:
        body = f"called(libc.shmget({key}, 4096, 0))"
        assert attempt(body).held
        assert attempt(body, without=["--unshare-ipc"]).got
    finally:
        libc.shmctl(segment, 0, None)


def test_the_first_process_cannot_be_taken_over_through_its_memory(attempt: Attempt) -> None:
    # Process 1 has no limits and holds the control line; all inside have its user id.
    body = "os.close(os.open('/proc/1/mem', os.O_RDWR))"
    assert attempt(body).held
    assert attempt(body, edits=[DUMPABLE]).got


def test_the_control_line_cannot_be_reached(attempt: Attempt) -> None:
    body = "assert any('socket' in os.readlink(f'/proc/1/fd/{n}') for n in os.listdir('/proc/1/fd'))"
    assert attempt(body).held
    assert attempt(body, edits=[DUMPABLE]).got


def test_the_environment_of_the_launcher_stays_outside(attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEERLAB_JOB", "start-secret-of-the-job")
    body = """
for process in [p for p in os.listdir("/proc") if p.isdigit()]:
    try:
        if b"start-secret-of-the-job" in open(f"/proc/{process}/environ", "rb").read():
            break
    except PermissionError:
        continue
else:
    raise OSError("not there")
"""
    passed: Taken = dict(without=["--clearenv"], edits=[DUMPABLE])
    assert attempt(body).held
    # bubblewrap starts with an empty environment.
    assert attempt(body, **passed).held
    monkeypatch.setattr(run, "_ENVIRONMENT", dict(os.environ))
    # Each of the two others is enough without it.
    assert attempt(body, edits=[DUMPABLE]).held
    assert attempt(body, without=["--clearenv"]).held
    assert attempt(body, **passed).got


def test_the_servers_environment_is_in_no_argument_list(attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    body = """
for process in [p for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()]:
    if b"token-" b"of-this-server" in open(f"/proc/{process}/cmdline", "rb").read():
        return
raise OSError("not there")
"""
    environment = {"JUPYTERHUB_API_TOKEN": "token-of-this-server"}
    assert attempt(body, environment=environment).held
    program = run.json.dumps
    # The task as an argument instead of in memory is what would show it.
    launched = subprocess.Popen

    def shown(arguments: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return launched([*arguments, program(environment)], **options)

    monkeypatch.setattr(run.subprocess, "Popen", shown)
    assert attempt(body, environment=environment).got


def test_a_leaked_descriptor_of_the_starter_is_closed(
    attempt: Attempt, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "secret").write_text("theirs")
    body = """
for number in os.listdir("/proc/self/fd"):
    try:
        os.close(os.open("secret", os.O_RDONLY, dir_fd=int(number)))
        return
    except OSError:
        pass
raise OSError("no descriptor")
"""
    launched = subprocess.Popen
    leaked = os.open(folder, os.O_RDONLY)

    def leaking(arguments: list[str], pass_fds: list[int], **options: Any) -> subprocess.Popen[bytes]:
        return launched(arguments, pass_fds=[*pass_fds, leaked], **options)

    try:
        monkeypatch.setattr(run.subprocess, "Popen", leaking)
        assert attempt(body).held
        assert attempt(body, edits=[KEEP_DESCRIPTORS]).got
    finally:
        os.close(leaked)


def test_only_the_three_standard_descriptors_are_open_inside(attempt: Attempt) -> None:
    body = """
links = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")]
strange = [link for link in links if link != "/dev/null" and not link.startswith("pipe:")]
if not strange:
    raise OSError("nothing strange")
"""
    assert attempt(body).held
    assert attempt(body, edits=[KEEP_DESCRIPTORS, ("os.set_inheritable(control, False)", "pass")]).got


def test_the_log_outside_cannot_be_changed_through_its_descriptor(
    attempt: Attempt, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = folder / "job.log"
    log.write_text("earlier lines\n")
    body = "os.truncate('/proc/self/fd/1', 0)"
    assert attempt(body).held
    assert log.read_text() == "earlier lines\n"
    launched = subprocess.Popen

    def direct(arguments: list[str], **options: Any) -> subprocess.Popen[bytes]:
        with log.open("ab") as sink:
            process = launched(arguments, **{**options, "stdout": sink})
        process.stdout = (folder / "none").open("w+b")
        return process

    with monkeypatch.context() as patch, pytest.raises(AssertionError):
        # The output went to the log, so none comes back; what counts is the log.
        patch.setattr(run.subprocess, "Popen", direct)
        attempt(body)
    assert "earlier" not in log.read_text()


# The kernel's doors


def test_another_process_cannot_be_traced(attempt: Attempt) -> None:
    body = """
child = os.fork()
if child == 0:
    time.sleep(30)
    os._exit(0)
try:
    called(libc.ptrace(16, child, 0, 0))
finally:
    os.kill(child, signal.SIGKILL)
"""
    assert attempt(body).held
    assert attempt(body, **NO_FILTER).got


@pytest.mark.parametrize("call", ["libc.unshare(0x10000000)", "libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)"])
def test_no_user_namespace_can_be_made(attempt: Attempt, call: str) -> None:
    # In the clone, the child is a process of its own that ends at once.
    body = f"""
mine = os.getpid()
result = called({call})
if os.getpid() != mine:
    os._exit(0)
"""
    assert attempt(body).held
    # Each of two defences is enough.
    assert attempt(body, **NO_FILTER).held
    assert attempt(body, without=["--disable-userns"]).held
    assert attempt(body, without=["--seccomp", "--disable-userns"]).got


def test_clone3_is_absent_because_no_filter_can_read_its_flags(attempt: Attempt) -> None:
    body = """
arguments = struct.pack("11Q", 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)
child = called(libc.syscall(435, arguments, len(arguments)))
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
"""
    outcome = attempt(body, without=["--disable-userns"])
    assert outcome.held
    assert "Function not implemented" in outcome.text
    assert attempt(body, without=["--disable-userns", "--seccomp"]).got


def test_nothing_can_be_mounted(attempt: Attempt) -> None:
    body = """
called(libc.unshare(0x00020000))
called(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None))
"""
    assert attempt(body).held
    assert attempt(body, **NO_FILTER).held
    all_rights: Taken = dict(without=["--cap-drop", "--disable-userns"], extra=["--cap-add", "ALL"])
    assert attempt(body, **all_rights).held
    weakest: Taken = dict(without=["--cap-drop", "--disable-userns", "--seccomp"], extra=["--cap-add", "ALL"])
    assert attempt(body, **weakest).got


def test_nothing_can_be_typed_into_a_terminal(attempt: Attempt) -> None:
    body = """
import fcntl
main, other = os.openpty()
child = os.fork()
if child == 0:
    os.setsid()
    fcntl.ioctl(other, 0x540E, 0)
    try:
        fcntl.ioctl(other, 0x5412, b"x")
    except OSError:
        os._exit(1)
    os._exit(0)
if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
    raise OSError("TIOCSTI refused")
"""
    assert attempt(body).held
    assert attempt(body, **NO_FILTER).got


def test_io_uring_is_absent(attempt: Attempt) -> None:
    body = "called(libc.syscall(425, 4, ctypes.create_string_buffer(120)))"
    assert attempt(body).held
    assert attempt(body, **NO_FILTER).got


def test_the_keyring_of_the_account_is_out_of_reach(attempt: Attempt) -> None:
    body = "called(libc.syscall(250, 0, ctypes.c_long(-4), 1))"
    assert attempt(body).held
    assert attempt(body, **NO_FILTER).got


def test_userfaultfd_is_refused(attempt: Attempt) -> None:
    body = "called(libc.syscall(323, 1))"
    assert attempt(body).held
    assert attempt(body, **NO_FILTER).got


def test_performance_events_are_refused(attempt: Attempt) -> None:
    # A software clock event of the own process, without the kernel's part.
    body = """
event = bytearray(128)
struct.pack_into("IIQ", event, 0, 1, 128, 0)
struct.pack_into("Q", event, 40, 0b1100001)
called(libc.syscall(298, bytes(event), 0, -1, -1, 0))
"""
    assert int(Path("/proc/sys/kernel/perf_event_paranoid").read_text()) <= 2, "the control needs perf events here"
    assert attempt(body).held
    assert attempt(body, **NO_FILTER).got


def test_system_calls_in_the_32_bit_convention_end_the_process(attempt: Attempt) -> None:
    # mov eax, 20 (getpid); int 0x80; ret
    body = """
import mmap
child = os.fork()
if child == 0:
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex("b814000000cd80c3"))
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    os._exit(0 if function() == os.getpid() else 1)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
if code == -signal.SIGSYS:
    raise OSError("ended by the filter")
assert code == 0, code
"""
    assert attempt(body).held
    assert attempt(body, **NO_FILTER).got


# Abuse


def test_a_fork_bomb_ends_at_the_limit_of_processes(attempt: Attempt) -> None:
    body = """
for _ in range(200):
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
"""
    assert attempt(body, limits=Limits(processes=64)).held
    assert attempt(body, limits=Limits(processes=1024)).got


def test_limits_cannot_be_raised(attempt: Attempt) -> None:
    body = """
import resource
try:
    resource.setrlimit(resource.RLIMIT_NPROC, (500, 500))
except ValueError as error:
    raise OSError("refused") from error
"""
    assert attempt(body, limits=Limits(processes=64)).held
    assert attempt(body, limits=Limits(processes=1024)).got
