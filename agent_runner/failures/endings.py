"""A failure without an exception: limits, signals, the kernel, results that are no good."""

from __future__ import annotations

import re
from dataclasses import replace

from agent_runner.failures.draft import Draft, where
from agent_runner.failures.evidence import Evidence
from agent_runner.failures.last_words import caught_before_the_end, machine_words
from agent_runner.failures.memory import LIKELY, likely_memory, out_of_memory, stopped_for_memory
from agent_runner.failures.raised import HEADER
from agent_runner.failures.status import (
    gib,
    in_phase,
    is_waiting,
    last_signs,
    stack_place,
    stacks,
    status,
    thread_signs,
)
from agent_runner.records import JobExit, Location

_FROM_OUTSIDE = frozenset({"SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"})
_CRASHES = frozenset({"SIGSEGV", "SIGBUS"})
_ABORTED = (
    "The program or a library it calls aborted itself: read the last lines it printed and mend what they "
    "name."
)
_SET_BY_PROGRAM = {
    "SIGALRM": "The program set an alarm (`signal.alarm`, `setitimer`) that nothing handles: take it out, or "
    "handle it, so that the results are written.",
    "SIGXCPU": "The program limits its own CPU time (`RLIMIT_CPU`): take that out.",
    "SIGPIPE": "The program wrote to a command or a socket that had ended: look at what that command said.",
}
_WITHOUT_WORKERS = "Without workers (`num_workers=0`) the crash names its line."
_FATAL = re.compile(
    r"^(?:Fatal Python error: |ERROR: Unexpected )((?i:segmentation fault|bus error))\b",
    re.MULTILINE,
)
_TOO_SLOW = (
    "If the line named waits for something or loops without an end, mend that. Otherwise make the run "
    "shorter: fewer steps or a smaller dictionary, no Python loop over tokens or features where one "
    "tensor operation does it, no `.item()` or print in the inner loop."
)
_SILENT = (
    "Look for a loop that does not end or a wait (a lock, a queue, a download) at the line named. If "
    "the work is only slow, print progress now and then."
)
_WAITING = (
    "The line named waits for what does not come: a lock that is held, a queue that nobody fills or "
    "empties, a worker or a command that does not end or waits itself, an event that is set only later. "
    "Mend the order of those, and give the wait a timeout."
)
_RESULTS_MISSING = (
    "Write `final_info.json` into the folder given as --out_dir on every way out of the program; the "
    "template's harness does so when `main` is left as it is. If the program has such a line and did "
    "not reach it, look for an early return or an `except` that says nothing."
)
_RESULTS = ("results_missing", "results_stale", "locked_files_changed")
_LOCKED = (
    "Take out what writes to those files. What a run is measured with stays as the template has it; put what "
    "the method needs into the files you may edit, and what it writes into the folder given as --out_dir."
)
# Errors of the disk by which a log could not be written, in words.
_REFUSED = {
    "ENOSPC": "the disk had no space left",
    "EDQUOT": "the disk quota was used up",
    "EIO": "the disk gave an input/output error",
}
_DISK_FULL = (
    "Nothing shows that the edit caused this. An operator has to free space on the disk that holds the "
    "records, or to see why it fails; then send the same proposal again."
)
_RESULTS_STALE = (
    "Write the results anew in this run; do not read, copy or keep the `final_info.json` of an "
    "earlier one."
)
_RESULTS_NOT_FINITE = (
    "Make every metric a plain finite number. A NaN or an infinity comes from the training or the "
    "metric itself, so mend it there; do not replace it by a constant."
)
_RESULTS_NOT_JSON = (
    "Write `final_info.json` once, at the end, with `json.dump` inside `with open(...)`, so that it is "
    "complete before the program ends; `os._exit` drops what is not yet written."
)
_RESULTS_INVALID = (
    "Correct what is written to `final_info.json`: one JSON object (a dict, not its text), with every "
    "metric a plain finite number."
)


def stopped_by_limit(evidence: Evidence, end: JobExit) -> Draft | None:
    """Explain an end that the runner or the kernel decided and recorded; None for any other."""
    if end.reason == "cancelled":
        started = end.returncode is not None or end.signal is not None
        return Draft(
            "cancelled",
            "The run was cancelled." if started else "The run was cancelled before it started.",
            "Send the proposal again if its result is still wanted.",
            "" if started else "before start",
            evidence=status(evidence),
        )
    if end.reason == "not_started":
        return Draft(
            "not_started",
            f"The experiment could not be started: {end.message or 'no reason was recorded'}",
            "Nothing in the edit caused this: an operator has to look at the command and the machine.",
        )
    if end.reason in ("output", "disk", "processes"):
        return _too_much(evidence, end)
    if end.reason == "disk_full":
        return _disk_filled_by_others(evidence, end)
    if cause := stopped_for_memory(evidence, end):
        return out_of_memory(evidence, cause)
    return None


def refused_by_disk(evidence: Evidence, end: JobExit) -> Draft | None:
    """Explain an end without a known cause by the disk, where it did not take the output; else None."""
    why = _REFUSED.get(end.log_error or "")
    if why is None:
        return None
    code = "no return code" if end.returncode is None else f"return code {end.returncode}"
    signal = f" ({evidence.ended_by})" if evidence.ended_by else ""
    problem = evidence.results_problem
    found = f" {problem.message.rstrip('.')}." if problem and problem.message else ""
    return Draft(
        "disk_full",
        f"While the run went on{in_phase(evidence)}, {why} ({end.log_error}), so not all of its output "
        f"could be kept. It ended with {code}{signal}, and nothing that was kept tells another cause.{found}",
        _DISK_FULL,
        evidence=last_signs(evidence),
    )


def _disk_filled_by_others(evidence: Evidence, end: JobExit) -> Draft:
    found = f": {end.message}" if end.message else ""
    return Draft(
        "disk_full",
        f"The run was stopped{in_phase(evidence)} because the disk was nearly full. It had not written more "
        f"than it may{found}.",
        _DISK_FULL,
        location=stack_place(evidence),
        evidence=last_signs(evidence),
    )


def timed_out(evidence: Evidence, end: JobExit) -> Draft | None:
    """Explain an end by the clock, with the line that was running where a stack dump tells it."""
    limits = evidence.limits
    dump = stacks(evidence)
    location = dump.place
    at = f" It was at {where(location)}." if location else ""
    phase = in_phase(evidence)
    if evidence.ended_by == "SIGKILL":
        at += " It did not end when it was asked to (SIGTERM), and was killed."
    if end.reason == "timeout":
        limit = f"its limit of {limits.time_s:g} s" if limits else "its time limit"
        message = f"The run was stopped{phase} after {end.seconds:.0f} s, at {limit}.{at}"
        remedy = _WAITING if is_waiting(dump) else _TOO_SLOW
        kind = "timeout"
    elif end.reason == "no_output":
        quiet = (
            f" for {limits.no_output_s:g} s" if limits and limits.no_output_s else " for too long"
        )
        message = (
            f"The run was stopped{phase} after {end.seconds:.0f} s: it printed nothing{quiet}.{at}"
        )
        remedy = _WAITING if is_waiting(dump) else _SILENT
        kind = "no_output_timeout"
    else:
        return None
    return Draft(
        kind,
        message,
        remedy,
        location=location,
        evidence=(*thread_signs(dump), *last_signs(evidence)),
    )


def by_signal(evidence: Evidence, end: JobExit) -> Draft | None:
    """Explain an end by a signal that the runner did not send; None when there was none."""
    name = evidence.ended_by
    if name is None:
        return None
    known_by = likely_memory(evidence, end) if name == "SIGKILL" else None
    if known_by is not None:
        return out_of_memory(evidence, LIKELY, known_by)
    printed = machine_words(evidence) if name == "SIGABRT" else None
    if printed is not None:
        return printed
    dump = stacks(evidence)
    location = dump.place
    at = f" at {where(location)}" if location else ""
    lines = (*thread_signs(dump), *last_signs(evidence))
    if name in _CRASHES:
        crash = _stack_overflow if dump.is_recursion else _segfault
        return replace(crash(name, location), location=location, evidence=lines)
    if name in _FROM_OUTSIDE:
        if end.signal is None and (end.returncode or 0) > 0 and end.reason == "exited":
            return _passed_on(name, end, location, lines)
        if evidence.is_out_of_reach:
            return _by_itself(name, end, location, lines)
        return Draft(
            "killed_by_signal",
            f"The run was killed by {name}{in_phase(evidence)}; the runner did not send it, and who "
            "did is not known. No out-of-memory kill was counted.",
            "Nothing shows that the edit caused this. Send the same proposal again; if it returns, "
            "look at the memory the run uses.",
            "outside",
            location=location,
            evidence=lines,
        )
    return Draft(
        "killed_by_signal",
        f"The run was ended by {name}{at}{in_phase(evidence)}.",
        _SET_BY_PROGRAM.get(name, _ABORTED),
        location=location,
        evidence=lines,
    )


def crashed_worker(evidence: Evidence) -> Draft | None:
    """Explain a worker process that crashed in compiled code, where its stack dump tells so."""
    found = _FATAL.search(evidence.stack_dump) or _FATAL.search(evidence.clean_stderr)
    if found is None:
        return None
    dump = stacks(evidence)
    crash = _stack_overflow if dump.is_recursion else _segfault
    draft = crash(f"{found[1].lower()} in a worker process", dump.place)
    remedy = draft.remedy if dump.place else f"{draft.remedy} {_WITHOUT_WORKERS}"
    lines = (*thread_signs(dump), *last_signs(evidence))
    return replace(draft, location=dump.place, remedy=remedy, evidence=lines)


def _passed_on(name: str, end: JobExit, location: Location | None, lines: tuple[str, ...]) -> Draft:
    """The exit code is a signal's, and the program was not ended by one: it chose the code, or passed it on."""
    return Draft(
        "killed_by_signal",
        f"Return code {end.returncode}: the program ended itself with it, as a shell does when a command it "
        f"started was killed by {name}. The program itself was not killed, and no out-of-memory kill was "
        "counted.",
        "Look at what the program exits with, and at the commands it starts: end with an exception that says "
        "what is wrong, or mend the command.",
        location=location,
        evidence=lines,
    )


def _by_itself(name: str, end: JobExit, location: Location | None, lines: tuple[str, ...]) -> Draft:
    """The signal came from inside the sandbox: from the program, or from a process that it started."""
    counted = "" if end.oom_kills else ", and no out-of-memory kill was counted"
    return Draft(
        "killed_by_signal",
        f"The program ended itself by {name}: at {end.level} nothing outside can reach it but this machine's "
        f"root and the runner's own user. The runner did not send the signal{counted}.",
        "Look for what sends the signal (`os.kill`, `os.killpg`, `signal.raise_signal`, a command that is "
        "started), take it out, and end with an exception that says what is wrong.",
        location=location,
        evidence=lines,
    )


def _segfault(name: str, location: Location | None) -> Draft:
    at = f" at {where(location)}" if location else ""
    return Draft(
        "segfault",
        f"The interpreter crashed ({name}){at}: compiled code touched memory it does not own.",
        "Look for wrong sizes or dtypes handed to compiled code (ctypes, `as_strided`, custom "
        "kernels, very deep recursion) near the line named, and use plain torch operations.",
    )


def _stack_overflow(name: str, location: Location | None) -> Draft:
    at = f" at {where(location)}" if location else ""
    return Draft(
        "recursion_error",
        f"The interpreter crashed ({name}){at}: calls without an end ran over the stack.",
        f"The calls through {where(location)} have no end: a property or `__getattr__` that reads "
        "itself, functions that call each other, or a circle in the data. Give the recursion an end; "
        "a higher `sys.setrecursionlimit` only turns the exception into this crash.",
    )


def bad_results(evidence: Evidence) -> Draft | None:
    """Explain a program that ended well and left no usable results; None when they are usable."""
    problem = evidence.results_problem
    if problem is None or problem.severity != "error":
        return None
    kind = problem.kind if problem.kind in _RESULTS else "results_invalid"
    message = problem.message or f"The results cannot be used ({problem.kind})."
    caught = _caught(evidence) if kind in ("results_missing", "results_stale") else None
    if caught is not None:
        return replace(caught, message=f"{caught.message}\n{message}")
    return Draft(
        kind,
        message,
        _results_remedy(kind, problem.message),
        evidence=last_signs(evidence),
    )


def _caught(evidence: Evidence) -> Draft | None:
    """Return the exception that the program only printed a line of; one with a traceback speaks for itself."""
    told = evidence.exception or HEADER in evidence.clean_stderr + evidence.clean_stdout
    return None if told else caught_before_the_end(evidence)


def _results_remedy(kind: str, message: str) -> str:
    if kind == "results_missing":
        return _RESULTS_MISSING
    if kind == "results_stale":
        return _RESULTS_STALE
    if kind == "locked_files_changed":
        return _LOCKED
    if "is not a finite number" in message:
        return _RESULTS_NOT_FINITE
    return _RESULTS_NOT_JSON if "it is not JSON" in message else _RESULTS_INVALID


def lost(evidence: Evidence) -> Draft:
    """Explain a job whose end nobody saw."""
    return Draft(
        "worker_lost",
        f"Nobody saw the run end{in_phase(evidence)}: the machine or the process that watched it "
        "went away.",
        "Nothing in the edit caused this. Send the same proposal again.",
        evidence=last_signs(evidence),
    )


def _too_much(evidence: Evidence, end: JobExit) -> Draft:
    limits = evidence.limits
    if end.reason == "output":
        limit = f" of {gib(limits.output_bytes)}" if limits else ""
        kind, message = "output_limit", f"The run printed more than its limit{limit}"
        remedy = "Print a line every few hundred steps, not every step, and no whole tensors."
    elif end.reason == "processes":
        limit = f" of {limits.processes}" if limits and limits.processes else ""
        kind, message = "process_limit", f"The run had more processes at once than its limit{limit}"
        remedy = "Start fewer workers, and wait for the ones that have ended."
    else:
        limit = f" of {limits.disk_mb} MB" if limits and limits.disk_mb else ""
        kind, message = "disk_limit", f"The run wrote more to disk than its limit{limit}"
        remedy = "Save fewer or smaller files: no checkpoint per step, no raw activations."
    location = stack_place(evidence)
    at = f" It was at {where(location)}." if location else ""
    found = f" {end.message}." if end.message else ""
    message += f"{in_phase(evidence)}.{found}{at}"
    return Draft(kind, message, remedy, location=location, evidence=last_signs(evidence))
