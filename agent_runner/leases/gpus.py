"""Which GPUs this server may lend, and the device files that a program needs to use each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_runner.leases import nvml as library
from agent_runner.leases.nvml import Nvml

MIG_MINORS = Path("/proc/driver/nvidia-caps/mig-minors")
_MIG_ENABLED = 1
_SHARED_NODES = ("/dev/nvidiactl", "/dev/nvidia-uvm")
_OPTIONAL_NODES = ("/dev/nvidia-uvm-tools",)  # profilers want it; not every machine has it


@dataclass(frozen=True)
class Gpu:
    """A GPU, or one MIG device of a GPU that is divided.

    index: NVML's number of the GPU (bus order); several MIG devices have the same.
    devices: the device files a program needs, whether they are there or not.
    mig, parent_uuid: of a MIG device, its number on its GPU and that GPU's UUID.
    """

    index: int
    uuid: str
    name: str
    total_memory_bytes: int
    devices: tuple[str, ...]
    mig: int | None = None
    parent_uuid: str | None = None

    @property
    def label(self) -> str:
        """`0`; `0:1` for MIG device 1 of GPU 0."""
        return str(self.index) if self.mig is None else f"{self.index}:{self.mig}"

    def missing_devices(self) -> tuple[str, ...]:
        """The device files that are not there.

        Without `/dev/nvidia-uvm` CUDA quietly finds no GPU; a run in a sandbox cannot make it. As root,
        `nvidia-modprobe -u -c 0` does.
        """
        return tuple(path for path in self.devices if not os.path.exists(path))

    def __str__(self) -> str:
        return f"GPU {self.label} ({self.name})"


@dataclass(frozen=True)
class Survey:
    """The GPUs that can be lent, and why others, or all, cannot: for `agent-runner doctor`."""

    gpus: tuple[Gpu, ...] = ()
    problems: tuple[str, ...] = ()


_DRIVERS = ("/dev/nvidiactl", "/dev/dxg")  # the second: Windows' subsystem for Linux


def discover(nvml: Nvml | None = None) -> tuple[Gpu, ...]:
    """The GPUs this server may lend; none where NVIDIA's library or its driver is missing or fails."""
    if nvml is None and not any(map(os.path.exists, _DRIVERS)):
        return ()  # spares every command the import of the library, 10 ms
    return survey(nvml).gpus


def survey(
    nvml: Nvml | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    mig_minors: Path = MIG_MINORS,
) -> Survey:
    """Look for GPUs, as `discover` does, and tell what stood in the way.

    A divided GPU counts as its MIG devices. `CUDA_VISIBLE_DEVICES` of the environment bounds what may be
    lent. Its plain numbers are taken in bus order, which is CUDA's own order only with
    `CUDA_DEVICE_ORDER=PCI_BUS_ID`: where the GPUs of a machine differ, name them by UUID.
    """
    nvml = nvml or library.installed()
    if nvml is None:
        return Survey(problems=("nvidia-ml-py is not installed, so no GPU can be seen",))
    try:
        nvml.nvmlInit()
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        return Survey(problems=(f"NVIDIA's driver cannot be asked for GPUs: {error}",))
    found: list[Gpu] = []
    problems: list[str] = []
    capabilities = _mig_capabilities(mig_minors)
    for index in range(count):
        try:
            found.extend(_gpus_at(nvml, index, capabilities))
        except nvml.NVMLError as error:
            problems.append(f"GPU {index} is left out: {error}")
    return Survey(_visible(found, environment.get("CUDA_VISIBLE_DEVICES")), tuple(problems))


def _gpus_at(nvml: Nvml, index: int, capabilities: Mapping[str, str]) -> list[Gpu]:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    if _is_divided(nvml, handle):
        return list(_mig_devices(nvml, index, handle, capabilities))
    gpu = Gpu(
        index=index,
        uuid=nvml.nvmlDeviceGetUUID(handle),
        name=nvml.nvmlDeviceGetName(handle),
        total_memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
        devices=_nodes(_minor(nvml, handle)),
    )
    return [gpu]


def _is_divided(nvml: Nvml, handle: Any) -> bool:
    try:
        return nvml.nvmlDeviceGetMigMode(handle)[0] == _MIG_ENABLED
    except nvml.NVMLError as error:
        if library.is_gone(error):
            raise
        return False  # a GPU that cannot be divided


def _mig_devices(
    nvml: Nvml, index: int, parent: Any, capabilities: Mapping[str, str]
) -> Iterator[Gpu]:
    minor = _minor(nvml, parent)
    parent_uuid = nvml.nvmlDeviceGetUUID(parent)
    for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(parent)):
        try:
            handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(parent, number)
        except nvml.NVMLError as error:
            if library.code(error) == library.NOT_FOUND:
                continue  # not all places for MIG devices need be taken
            raise
        part = f"gpu{minor}/gi{nvml.nvmlDeviceGetGpuInstanceId(handle)}"
        inner = f"{part}/ci{nvml.nvmlDeviceGetComputeInstanceId(handle)}"
        rights = (capabilities.get(f"{name}/access") for name in (part, inner))
        yield Gpu(
            index=index,
            uuid=nvml.nvmlDeviceGetUUID(handle),
            name=nvml.nvmlDeviceGetName(handle),
            total_memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
            devices=(*_nodes(minor), *(node for node in rights if node)),
            mig=number,
            parent_uuid=parent_uuid,
        )


def _minor(nvml: Nvml, handle: Any) -> int | None:
    """The number in the name of the GPU's device file, which need not be its index."""
    try:
        return nvml.nvmlDeviceGetMinorNumber(handle)
    except nvml.NVMLError as error:
        if library.is_gone(error):
            raise
        return None  # a system that has no such files


def _nodes(minor: int | None) -> tuple[str, ...]:
    if minor is None:
        return tuple(path for path in ("/dev/dxg",) if os.path.exists(path))  # Linux on Windows
    optional = (path for path in _OPTIONAL_NODES if os.path.exists(path))
    return (f"/dev/nvidia{minor}", *_SHARED_NODES, *optional)


def _mig_capabilities(mig_minors: Path) -> dict[str, str]:
    """Name of a right (`gpu0/gi1/access`) -> the device file that gives it.

    Source: NVIDIA's MIG user guide, "Device Nodes and Capabilities".
    """
    try:
        lines = mig_minors.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {
        pair[0]: f"/dev/nvidia-caps/nvidia-cap{pair[1]}"
        for pair in pairs
        if len(pair) == 2 and pair[1].isdigit()
    }


def _visible(gpus: Sequence[Gpu], wanted: str | None) -> tuple[Gpu, ...]:
    """Keep what `CUDA_VISIBLE_DEVICES` names, in its order; as CUDA does, up to the first unknown name."""
    if wanted is None:
        return tuple(gpus)
    chosen: dict[Gpu, None] = {}
    for name in wanted.split(","):
        found = _named(gpus, name.strip())
        if not found:
            break
        chosen.update(dict.fromkeys(found))
    return tuple(chosen)


def _named(gpus: Sequence[Gpu], name: str) -> list[Gpu]:
    """The GPU of an index, or of the beginning of one UUID; all MIG devices of a divided one."""
    if name.isdigit():
        return [gpu for gpu in gpus if gpu.index == int(name)]
    if not name.startswith(("GPU-", "MIG-")):
        return []
    of_mig = name.startswith("MIG-")
    uuids = {gpu: gpu.uuid if of_mig else gpu.parent_uuid or gpu.uuid for gpu in gpus}
    found = [gpu for gpu in gpus if uuids[gpu].startswith(name)]
    return found if len({uuids[gpu] for gpu in found}) == 1 else []
