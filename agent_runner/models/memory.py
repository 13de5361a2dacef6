"""How much memory can be taken on this machine without anything being killed: of the host, and of a GPU."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from agent_runner.execution.cgroup_files import V2, mounted, read

_DRIVERS = ("/dev/nvidiactl", "/dev/dxg")  # the second: Windows' subsystem for Linux


class _Files(NamedTuple):
    """The files of a memory cgroup, and the entry for cache that the kernel takes back at once."""

    limit: str
    used: str
    cache: str


_FILES = {
    V2: _Files("memory.max", "memory.current", "inactive_file"),
    "memory": _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def available_memory(
    process: str = "/proc/self", meminfo: Path = Path("/proc/meminfo")
) -> int | None:
    """Bytes of host memory that can be taken without swapping; None where unknown.

    `MemAvailable` of the machine, or less where a cgroup that we are in, such as a container's, leaves less.
    """
    rooms = [] if (free := _of_machine(meminfo)) is None else [free]
    with contextlib.suppress(OSError, ValueError):
        rooms += _of_cgroups(process)
    return min(rooms, default=None)


def _of_machine(meminfo: Path) -> int | None:
    with contextlib.suppress(OSError):
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _of_cgroups(process: str) -> Iterator[int]:
    """What is left of each limit above us."""
    for kind, hierarchy in mounted(process).items():
        if kind not in _FILES:
            continue
        files = _FILES[kind]
        for folder in hierarchy.upwards():
            limit = read(f"{folder}/{files.limit}").strip()
            used = read(f"{folder}/{files.used}").strip()
            if limit.isdigit() and used.isdigit():
                counts = dict(
                    line.split(" ", 1) for line in read(f"{folder}/memory.stat").splitlines()
                )
                yield max(0, int(limit) - int(used) + int(counts.get(files.cache, 0)))


def free_gpu_memory(environment: Mapping[str, str]) -> int | None:
    """Bytes free on the emptiest GPU of this machine; None where no GPU can be used."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if (visible is not None and visible.strip() in ("", "-1", "NoDevFiles")) or not any(
        map(os.path.exists, _DRIVERS)
    ):
        return None
    try:
        pynvml = importlib.import_module("pynvml")  # has no type hints
    except ImportError:
        return None
    return max(_free_on_each(pynvml, visible), default=None)


def _free_on_each(nvml: Any, visible: str | None) -> Iterator[int]:
    """Free bytes of the GPUs that `CUDA_VISIBLE_DEVICES` leaves; those it names by UUID are all counted."""
    named = {part.strip() for part in (visible or "").split(",") if part.strip()}
    indices = {int(part) for part in named if part.isdigit()} if named else None
    with contextlib.suppress(nvml.NVMLError), contextlib.ExitStack() as stack:
        nvml.nvmlInit()
        stack.callback(nvml.nvmlShutdown)
        for index in range(nvml.nvmlDeviceGetCount()):
            if indices and index not in indices:
                continue
            with contextlib.suppress(nvml.NVMLError):
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                yield int(nvml.nvmlDeviceGetMemoryInfo(handle).free)
