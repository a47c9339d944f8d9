"""Which of a machine's NVIDIA devices enter the wall of a job: those that Slurm gave it, and nothing else of the kind.

Standard library only. `entering` is a function of a `/dev`, a `/proc` and a job's environment, so it needs no GPU to be
tested; `admit` calls it on this machine. What the job was given is what slurmd says in `SLURM_JOB_GPUS` (a job may
bring `CUDA_VISIBLE_DEVICES` along, so alone it proves nothing), and where Slurm keeps jobs to their devices
(`ConstrainDevices`), what the kernel lets this job open. If the two do not agree, nothing enters and no job starts.

Sources: gres.conf(5) and sbatch(1) of Slurm 22.05; NVIDIA's driver README, chapter "The /proc/driver/nvidia interface";
NVIDIA Multi-Instance GPU User Guide, chapter "Device Nodes and Capabilities".
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from confinement.errors import WallRefused
from confinement.wall import Bind, Wall

LIBRARIES = Path("/opt/gpu/lib")
"""Where the driver's libraries lie inside, whatever root the wall has."""
# Of the driver's libraries those that computing needs, by the beginning of their names (soname(1) follows).
DRIVER = (
    "libcuda.so.", "libnvidia-ml.so.", "libnvidia-ptxjitcompiler.so.", "libnvidia-nvvm.so.", "libnvidia-gpucomp.so.",
    "libnvidia-allocator.so.",
)  # fmt: skip
# What programs inside may not keep from elsewhere: only what is set here counts.
VARIABLES = ("CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "NVIDIA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")
# Every job on a GPU opens these two besides its own.
_SHARED = ("nvidiactl", "nvidia-uvm")
_MAJORS = re.compile(r"^\s*(\d+)\s+(?:nvidia|nvidia-frontend|nvidiactl|nvidia-uvm|nvidia-caps)\s*$", re.MULTILINE)
_MINOR = re.compile(r"^Device Minor:\s*(\d+)\s*$", re.MULTILINE)
_UUID = re.compile(r"^GPU UUID:\s*(GPU-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\s*$", re.MULTILINE)
_CAPABILITY = re.compile(r"^DeviceFileMinor:\s*(\d+)\s*$", re.MULTILINE)
_OLD_MIG = re.compile(r"^MIG-(GPU-[0-9a-f-]{36})/(\d+)/(\d+)$")
_CACHED = re.compile(r"^\s*(\S+) \((?P<kind>[^)]*)\) => (/\S+)$")
_KINDS = {"x86_64": "x86-64", "aarch64": "AArch64"}
_LDCONFIG = "/sbin/ldconfig"
_LDCONFIG_SECONDS = 10.0

DeviceNumber = Callable[[Path], tuple[int, int] | None]
"""Major and minor number of a character device; None for anything else, a symbolic link included."""


@dataclass(frozen=True)
class MigPlace:
    """Where a part of a GPU in MIG mode is.

    Args:
        minor: of the GPU that it is part of.
        instance: its GPU instance.
        compute: its compute instance in that.
    """

    minor: int
    instance: int
    compute: int


@dataclass(frozen=True)
class Machine:
    """Where to look, and how.

    Args:
        dev: the folder of device nodes.
        proc: the folder of the kernel's view of its drivers.
        number: of a device node.
        may_open: whether the kernel lets this job open a device node.
        mig: the place of a MIG device by its id, as NVML knows it; None when it does not.
    """

    dev: Path
    proc: Path
    number: DeviceNumber
    may_open: Callable[[Path], bool]
    mig: Callable[[str], MigPlace | None]


@dataclass(frozen=True)
class Entering:
    """What enters a wall.

    Args:
        devices: names of device nodes, below the folder of devices.
        minors: of the GPUs, whole or parts of them.
        visible: the value of CUDA_VISIBLE_DEVICES inside: ids, where the driver tells them, else numbers from 0 on.
        mig: the ids of MIG devices; empty for whole GPUs.
    """

    devices: tuple[str, ...] = ()
    minors: tuple[int, ...] = ()
    visible: str = ""
    mig: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.devices)


NOTHING = Entering()


@dataclass(frozen=True)
class _Gpu:
    address: str
    minor: int
    uuid: str | None


def allotted(environment: Mapping[str, str]) -> tuple[str, ...]:
    """What slurmd says that this job has: numbers or ids of GPUs.

    Args:
        environment: the job's. A job cannot be submitted with variables of Slurm's own (`cluster.jobs`).
    """
    said = environment.get("SLURM_JOB_GPUS") or environment.get("SLURM_STEP_GPUS")
    if not said and environment.get("SLURM_SHARDS_ON_NODE"):
        said = environment.get("CUDA_VISIBLE_DEVICES") or environment.get("GPU_DEVICE_ORDINAL")
    return tuple(word.strip() for word in (said or "").split(",") if word.strip())


def entering(machine: Machine, environment: Mapping[str, str]) -> Entering:
    """What enters the wall of a job.

    Args:
        machine: the machine.
        environment: the job's.

    Returns:
        `NOTHING` for a job without GPUs, and on machines where other devices stand for GPUs.

    Raises:
        WallRefused: it cannot be told which devices are the job's, or one of them is not there.
    """
    given = allotted(environment)
    gpus = _gpus(machine.proc)
    if not given or not gpus:
        return NOTHING
    migs = tuple(word for word in given if word.startswith("MIG-"))
    if migs:
        if len(migs) != len(given):
            raise _refused(f"Slurm gave whole GPUs and parts of GPUs together: {','.join(given)}.")
        places = [_place(machine, gpus, word) for word in migs]
        minors = tuple(sorted({place.minor for place in places}))
        parts = [name for place in places for name in _capabilities(machine.proc, place)]
        visible = ",".join(migs)
    else:
        minors = _minors(machine, gpus, given)
        parts = []
        uuids = [gpu.uuid for minor in minors for gpu in gpus if gpu.minor == minor]
        # CUDA numbers what it can reach from 0 on; the driver hides an id until the GPU was used once.
        visible = ",".join(uuid for uuid in uuids if uuid) if all(uuids) else ",".join(map(str, range(len(minors))))
    names = (*(f"nvidia{minor}" for minor in minors), *_SHARED, *dict.fromkeys(parts))
    _check(machine, names)
    return Entering(names, minors, visible, migs)


def _gpus(proc: Path) -> list[_Gpu]:
    """The GPUs that the driver knows, in the order of their bus addresses; none where there is no driver."""
    folder = proc / "driver" / "nvidia" / "gpus"
    if not folder.is_dir():
        return []
    found = []
    for one in sorted(folder.iterdir()):
        text = (one / "information").read_text("ascii", "replace")
        minor, uuid = _MINOR.search(text), _UUID.search(text)
        if minor is None:
            raise _refused(f"The driver does not tell the number of the GPU at {one.name}.")
        found.append(_Gpu(one.name, int(minor[1]), uuid[1] if uuid else None))
    return found


def _minors(machine: Machine, gpus: list[_Gpu], given: tuple[str, ...]) -> tuple[int, ...]:
    """The numbers of the job's device nodes."""
    reachable = [gpu.minor for gpu in gpus if machine.may_open(machine.dev / f"nvidia{gpu.minor}")]
    if len(reachable) < len(gpus):
        # The kernel keeps the job to its devices: then what it lets it open is what it has.
        if len(reachable) != len(given):
            told = f"{len(given)} GPUs ({','.join(given)})"
            raise _refused(f"Slurm gave this job {told}, and the kernel lets it open {len(reachable)}.")
        return tuple(sorted(reachable))
    by_uuid = {gpu.uuid: gpu.minor for gpu in gpus if gpu.uuid}
    minors = []
    for word in given:
        if word in by_uuid:
            minors.append(by_uuid[word])
        elif word.isascii() and word.isdigit() and int(word) < len(gpus):
            # Slurm counts along the bus, or along File= of gres.conf: only where both are the same it is one GPU.
            if gpus[int(word)].minor != int(word):
                raise _refused(
                    f"GPU {word} of Slurm may be /dev/nvidia{word} or /dev/nvidia{gpus[int(word)].minor}.",
                    "Set ConstrainDevices=yes in cgroup.conf: then the kernel tells which it is.",
                )
            minors.append(int(word))
        else:
            raise _refused(f"Slurm gave this job the GPU {word[:80]!r}, and this machine has none of that name.")
    if len(set(minors)) != len(minors):
        raise _refused(f"Slurm gave this job one GPU twice: {','.join(given)}.")
    return tuple(sorted(minors))


def _place(machine: Machine, gpus: list[_Gpu], word: str) -> MigPlace:
    if (old := _OLD_MIG.match(word)) is not None:
        parents = [gpu.minor for gpu in gpus if gpu.uuid == old[1]]
        place = MigPlace(parents[0], int(old[2]), int(old[3])) if parents else None
    else:
        place = machine.mig(word)
    if place is None or place.minor not in {gpu.minor for gpu in gpus}:
        raise _refused(f"Slurm gave this job the part {word[:80]!r} of a GPU, and this machine has no such part.")
    return place


def _capabilities(proc: Path, place: MigPlace) -> list[str]:
    """The nodes that let a process use one part of a GPU; never those that configure or watch all parts."""
    instance = proc / "driver/nvidia/capabilities" / f"gpu{place.minor}" / "mig" / f"gi{place.instance}"
    found = []
    for file in (instance / "access", instance / f"ci{place.compute}" / "access"):
        try:
            number = _CAPABILITY.search(file.read_text("ascii", "replace"))
        except OSError:
            number = None
        if number is None:
            raise _refused(f"The driver does not tell which device node gives access to {file.parent}.")
        found.append(f"nvidia-caps/nvidia-cap{number[1]}")
    return found


def _check(machine: Machine, names: Iterable[str]) -> None:
    """Each name must be a character device of NVIDIA's driver, with the number that the name says."""
    majors = {int(major) for major in _MAJORS.findall((machine.proc / "devices").read_text("ascii", "replace"))}
    for name in names:
        number = machine.number(machine.dev / name)
        if number is None or number[0] not in majors:
            raise _refused(f"{machine.dev / name} is no device of NVIDIA's driver.")
        own = re.search(r"\d+$", name)
        if own is not None and number[1] != int(own[0]):
            raise _refused(f"{machine.dev / name} is the device {number[0]}:{number[1]}, not what its name says.")


def driver_files(cache: str, machine: str) -> dict[str, Path]:
    """The driver's libraries in what `ldconfig -p` prints: their names for the linker, and where they are.

    Args:
        cache: the output.
        machine: as uname(1) names it, such as `x86_64`.
    """
    found: dict[str, Path] = {}
    for line in cache.splitlines():
        match = _CACHED.match(line)
        if match is None or not match[1].startswith(DRIVER) or _KINDS.get(machine) not in match["kind"].split(","):
            continue
        found.setdefault(match[1], Path(match[3]))  # The linker takes the first, too.
    return found


def walled(wall: Wall, devices: Entering, libraries: Mapping[str, Path], memory: int | None) -> Wall:
    """The wall with the job's GPUs in it.

    Args:
        wall: as the hub asked for it.
        devices: what enters.
        libraries: of `driver_files`.
        memory: bytes that the job may use; None when that is not known.

    Returns:
        A wall with device nodes, the driver's libraries and shared memory up to the job's own; without GPUs the wall as
        it was, but without a word of GPUs in its environment.
    """
    environment = {name: value for name, value in wall.environment.items() if name not in VARIABLES}
    if not devices:
        return replace(wall, environment=environment, devices=())
    if "libcuda.so.1" not in libraries:
        raise _refused("The driver's library libcuda.so.1 is not known to the linker.", "See ldconfig -p.")
    paths = [str(LIBRARIES), *environment.get("LD_LIBRARY_PATH", "").split(":")]
    environment |= {
        "CUDA_VISIBLE_DEVICES": devices.visible,
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "LD_LIBRARY_PATH": ":".join(filter(None, paths)),
    }
    binds = tuple(Bind(path, LIBRARIES / name) for name, path in sorted(libraries.items()))
    return replace(
        wall,
        environment=environment,
        devices=tuple(Path("/dev") / name for name in devices.devices),
        binds=(*wall.binds, *binds),
        # Data loaders hand their batches over through it; what lies there counts as the job's memory.
        shm=max(wall.shm, memory or 0),
    )


def admit(wall: Wall, environment: Mapping[str, str]) -> tuple[Wall, Entering]:
    """A job's wall with what this machine's Slurm gave it, and what that is.

    Args:
        wall: as the hub asked for it.
        environment: the job's.

    Raises:
        WallRefused: it cannot be told which devices are the job's, or the driver's libraries are missing.
    """
    devices = entering(here(), environment)
    if not devices:
        return walled(wall, NOTHING, {}, None), NOTHING
    try:
        cache = subprocess.run(
            [_LDCONFIG, "-p"], check=True, capture_output=True, text=True, timeout=_LDCONFIG_SECONDS, env={"LANG": "C"}
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise _refused(f"The linker does not tell where the driver's libraries are: {error}.") from error
    files = {name: path.resolve() for name, path in driver_files(cache, os.uname().machine).items()}
    return walled(wall, devices, files, memory_of(environment)), devices


def memory_of(environment: Mapping[str, str]) -> int | None:
    """Bytes of memory that Slurm gave the job; None when it does not say."""
    mebibytes = environment.get("SLURM_MEM_PER_NODE", "")
    return int(mebibytes) * 2**20 if mebibytes.isascii() and mebibytes.isdigit() and int(mebibytes) else None


def here() -> Machine:
    """This machine."""
    return Machine(Path("/dev"), Path("/proc"), _number, _may_open, _mig)


def _number(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return (os.major(found.st_rdev), os.minor(found.st_rdev)) if stat.S_ISCHR(found.st_mode) else None


def _may_open(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW))
    except (PermissionError, FileNotFoundError):
        return False
    except OSError:
        pass  # A GPU that is broken is forbidden to nobody; whoever was given it will see.
    return True


def _mig(word: str) -> MigPlace | None:
    from confinement.nvml import Nvml, NvmlSilent  # noqa: PLC0415 - needed by jobs on parts of a GPU only

    try:
        with Nvml.opened() as nvml:
            place = nvml.mig_place(word)
    except NvmlSilent:
        return None
    return MigPlace(*place)


def _refused(what: str, do: str = "") -> WallRefused:
    return WallRefused(
        what,
        "No GPU enters a wall unless it is certain that it is this job's.",
        do or "Compare gres.conf with /proc/driver/nvidia/gpus on this node.",
    )
