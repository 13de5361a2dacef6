"""From evidence to failure: the order in which the witnesses are heard.

1. what the runner or the kernel did and recorded (cancel, memory, disk, output)
2. the exception hook's record
3. the clock
4. the signal
5. a traceback in the output, standard error before standard output
6. the disk, where it did not take the output
7. the last words of the program
"""

from __future__ import annotations

from dataclasses import replace

from agent_runner.failures.draft import Draft, where
from agent_runner.failures.endings import (
    bad_results,
    by_signal,
    crashed_worker,
    lost,
    refused_by_disk,
    stopped_by_limit,
    timed_out,
)
from agent_runner.failures.evidence import Evidence
from agent_runner.failures.exceptions import explain_chain
from agent_runner.failures.last_words import error_without_frames, silent_exit
from agent_runner.failures.location import Places, is_library
from agent_runner.failures.phases import phase_of
from agent_runner.failures.raised import Chain, chain_from_record
from agent_runner.failures.status import stacks
from agent_runner.failures.tracebacks import ending_chain, expand
from agent_runner.records import Failure, JobExit

# What reading from a worker raises when the worker is gone.
_LINK_BROKEN = ("ConnectionResetError", "EOFError", "BrokenPipeError")


def diagnose(evidence: Evidence) -> Failure | None:
    """Return why a job failed, or None when it exited with 0 and its results are usable.

    Never raises, whatever the streams or the record hold, and does a bounded amount of work. The
    charge is that of a full run; smoke and preflight runs are never charged.
    """
    draft = _explain(evidence)
    return None if draft is None else _in_phase(draft, evidence).finish()


def explain_log(
    text: str,
    *,
    returncode: int | None = None,
    phase: str | None = None,
    device: str | None = None,
    root: str = "",
    editable: tuple[str, ...] = ("experiment.py",),
) -> Failure:
    """Return the diagnosis of a saved log: both streams as one text, and the return code if it is known.

    Without a return code a log that ends in a traceback is taken for a failed run's. A log that shows
    no failure is of kind `unknown`, and says so.
    """
    end = JobExit(reason="exited", returncode=returncode) if returncode is not None else None
    evidence = Evidence(
        exit=end, stderr=text, phase=phase, device=device, root=root, editable=editable
    )
    return _in_phase(_of_log(evidence), evidence).finish()


def _in_phase(draft: Draft, evidence: Evidence) -> Draft:
    """Add the phase: as reported, else as the open calls show it, else as the last bar drawn does."""
    if draft.phase:
        return draft
    if evidence.phase is None:
        places = Places(evidence.root, evidence.editable)
        told = [raised.frames for raised in draft.chain] or [stacks(evidence).frames]
        for frames in told:
            fitting = places.fitting(frames)
            if phase := phase_of(frames, fitting):
                return replace(draft, phase=phase)
        if draft.chain:  # an exception knows better than a bar
            return draft
    return replace(draft, phase=evidence.reached_phase)


def _of_log(evidence: Evidence) -> Draft:
    end = evidence.exit
    killed = by_signal(evidence, end) if end else None
    if killed is not None:
        return killed
    text = evidence.clean_stderr
    head_cut_off = text.lstrip().startswith("...")
    chain = ending_chain(text) or (error_without_frames(text) if head_cut_off else ())
    if chain:
        return _raised(chain, evidence)
    draft = silent_exit(evidence, end)
    if draft.kind != "unknown" or not head_cut_off:
        return draft
    note = "The log begins with `...`: its head was cut off, and the cause may have stood there."
    return replace(
        draft,
        message=f"{note} {draft.message}",
        remedy="Explain the whole log instead of its tail.",
    )


def _explain(evidence: Evidence) -> Draft | None:
    end = evidence.exit
    if end is None or end.reason == "lost":
        chain = _recorded(evidence) or _printed(evidence)
        return explain_chain(chain, evidence) if chain else lost(evidence)
    if end.reason == "exited" and end.returncode == 0:
        return _ended_well(evidence)
    stopped = stopped_by_limit(evidence, end)
    if stopped is not None:
        return stopped
    recorded = _recorded(evidence)
    if recorded:
        return _with_end(_raised(recorded, evidence), end, evidence)
    refused = refused_by_disk(evidence, end)
    # SIGBUS: a page of a mapped file that the disk cannot take.
    by_disk = refused if evidence.ended_by == "SIGBUS" else None
    ended = timed_out(evidence, end) or by_disk or by_signal(evidence, end)
    if ended is not None:
        return ended
    printed = _printed(evidence)
    if refused is not None and (not printed or _is_cut_off(evidence)):
        return refused
    if not printed:
        return _silent(evidence, end)
    if _is_quoted(printed, evidence):
        return silent_exit(replace(evidence, stdout=""), end)
    return _raised(printed, evidence)


def _silent(evidence: Evidence, end: JobExit) -> Draft:
    """Explain an exit without a traceback; the crash of a worker speaks where the last words do not."""
    draft = silent_exit(evidence, end)
    crash = crashed_worker(evidence) if draft.kind == "unknown" else None
    if crash is None:
        return draft
    ended = f"The program went on, and ended with return code {end.returncode}."
    return replace(crash, message=f"{crash.message} {ended}")


def _is_cut_off(evidence: Evidence) -> bool:
    """Say whether what was printed last may lack its end, in which a traceback names the exception."""
    return not (evidence.stderr or evidence.stdout).endswith("\n")


def _raised(chain: Chain, evidence: Evidence) -> Draft:
    """Explain a chain; where it only says that a worker was killed, a crash that the worker's stack tells."""
    draft = explain_chain(chain, evidence)
    lost_worker = draft.kind == "killed_by_signal" or chain[0].name in _LINK_BROKEN
    crash = crashed_worker(evidence) if lost_worker else None
    if crash is None:
        return draft
    return replace(
        draft,
        kind=crash.kind,
        exception_type=None,
        message=f"{crash.message}\nWhat was raised over it: {draft.exception_type}: {draft.message}",
        remedy=crash.remedy,
        location=crash.location or draft.location,
        evidence=(*crash.evidence, *draft.evidence),
    )


def _is_quoted(chain: Chain, evidence: Evidence) -> bool:
    """Say whether a printed traceback is another program's, which this one only showed.

    It runs through no file of the worktree or of a library, stands on standard output, and standard error
    has other words.
    """
    if not evidence.root or not evidence.clean_stderr.strip():
        return False
    files = [frame.file for raised in chain for frame in raised.frames]
    places = Places(evidence.root, evidence.editable)
    ours = any(places.relative(file) is not None or is_library(file) for file in files)
    return bool(files) and not ours and not ending_chain(evidence.clean_stderr)


def _recorded(evidence: Evidence) -> Chain:
    """Return the hook's chain. An interrupt counts only when nothing but the program ended the job."""
    chain = expand(chain_from_record(evidence.exception), evidence.clean_stderr)
    own_end = evidence.exit is None or (
        evidence.exit.reason == "exited" and evidence.ended_by is None
    )
    if chain and chain[0].is_interrupt and not own_end:
        return ()
    return chain


def _printed(evidence: Evidence) -> Chain:
    return ending_chain(evidence.clean_stderr) or ending_chain(evidence.clean_stdout)


def _ended_well(evidence: Evidence) -> Draft | None:
    """Explain return code 0: nothing is wrong unless the results are; then a lost exception is why."""
    problem = bad_results(evidence)
    if problem is None:
        return None
    chain = _recorded(evidence) or _printed(evidence)
    if not chain:
        return _unwritten(evidence) or problem
    cause = explain_chain(chain, evidence)
    if problem.kind in (
        "results_invalid",
        "locked_files_changed",
    ):  # it did write them: the exception may have been harmless
        note = f"an exception was printed before: {cause.exception_type} at {where(cause.location)}"
        return replace(problem, evidence=(note, *problem.evidence))
    thread = (evidence.exception or {}).get("thread")
    aside = isinstance(thread, str) and thread != "MainThread"
    hidden = (
        f"It ended thread {thread!r} only: read its result in the main thread (`future.result()`, a queue), "
        "which raises it there."
        if aside
        else "Let exceptions end the program: take out the `except` that hides this one."
    )
    message = (
        f"{cause.message}\nThe program went on after this exception (caught, or in "
        f"a thread or child process) and ended with code 0. {problem.message}"
    )
    remedy = f"{cause.remedy} {hidden}"
    return replace(
        cause, kind="swallowed_exception", priced_as=cause.kind, message=message, remedy=remedy
    )


def _unwritten(evidence: Evidence) -> Draft | None:
    """Explain results that are missing or not whole by a disk that did not take the output either."""
    end, problem = evidence.exit, evidence.results_problem
    if end is None or problem is None:
        return None
    cut_off = problem.kind == "results_invalid" and "it is not JSON" in problem.message
    if problem.kind != "results_missing" and not cut_off:
        return None
    return refused_by_disk(evidence, end)


def _with_end(draft: Draft, end: JobExit, evidence: Evidence) -> Draft:
    """Say that the clock ended a program whose exception had already stopped its work.

    An exception that ran through no file of the program has the line at which the program then waited.
    """
    if end.reason not in ("timeout", "no_output"):
        return draft
    note = f"the program then hung until the runner ended it ({end.reason}, {end.seconds:.0f} s)"
    places = Places(evidence.root, evidence.editable)
    ours = any(places.relative(frame.file) for raised in draft.chain for frame in raised.frames)
    place = None if ours else stacks(evidence).place
    if place is None or is_library(place.file):
        place = draft.location
    return replace(draft, location=place, evidence=(*draft.evidence, note))
