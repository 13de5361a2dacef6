"""How a job ended, in the few plain lines that stand beside every diagnosis."""

from __future__ import annotations

from agent_runner.failures.draft import where
from agent_runner.failures.evidence import Evidence
from agent_runner.failures.location import Places, StackDump, read_dump
from agent_runner.failures.text import last_lines
from agent_runner.records import Location

_GIB = 2**30
_THREADS_SHOWN = 3
# Where the standard library waits: for another thread, a process, a queue or the network.
_WAITS = (
    "/threading.py",
    "/queue.py",
    "/selectors.py",
    "/subprocess.py",
    "/socket.py",
    "/ssl.py",
    "/concurrent/futures/_base.py",
    "/multiprocessing/connection.py",
    "/multiprocessing/popen_fork.py",
    "/multiprocessing/queues.py",
    "/multiprocessing/synchronize.py",
)


def gib(size: float) -> str:
    """Return a size in bytes as `11.8 GiB`, or in MiB below one GiB."""
    return f"{size / _GIB:.1f} GiB" if size >= _GIB else f"{size / 2**20:.0f} MiB"


def status(evidence: Evidence) -> tuple[str, ...]:
    """Return what is known of the end of the job: code, signal, device, memory, model."""
    return tuple(line for line in (_ended(evidence), _memory(evidence), _model(evidence)) if line)


def last_signs(evidence: Evidence) -> tuple[str, ...]:
    """Return how the job ended, then the last lines of both streams."""
    lines = last_lines(evidence.clean_stderr, 5) + last_lines(evidence.clean_stdout, 3)
    return (*status(evidence), *(f"output: {line.strip()}" for line in lines))


def in_phase(evidence: Evidence) -> str:
    """Return ` in phase 'training'`, or nothing where the phase is not known."""
    return f" in phase '{evidence.reached_phase}'" if evidence.reached_phase else ""


def stack_place(evidence: Evidence) -> Location | None:
    """Return the line that a stack dump names."""
    return stacks(evidence).place


def stacks(evidence: Evidence) -> StackDump:
    """Return what the stack dump says: the shim's own, or one the interpreter printed."""
    places = Places(evidence.root, evidence.editable)
    own = read_dump(evidence.stack_dump, places)
    return own if own.place else read_dump(evidence.clean_stderr, places)


def is_waiting(dump: StackDump) -> bool:
    """Say whether the program stood in a wait of the standard library when it was ended."""
    return dump.innermost is not None and dump.innermost.file.endswith(_WAITS)


def thread_signs(dump: StackDump) -> tuple[str, ...]:
    """Return where the threads stood: the innermost frame of the one named, and the lines of others."""
    innermost = (f"it stood in {where(dump.innermost)}",) if dump.innermost else ()
    others = (f"another thread was at {where(place)}" for place in dump.others[:_THREADS_SHOWN])
    return (*innermost, *others)


def memory_allowed(evidence: Evidence) -> int | None:
    """Return how many bytes of host memory the job could use: its limit or what the machine had."""
    limit = evidence.limits.memory_mb if evidence.limits else None
    sizes = [size for size in (limit and limit * 2**20, evidence.available_memory_bytes) if size]
    return min(sizes) if sizes else None


def _ended(evidence: Evidence) -> str:
    end = evidence.exit
    parts: list[str] = []
    if end is not None:
        code = "no return code" if end.returncode is None else f"return code {end.returncode}"
        signal = f" ({evidence.ended_by})" if evidence.ended_by else ""
        after = f" after {end.seconds:.1f} s" if end.seconds else ""
        parts.append(f"{code}{signal}{after}")
    if evidence.used_device:
        parts.append(f"device: {evidence.used_device}")
    return ", ".join(parts)


def _memory(evidence: Evidence) -> str:
    end = evidence.exit
    parts: list[str] = []
    if end is not None and end.peak_memory_bytes:
        parts.append(f"peak host memory {gib(end.peak_memory_bytes)}")
    allowed = memory_allowed(evidence)
    if allowed and parts:
        parts.append(f"of {gib(allowed)} it could use")
    if end is not None and end.oom_kills:
        parts.append(f"{end.oom_kills} out-of-memory kill(s) counted by the kernel")
    return ", ".join(parts)


def _model(evidence: Evidence) -> str:
    model = evidence.model
    if model is None:
        return ""
    if model.granted == model.requested:
        return f"model: {model.granted}"
    return f"model: {model.requested} asked for, {model.granted} granted ({model.reason or 'no reason given'})"
