"""Real processes that stand in for servers and shims, and a monitor over a false NVIDIA library."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fake_nvml import GIB, Board, FakeNvml

from agent_runner.leases import Gpu, GpuState, Lease, LeaseDesk, health

PATIENCE_S = 60.0
FORK = multiprocessing.get_context("fork")
_SHIM = """
import fcntl, os, sys
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(lock, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


def until(ask: Callable[[], Any]) -> Any:
    """Wait until the answer is true, and return it."""
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := ask()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
    return answer


def never() -> bool:
    return False


def silent(stage: str, text: str) -> None:
    del stage, text


def some_gpus(count: int) -> tuple[Gpu, ...]:
    return tuple(Gpu(n, f"GPU-{n}", "a GPU", 80 * GIB, (f"/dev/nvidia{n}",)) for n in range(count))


class FakeMonitor:
    """`health`, with another NVIDIA library and less rest between looks."""

    def __init__(self, nvml: FakeNvml) -> None:
        self.nvml = nvml

    def look(self, gpu: Gpu, /) -> GpuState:
        return health.look(gpu, nvml=self.nvml)

    def wait_until_free(
        self,
        gpu: Gpu,
        base_bytes: int | None,
        patience_s: float,
        /,
        *,
        known: tuple[int, ...],
        stop: Callable[[], bool],
    ) -> GpuState:
        return health.wait_until_free(
            gpu, base_bytes, patience_s, 0.001, known=known, stop=stop, nvml=self.nvml
        )


def take(desk: LeaseDesk, holder: str, gpus: float = 0, label: str = "") -> Lease:
    """Acquire with a deadline."""
    deadline = time.monotonic() + PATIENCE_S
    return desk.acquire(
        holder,
        gpus,
        label=label,
        cancelled=lambda: time.monotonic() > deadline,
        progress=silent,
    )


def desk_of(
    folder: Path, gpus: int = 0, cpu: int = 1, *, patience_s: float = 0.0
) -> tuple[LeaseDesk, FakeNvml]:
    """A desk, and the NVIDIA library it sees: 1 GiB is in use on each GPU."""
    nvml = FakeNvml(*(Board(gpu.uuid, used=[GIB]) for gpu in some_gpus(gpus)))
    monitor = FakeMonitor(nvml)
    leases = folder / "leases"
    return LeaseDesk(leases, some_gpus(gpus), cpu, monitor=monitor, patience_s=patience_s), nvml


class Server:
    """A process that acquires one lease, and does with it what it is told."""

    def __init__(self, desk: LeaseDesk, holder: str, gpus: float = 0) -> None:
        self._pipe, other = FORK.Pipe()
        self._process = FORK.Process(target=_serve, args=(desk, holder, gpus, other), daemon=True)
        self._process.start()
        other.close()

    def has_lease(self) -> bool:
        return self._pipe.poll()

    def lease(self) -> tuple[str, ...]:
        """Wait for the lease; the UUIDs of its GPUs."""
        return self._answer()

    def bind(self, record_dir: Path) -> None:
        self._pipe.send(("bind", record_dir))
        assert self._answer() == "done"

    def release(self) -> None:
        self._pipe.send(("release", None))
        assert self._answer() == "done"
        self._process.join(PATIENCE_S)
        assert self._process.exitcode == 0

    def kill(self) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.join(PATIENCE_S)
        assert self._process.exitcode == -signal.SIGKILL

    def _answer(self) -> Any:
        assert self._pipe.poll(PATIENCE_S), "the server does not answer"
        return self._pipe.recv()


def _serve(desk: LeaseDesk, holder: str, gpus: float, pipe: Connection) -> None:
    lease = desk.acquire(holder, gpus, cancelled=never, progress=silent)
    pipe.send(tuple(gpu.uuid for gpu in lease.gpus))
    while True:
        verb, value = pipe.recv()
        if verb == "bind":
            lease.bind(value)
        else:
            lease.release()
        pipe.send("done")
        if verb == "release":
            return


@contextlib.contextmanager
def shim(record_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of a record folder, as the shim of a job does, until it is ended."""
    record_dir.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _SHIM, str(record_dir / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


@contextlib.contextmanager
def seat(folder: Path, names: Sequence[str]) -> Iterator[str]:
    """Take one of some seats that nobody else has: proof, by the kernel alone, that not too many sit.

    Raises:
        AssertionError: all seats are taken.
    """
    folder.mkdir(exist_ok=True)
    for name in names:
        descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        try:
            yield name
        finally:
            os.close(descriptor)
        return
    raise AssertionError(f"more at once than {len(names)} slots")
