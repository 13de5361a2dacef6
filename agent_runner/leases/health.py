"""Whether a GPU is as free as it was: the memory in use on it, and who holds it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from agent_runner.leases import nvml as library
from agent_runner.leases.gpus import Gpu
from agent_runner.leases.nvml import Nvml

# An idle GPU's figure moves by a few MiB; the smallest CUDA context left behind is larger than this.
TOLERANCE_BYTES = 128 * 2**20
_GIB = 2**30
_NAME_LIMIT = 80
_SHOWN_HOLDERS = 3


@dataclass(frozen=True)
class Holder:
    """A process with a compute context on a GPU. `memory_bytes` is None where it may not be told."""

    pid: int
    name: str
    memory_bytes: int | None

    def __str__(self) -> str:
        size = "" if self.memory_bytes is None else f", {_size(self.memory_bytes)}"
        return f"{self.name} (pid {self.pid}{size})"


@dataclass(frozen=True)
class GpuState:
    """A look at a GPU. `reason` says why it is not free, or why that cannot be told.

    A GPU whose memory may not be read (no permission) counts as free: there is nothing to tell it by.
    `used_bytes` is None then, and also where the GPU does not answer, which is never free.
    """

    free: bool
    used_bytes: int | None = None
    holders: tuple[Holder, ...] = ()
    reason: str = ""

    @property
    def lost(self) -> bool:
        """Whether the GPU does not answer any more."""
        return not self.free and self.used_bytes is None


def look(
    gpu: Gpu,
    base_bytes: int | None = None,
    *,
    known: Collection[int] = (),
    nvml: Nvml | None = None,
) -> GpuState:
    """Look once at a GPU.

    base_bytes: what was in use on it before the run. It is free if no more than `TOLERANCE_BYTES` above
        that are, and no process but the `known` ones (pids seen before the run) holds it. None: any
        GPU that answers is free.
    """
    nvml = nvml or library.installed()
    if nvml is None:
        return GpuState(True, reason=f"{gpu} cannot be looked at: nvidia-ml-py is not installed")
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(gpu.uuid)
        used = int(nvml.nvmlDeviceGetMemoryInfo(handle).used)
    except nvml.NVMLError as error:
        if library.is_gone(error):
            return GpuState(False, reason=f"{gpu} does not answer: {error}")
        return GpuState(True, reason=f"{gpu} cannot be looked at: {error}")
    try:
        found = _holders(nvml, handle)
    except nvml.NVMLError as error:
        if library.is_gone(error):
            return GpuState(False, reason=f"{gpu} does not answer: {error}")
        found = ()
    if base_bytes is None:
        return GpuState(True, used, found)
    reason = _not_as_before(gpu, used, base_bytes, found, known)
    return GpuState(not reason, used, found, reason)


def wait_until_free(
    gpu: Gpu,
    base_bytes: int | None,
    patience_s: float = 10.0,
    poll_s: float = 0.1,
    *,
    known: Collection[int] = (),
    stop: Callable[[], bool] = lambda: False,
    nvml: Nvml | None = None,
) -> GpuState:
    """Look until the GPU is free, is lost, or patience is at an end. Parameters as in `look`.

    The driver may need seconds to take back the memory of a killed process. `stop` ends the wait early.
    """
    deadline = time.monotonic() + patience_s
    while True:
        state = look(gpu, base_bytes, known=known, nvml=nvml)
        if state.free or state.lost or stop() or time.monotonic() >= deadline:
            return state
        time.sleep(poll_s)


def _holders(nvml: Nvml, handle: Any) -> tuple[Holder, ...]:
    found = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    return tuple(
        Holder(process.pid, _name(nvml, process.pid), process.usedGpuMemory) for process in found
    )


def _name(nvml: Nvml, pid: int) -> str:
    """A process's own word for its name, so nothing but printable text of it, and not much."""
    try:
        name = nvml.nvmlSystemGetProcessName(pid)
    except (nvml.NVMLError, UnicodeDecodeError):
        return "a process"
    printable = "".join(c if c.isprintable() else "?" for c in name)
    return printable[-_NAME_LIMIT:] or "a process"


def _not_as_before(
    gpu: Gpu, used: int, base: int, found: tuple[Holder, ...], known: Collection[int]
) -> str:
    new = [holder for holder in found if holder.pid not in known]
    parts = []
    if used > base + TOLERANCE_BYTES:
        parts.append(f"{_size(used)} of {gpu} are in use, {_size(base)} were before the run")
    if new:
        shown = ", ".join(map(str, new[:_SHOWN_HOLDERS]))
        more = f" and {len(new) - _SHOWN_HOLDERS} more" if len(new) > _SHOWN_HOLDERS else ""
        parts.append(f"held by {shown}{more}" if parts else f"{gpu} is held by {shown}{more}")
    elif parts:
        parts.append("no process is named as its holder")
    return "; ".join(parts)


def _size(count: int) -> str:
    return f"{count / _GIB:.1f} GiB"
