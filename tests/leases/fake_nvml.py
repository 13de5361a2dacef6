"""NVIDIA's library as a test would like it, at the seam of `agent_runner.leases.nvml.Nvml`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

NOT_SUPPORTED = 3
NO_PERMISSION = 4
NOT_FOUND = 6
DRIVER_NOT_LOADED = 9
GPU_IS_LOST = 15
GIB = 2**30


class FakeError(Exception):
    """As `pynvml.NVMLError`: a number, and a text for it."""

    def __init__(self, value: int, text: str = "") -> None:
        super().__init__(text or f"error {value}")
        self.value = value


@dataclass
class Process:
    pid: int
    usedGpuMemory: int | None
    name: str = "python3"


@dataclass
class Memory:
    total: int
    used: int


@dataclass
class Board:
    """A GPU, or a MIG device. `fails` maps a function's name to the code it fails with."""

    uuid: str
    name: str = "NVIDIA H200"
    minor: int = 0
    total: int = 140 * GIB
    used: list[int] = field(
        default_factory=lambda: [GIB]
    )  # what successive looks see; the last stays
    processes: list[Process] = field(default_factory=list)
    mig: list[Board | None] | None = None  # None in the list: a free place
    instance: tuple[int, int] = (0, 0)  # GPU instance, compute instance
    fails: dict[str, int] = field(default_factory=dict)
    lost: bool = False


class FakeNvml:
    """Functions of `pynvml`; a handle is the board itself."""

    NVMLError = FakeError

    def __init__(self, *boards: Board, init_fails: int | None = None) -> None:
        self.boards = list(boards)
        self.init_fails = init_fails

    def _check(self, handle: Board, name: str) -> None:
        if handle.lost:
            raise FakeError(GPU_IS_LOST, "GPU is lost")
        if name in handle.fails:
            raise FakeError(handle.fails[name], "Insufficient Permissions")

    def _all(self) -> list[Board]:
        parts = [part for board in self.boards for part in board.mig or () if part]
        return [*self.boards, *parts]

    def nvmlInit(self) -> None:
        if self.init_fails is not None:
            raise FakeError(self.init_fails, "Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:
        return len(self.boards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Board:
        self._check(self.boards[index], "handle")
        return self.boards[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Board:
        for board in self._all():
            if board.uuid == uuid:
                self._check(board, "handle")
                return board
        raise FakeError(NOT_FOUND, "Not Found")

    def nvmlDeviceGetUUID(self, handle: Board) -> str:
        return handle.uuid

    def nvmlDeviceGetName(self, handle: Board) -> str:
        return handle.name

    def nvmlDeviceGetMinorNumber(self, handle: Board) -> int:
        self._check(handle, "minor")
        return handle.minor

    def nvmlDeviceGetMemoryInfo(self, handle: Board) -> Memory:
        self._check(handle, "memory")
        used = handle.used.pop(0) if len(handle.used) > 1 else handle.used[0]
        return Memory(handle.total, used)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Board) -> list[Process]:
        self._check(handle, "processes")
        return list(handle.processes)

    def nvmlSystemGetProcessName(self, pid: int) -> str:
        for board in self._all():
            for process in board.processes:
                if process.pid == pid and process.name:
                    return process.name
        raise FakeError(NOT_FOUND, "Not Found")

    def nvmlDeviceGetMigMode(self, handle: Board) -> list[int]:
        self._check(handle, "mig")
        if handle.mig is None:
            raise FakeError(NOT_SUPPORTED, "Not Supported")
        return [1, 1]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Board) -> int:
        return len(handle.mig or ())

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Board, index: int) -> Any:
        part = (handle.mig or [])[index]
        if part is None:
            raise FakeError(NOT_FOUND, "Not Found")
        return part

    def nvmlDeviceGetGpuInstanceId(self, handle: Board) -> int:
        return handle.instance[0]

    def nvmlDeviceGetComputeInstanceId(self, handle: Board) -> int:
        return handle.instance[1]
