"""What one wall is: a strict, frozen description that travels as JSON, and the bubblewrap options that follow.

Reference: bwrap(1), bubblewrap 0.8.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from confinement.errors import WallInvalid
from confinement.root import NOTEBOOK, software

HOME = "/home/nb"
# Where inner.py and what it imports appear inside.
CODE = "/run/wall"
UID = 1000
PATH = "/opt/notebook/bin:/usr/bin:/bin"
DEFAULT_ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {"HOME": HOME, "USER": "nb", "LOGNAME": "nb", "SHELL": "/bin/bash", "LANG": "C.UTF-8", "PATH": PATH}
)

_MEBIBYTE = 2**20
# Folders whose contents are the wall's own: a bind there could undo it. Below the home, the person could have put a
# symbolic link where the mount point should be.
_RESERVED = ("bin", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "proc", "run", "sbin", "sys", "tmp",
             "usr", "var")  # fmt: skip
_HOSTNAME = re.compile(r"^[a-z][a-z0-9-]{0,62}$")
_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_ADDRESS = re.compile(r"^(?:unix:(?P<path>/.{1,106})|tcp:(?P<host>[A-Za-z0-9.:_-]{1,253}):(?P<port>[1-9][0-9]{0,4}))$")

_TICKET = re.compile(r"^[ -~]{0,200}\Z")


def etc_files(hostname: str) -> dict[str, str]:
    """The files of /etc that the wall writes itself: path inside and text."""
    return {
        "/etc/passwd": (
            "root:x:0:0::/nonexistent:/usr/sbin/nologin\n"
            f"nb:x:{UID}:{UID}::{HOME}:/bin/bash\n"
            "nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n"
        ),
        "/etc/group": f"root:x:0:\nnb:x:{UID}:\nnogroup:x:65534:\n",
        "/etc/hosts": f"127.0.0.1 localhost {hostname}\n",
        "/etc/hostname": f"{hostname}\n",
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    }


def _absolute(value: object, what: str) -> None:
    path = PurePosixPath(value) if isinstance(value, PurePosixPath) else None
    if path is None or not path.is_absolute() or ".." in path.parts or "\0" in str(path):
        raise WallInvalid(f"{what} is {str(value)!r}.", "It must be an absolute path without '..'.")


def _whole(value: object, what: str, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise WallInvalid(f"{what} is {value!r}.", f"It must be a whole number from {least} to {most}.")


@dataclass(frozen=True)
class Bind:
    """A folder or file of the host that is visible inside.

    Args:
        source: absolute path outside; neither it nor its parents may be changeable from inside any wall.
        target: absolute path inside, in a top-level folder that is not the wall's own (`/opt/...`, `/srv/...`).
        writable: whether processes inside may change it.
    """

    source: Path
    target: Path
    writable: bool = False

    def __post_init__(self) -> None:
        _absolute(self.source, "A bind's source")
        _absolute(self.target, "A bind's target")
        if not isinstance(self.writable, bool):
            raise WallInvalid(f"A bind's writable is {self.writable!r}.", "It must be true or false.")
        top = self.target.parts[1:2]
        if not top or top[0] in _RESERVED:
            raise WallInvalid(
                f"A bind's target is {str(self.target)!r}.",
                "That folder belongs to the wall itself.",
                "Choose a target below /opt, /srv or another folder that the wall does not make.",
            )


@dataclass(frozen=True)
class Relay:
    """A loopback port inside that leads to one address outside.

    Args:
        port: TCP port on 127.0.0.1 inside, from 1024.
        address: `unix:/path` or `tcp:host:port` outside; a host name is looked up once, when the wall starts.
        ticket: a line that the outside says first on each connection; may be a secret, and never enters the wall.
    """

    port: int
    address: str
    ticket: str = ""

    def __post_init__(self) -> None:
        _whole(self.port, "A relay's port", 1024, 65535)
        match = _ADDRESS.match(self.address) if isinstance(self.address, str) else None
        if match is None or (match["port"] and int(match["port"]) > 65535):
            raise WallInvalid(f"A relay's address is {self.address!r}.", "It must be unix:/path or tcp:host:port.")
        if not isinstance(self.ticket, str) or not _TICKET.match(self.ticket):
            raise WallInvalid("A relay's ticket is not one line of at most 200 printable characters.")

    def target(self) -> str | tuple[str, int]:
        """The path of the unix socket, or the host and port."""
        kind, _, rest = self.address.partition(":")
        if kind == "unix":
            return rest
        host, _, port = rest.rpartition(":")
        return host.strip("[]"), int(port)


@dataclass(frozen=True)
class Limits:
    """Limits of the processes inside (setrlimit(2)); memory and processor time are the Slurm job's own limits.

    Args:
        processes: most processes and threads at one time, all together inside this wall.
        open_files: most open files per process.
        file_size: largest file that can be written, in bytes.
    """

    processes: int = 256
    open_files: int = 4096
    file_size: int = 2048 * _MEBIBYTE

    def __post_init__(self) -> None:
        _whole(self.processes, "limits.processes", 8, 2**20)
        _whole(self.open_files, "limits.open_files", 64, 2**20)
        _whole(self.file_size, "limits.file_size", _MEBIBYTE, 2**50)


@dataclass(frozen=True)
class Wall:
    """One untrusted process tree and all that it may see and reach.

    Args:
        command: argument list to run inside, the first an absolute path inside or a name on the path.
        home: folder outside that is the writable home inside (`/home/nb`).
        seccomp: compiled system call filter outside, written by `confinement.seccomp.write_filter`.
        binds: further folders and files that are visible inside.
        relays: loopback ports inside that lead to addresses outside.
        publish: TCP port on 127.0.0.1 inside that is offered outside; None offers nothing.
        environment: variables of the command, added to `DEFAULT_ENVIRONMENT`; may hold secrets of the person's own.
        folder: folder inside in which the command starts.
        tmp: size of /tmp in bytes.
        shm: size of /dev/shm in bytes.
        limits: limits of the processes inside.
        hostname: host name inside.
        devices: device nodes below /dev that are usable inside: those of the allotted GPUs.
        umask: file mode creation mask of the command.
        root: root file system whose `/usr`, `/opt/notebook` and software settings of `/etc` take the place of the
            host's; see `confinement.root`. None is the host's own.
        nested: whether processes inside may make namespaces, for the inner walls of `confinement.nested`; only for
            programs of Leerlab's own, with the filter that `confinement.seccomp` writes for it.

    Raises:
        WallInvalid: a value has the wrong type or is out of bounds.
    """

    command: tuple[str, ...]
    home: Path
    seccomp: Path
    binds: tuple[Bind, ...] = ()
    relays: tuple[Relay, ...] = ()
    publish: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path(HOME)
    tmp: int = 256 * _MEBIBYTE
    shm: int = 64 * _MEBIBYTE
    limits: Limits = Limits()
    hostname: str = "leerlab"
    devices: tuple[Path, ...] = ()
    umask: int = 0o077
    root: Path | None = None
    nested: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.nested, bool):
            raise WallInvalid(f"nested is {self.nested!r}.", "It must be true or false.")
        _absolute(self.home, "home")
        _absolute(self.seccomp, "seccomp")
        _absolute(self.folder, "folder")
        _whole(self.tmp, "tmp", _MEBIBYTE, 2**50)
        _whole(self.shm, "shm", _MEBIBYTE, 2**50)
        _whole(self.umask, "umask", 0, 0o777)
        if self.root is not None:
            _absolute(self.root, "root")
        if self.publish is not None:
            _whole(self.publish, "publish", 1024, 65535)
        self._check_command()
        self._check_environment()
        self._check_passages()

    def _check_command(self) -> None:
        words = self.command
        if not isinstance(words, tuple) or not words or not words[0]:
            raise WallInvalid("command is empty or no list.", "It must name a program and its arguments.")
        if not all(isinstance(word, str) and "\0" not in word for word in words):
            raise WallInvalid("command holds something that is not text.")
        if not isinstance(self.hostname, str) or not _HOSTNAME.match(self.hostname):
            raise WallInvalid(f"hostname is {self.hostname!r}.", "It must be lower-case letters, digits and hyphens.")

    def _check_environment(self) -> None:
        if not isinstance(self.environment, Mapping):
            raise WallInvalid("environment is no mapping of names to text.")
        for name, value in self.environment.items():
            if not isinstance(name, str) or not _VARIABLE.match(name):
                raise WallInvalid(f"environment has the name {name!r}.", "It must be letters, digits and underscores.")
            if not isinstance(value, str) or "\0" in value:
                raise WallInvalid(f"environment variable {name} is not text.")

    def _check_passages(self) -> None:
        for items, kind, name in ((self.binds, Bind, "binds"), (self.relays, Relay, "relays")):
            if not isinstance(items, tuple) or not all(isinstance(item, kind) for item in items):
                raise WallInvalid(f"{name} is not a list of {kind.__name__}.")
        if not isinstance(self.limits, Limits):
            raise WallInvalid("limits is not of the type Limits.")
        if not isinstance(self.devices, tuple):
            raise WallInvalid("devices is not a list of paths.")
        for device in self.devices:
            _absolute(device, "A device")
            if not device.is_relative_to("/dev") or device == Path("/dev") or device.parts[2] in ("pts", "shm"):
                raise WallInvalid(f"A device is {str(device)!r}.", "It must be a device node below /dev.")
        ports = [relay.port for relay in self.relays] + ([self.publish] if self.publish else [])
        if len(set(ports)) != len(ports):
            raise WallInvalid("Two passages use the same port inside.", "", "Give every relay and publish its own.")
        own = Path("/", NOTEBOOK)
        if self.root is not None and any(bind.target.is_relative_to(own) for bind in self.binds):
            raise WallInvalid(f"A bind's target is below {own}, which the root file system brings.")
        for one in self.binds:
            for other in self.binds:
                # A mount point inside a writable bind could be replaced by a symbolic link.
                unsafe = one.target == other.target or other.writable
                if one is not other and unsafe and one.target.is_relative_to(other.target):
                    raise WallInvalid(f"The bind targets {one.target} and {other.target} overlap.")

    def to_json(self) -> str:
        """The wall as one JSON object; `from_json` gives an equal wall back."""
        return json.dumps(_plain(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Wall:
        """Read what `to_json` wrote.

        Raises:
            WallInvalid: not JSON, an unknown or missing key, a wrong type, a relative path or a value out of bounds.
        """
        try:
            raw = json.loads(text)
        except ValueError as error:
            raise WallInvalid("The wall's description is not JSON.", str(error)) from error
        return _wall(raw)


def _plain(value: Any) -> Any:
    if isinstance(value, (Wall, Bind, Relay, Limits)):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def _object(kind: type, raw: object) -> dict[str, Any]:
    """A copy of a JSON object whose keys are all fields of `kind`, none of the required ones missing."""
    if not isinstance(raw, dict):
        raise WallInvalid(f"{kind.__name__} is not an object.")
    known = {each.name for each in fields(kind)}
    if unknown := sorted(set(raw) - known):
        raise WallInvalid(
            f"{kind.__name__} has the unknown key {unknown[0]!r}.", f"Known are {', '.join(sorted(known))}."
        )
    return dict(raw)


def _list(raw: object, what: str) -> list[Any]:
    if not isinstance(raw, list):
        raise WallInvalid(f"{what} is not a list.")
    return raw


def _path(raw: object, what: str) -> Path:
    if not isinstance(raw, str):
        raise WallInvalid(f"{what} is {raw!r}.", "It must be an absolute path.")
    return Path(raw)


def _built(kind: Any, values: dict[str, Any]) -> Any:
    try:
        return kind(**values)
    except TypeError as error:
        raise WallInvalid(f"{kind.__name__} misses a key.", str(error)) from error


def _bind(raw: object) -> Bind:
    values = _object(Bind, raw)
    for name in ("source", "target"):
        if name in values:
            values[name] = _path(values[name], f"A bind's {name}")
    bind: Bind = _built(Bind, values)
    return bind


def _wall(raw: object) -> Wall:
    values = _object(Wall, raw)
    for name in ("home", "seccomp", "folder", "root"):
        if values.get(name) is not None:
            values[name] = _path(values[name], name)
    for name in ("command", "binds", "relays", "devices"):
        if name in values:
            values[name] = tuple(_list(values[name], name))
    if "binds" in values:
        values["binds"] = tuple(_bind(each) for each in values["binds"])
    if "relays" in values:
        values["relays"] = tuple(_built(Relay, _object(Relay, each)) for each in values["relays"])
    if "devices" in values:
        values["devices"] = tuple(_path(each, "A device") for each in values["devices"])
    if "limits" in values:
        values["limits"] = _built(Limits, _object(Limits, values["limits"]))
    wall: Wall = _built(Wall, values)
    return wall


def bwrap_arguments(wall: Wall, code: Path, etc: Mapping[str, int], seccomp: int) -> list[str]:
    """The options of bwrap for a wall, without the program to run. Nothing secret is in them.

    Args:
        wall: the wall.
        code: folder outside that holds the package `confinement`, of which inner.py runs inside.
        etc: for each file of `etc_files`, a file descriptor to read its text from.
        seccomp: file descriptor of the system call filter.
    """
    options = [
        "--unshare-user", "--uid", str(UID), "--gid", str(UID), *(() if wall.nested else ("--disable-userns",)),
        "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--unshare-cgroup",
        "--cap-drop", "ALL", "--new-session", "--die-with-parent", "--clearenv", "--as-pid-1",
        "--hostname", wall.hostname,
    ]  # fmt: skip
    for source, target, needed in software(wall.root):
        options += ["--ro-bind" if needed else "--ro-bind-try", source, target]
    options += ["--tmpfs", "/usr/local", "--remount-ro", "/usr/local"]
    for name in ("bin", "sbin", "lib", "lib64"):
        options += ["--symlink", f"usr/{name}", f"/{name}"]
    options += ["--dir", "/etc", "--dir", "/var", "--symlink", "/tmp", "/var/tmp"]  # noqa: S108 - inside the wall
    for path, descriptor in etc.items():
        options += ["--perms", "0444", "--ro-bind-data", str(descriptor), path]
    options += ["--proc", "/proc", "--dev", "/dev", "--size", str(wall.shm), "--tmpfs", "/dev/shm"]  # noqa: S108
    for device in wall.devices:
        options += ["--dev-bind", str(device), str(device)]
    options += ["--size", str(wall.tmp), "--perms", "1777", "--tmpfs", "/tmp"]  # noqa: S108
    options += ["--tmpfs", "/home", "--bind", str(wall.home), HOME, "--tmpfs", "/run"]
    options += ["--ro-bind", str(code / "confinement"), f"{CODE}/confinement"]
    for bind in sorted(wall.binds, key=lambda each: each.target.parts):
        options += ["--bind" if bind.writable else "--ro-bind", str(bind.source), str(bind.target)]
    for path in ("/run", "/home", "/dev", "/"):
        options += ["--remount-ro", path]
    options += ["--chdir", "/", "--seccomp", str(seccomp)]
    return options
