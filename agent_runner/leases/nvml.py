"""The part of NVIDIA's management library (`nvidia-ml-py`, imported as `pynvml`) that is used here.

The names are NVIDIA's own, so the module itself fits the protocol, and a test puts its own in that place.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence
from typing import Any, Protocol, cast

NOT_FOUND = 6
GPU_IS_LOST = 15
RESET_REQUIRED = 16
GPU_NOT_FOUND = 28
_GONE = frozenset((NOT_FOUND, GPU_IS_LOST, RESET_REQUIRED, GPU_NOT_FOUND))


class MemoryInfo(Protocol):
    """Bytes of a device's memory."""

    @property
    def total(self) -> Any: ...
    @property
    def used(self) -> Any: ...


class ProcessInfo(Protocol):
    """A process with a context on a device. `usedGpuMemory` is None where it may not be told."""

    @property
    def pid(self) -> int: ...
    @property
    def usedGpuMemory(self) -> int | None: ...


class Nvml(Protocol):
    """Functions of `pynvml`; every one raises `NVMLError`, whose `value` is NVIDIA's error code."""

    @property
    def NVMLError(self) -> type[Exception]: ...

    def nvmlInit(self) -> None: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int, /) -> Any: ...
    def nvmlDeviceGetHandleByUUID(self, uuid: str, /) -> Any: ...
    def nvmlDeviceGetUUID(self, handle: Any, /) -> str: ...
    def nvmlDeviceGetName(self, handle: Any, /) -> str: ...
    def nvmlDeviceGetMinorNumber(self, handle: Any, /) -> int: ...
    def nvmlDeviceGetMemoryInfo(self, handle: Any, /) -> MemoryInfo: ...
    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any, /) -> Sequence[ProcessInfo]: ...
    def nvmlSystemGetProcessName(self, pid: int, /) -> str: ...
    def nvmlDeviceGetMigMode(self, handle: Any, /) -> Sequence[int]: ...
    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Any, /) -> int: ...
    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Any, index: int, /) -> Any: ...
    def nvmlDeviceGetGpuInstanceId(self, handle: Any, /) -> int: ...
    def nvmlDeviceGetComputeInstanceId(self, handle: Any, /) -> int: ...


@functools.cache
def installed() -> Nvml | None:
    """NVIDIA's Python library; None where it is not installed."""
    try:
        return cast(Nvml, importlib.import_module("pynvml"))
    except ImportError:
        return None


def code(error: Exception) -> int:
    """NVIDIA's number of an error; 999 ("unknown") where it has none."""
    return int(getattr(error, "value", 999))


def is_gone(error: Exception) -> bool:
    """Whether the error says that the device cannot be used until it, or the machine, is reset."""
    return code(error) in _GONE
