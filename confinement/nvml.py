"""What NVIDIA's management library tells of GPUs: energy, power, and where a part of a GPU is. Standard library only.

Reference: NVML API Reference Guide, "Device Queries" and "Multi Instance GPU Management".
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LIBRARY = "libnvidia-ml.so.1"
_UUID_BYTES = 96


class NvmlSilent(Exception):
    """The library is not there, or does not answer a question.

    Args:
        code: its return code (nvmlReturn_t); None when there is no library.
    """

    def __init__(self, what: str, code: int | None = None) -> None:
        super().__init__(what if code is None else f"{what}: code {code}")
        self.code = code


class _Attributes(ctypes.Structure):
    """nvmlDeviceAttributes_t."""

    _fields_ = (
        *((name, ctypes.c_uint) for name in (
            "multiprocessors", "copy", "decoders", "encoders", "jpeg", "ofa", "instance_slices", "compute_slices",
        )),
        ("megabytes", ctypes.c_ulonglong),
    )  # fmt: skip


class Nvml:
    """An open library.

    Args:
        library: with NVML's functions; made by `opened`.
    """

    def __init__(self, library: Any) -> None:
        self._library = library

    @classmethod
    @contextmanager
    def opened(cls, library: Any = None) -> Iterator[Nvml]:
        """Open the library, and close it afterwards.

        Args:
            library: with NVML's functions; None: the machine's own.

        Raises:
            NvmlSilent: there is none, or no driver answers it.
        """
        try:
            made = cls(library or ctypes.CDLL(LIBRARY))
        except OSError as error:
            raise NvmlSilent(str(error)) from error
        made._call("nvmlInit_v2")
        try:
            yield made
        finally:
            made._library.nvmlShutdown()

    def handles(self) -> dict[int, Any]:
        """The GPUs that this process can reach, by their minor numbers."""
        count = ctypes.c_uint()
        self._call("nvmlDeviceGetCount_v2", ctypes.byref(count))
        found: dict[int, Any] = {}
        for index in range(count.value):
            handle, minor = ctypes.c_void_p(), ctypes.c_uint()
            self._call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle))
            self._call("nvmlDeviceGetMinorNumber", handle, ctypes.byref(minor))
            found[minor.value] = handle
        return found

    def uuid(self, handle: Any) -> str:
        """The id of a GPU."""
        text = ctypes.create_string_buffer(_UUID_BYTES)
        self._call("nvmlDeviceGetUUID", handle, text, ctypes.c_uint(_UUID_BYTES))
        return text.value.decode("ascii", "replace")

    def millijoules(self, handle: Any) -> int | None:
        """What a GPU has used since its driver was loaded; None where it has no such counter (before Volta)."""
        return self._asked("nvmlDeviceGetTotalEnergyConsumption", handle, ctypes.c_ulonglong())

    def milliwatts(self, handle: Any) -> int | None:
        """What the whole board draws now; None where it cannot tell."""
        return self._asked("nvmlDeviceGetPowerUsage", handle, ctypes.c_uint())

    def mig_place(self, uuid: str) -> tuple[int, int, int]:
        """Minor number of the GPU, GPU instance and compute instance of a MIG device."""
        part = self._by_uuid(uuid)
        parent, minor = ctypes.c_void_p(), ctypes.c_uint()
        self._call("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", part, ctypes.byref(parent))
        self._call("nvmlDeviceGetMinorNumber", parent, ctypes.byref(minor))
        instance, compute = ctypes.c_uint(), ctypes.c_uint()
        self._call("nvmlDeviceGetGpuInstanceId", part, ctypes.byref(instance))
        self._call("nvmlDeviceGetComputeInstanceId", part, ctypes.byref(compute))
        return minor.value, instance.value, compute.value

    def mig_part(self, uuid: str) -> float:
        """Which part of its GPU a MIG device is: its slices of all slices (seven on an A100 or H100)."""
        part, parent, most = self._by_uuid(uuid), ctypes.c_void_p(), ctypes.c_uint()
        self._call("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", part, ctypes.byref(parent))
        self._call("nvmlDeviceGetMaxMigDeviceCount", parent, ctypes.byref(most))
        attributes = _Attributes()
        self._call("nvmlDeviceGetAttributes_v2", part, ctypes.byref(attributes))
        return min(1.0, int(attributes.compute_slices) / max(1, most.value))

    def _by_uuid(self, uuid: str) -> Any:
        handle = ctypes.c_void_p()
        self._call("nvmlDeviceGetHandleByUUID", ctypes.c_char_p(uuid.encode()), ctypes.byref(handle))
        return handle

    def _asked(self, name: str, handle: Any, value: Any) -> int | None:
        try:
            self._call(name, handle, ctypes.byref(value))
        except NvmlSilent:
            return None
        return int(value.value)

    def _call(self, name: str, *arguments: Any) -> None:
        try:
            function = getattr(self._library, name)
        except AttributeError as error:
            raise NvmlSilent(f"{LIBRARY} has no {name}") from error
        if code := function(*arguments):
            raise NvmlSilent(name, code)
