"""A run beside the idea's earlier ones: failures that repeat, numbers that repeat, times that do not fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, takewhile

from agent_runner.records import Failure, Finding, Limits, Outcome, RunResult
from agent_runner.results.findings import listed, note, warn

EARLY = 1 / 5  # of the shortest earlier run that succeeded
SLOW = 5.0  # times the longest
NEAR_LIMIT = 0.9
_WORTH_TIMING_S = 5.0  # below that, starting the interpreter is what takes the time
_REFERENCE = "llm_"  # of the language model itself: no edit moves them
_MANY = 3


def check_history(
    result: RunResult, earlier: Sequence[RunResult], *, limits: Limits | None = None
) -> tuple[Finding, ...]:
    """What only the idea's other runs can tell of one.

    Args:
        result: the run that has just ended, or any run.
        earlier: the idea's runs, in any order, with the baseline (run_0) if it has one. Only those with a
            smaller number count.
        limits: the template's, where memory and time are to be held against them.
    """
    before = sorted((run for run in earlier if run.index < result.index), key=lambda r: r.index)
    checks = (
        _same_failure(result, before),
        _same_numbers(result, before),
        _device(result, before),
        _duration(result, before),
        _phase(result, before),
        _limits(result, limits),
    )
    return tuple(chain.from_iterable(checks))


# ------------------------------------------------------------------ failures that repeat


def failure_signature(run: RunResult) -> tuple[str | None, ...] | None:
    """What makes two failures the same; None for a run that did not fail, or was cancelled.

    The line's text stands for its number, which moves with every edit above it.
    """
    failure = run.failure
    if failure is None or run.outcome in (Outcome.SUCCEEDED, Outcome.CANCELLED):
        return None
    place = failure.location
    where: tuple[str | None, ...] = (None, None, None)
    if place is not None:
        where = (place.file, place.function, place.code or str(place.line))
    return (
        failure.kind,
        failure.exception_type,
        *where,
        run.signal,
        failure.phase or run.phase,
    )


def _same_failure(result: RunResult, before: Sequence[RunResult]) -> Iterator[Finding]:
    signature = failure_signature(result)
    if signature is None or result.failure is None or not before:
        return
    streak = list(takewhile(lambda run: failure_signature(run) == signature, reversed(before)))
    if not streak:
        return
    names = listed(_name(run) for run in reversed(streak))
    opening = f"it failed in exactly the way of {names} ({_in_words(result, result.failure)})"
    same_code = all(run.tree == result.tree for run in streak)
    baseline_too = any(run.index == 0 for run in streak)
    yield warn("same-failure", f"{opening}, {_conclusion(result, before, same_code, baseline_too)}")


def _conclusion(
    result: RunResult, before: Sequence[RunResult], same_code: bool, baseline_too: bool
) -> str:
    failure = result.failure
    assert failure is not None
    if baseline_too:
        return (
            "and one of these ran the template as it is: the cause is the template or this machine, not an "
            "edit. No further edit or run is of use before a person has looked at it"
        )
    if same_code:
        return (
            "with the same code: it will fail so again. Change the code at the cause, or, where that lies "
            "outside it, have a person look at this machine"
        )
    place = failure.location
    if place is not None and failure.charged:
        line = f":{place.line}" if place.line else ""
        return (
            f"though the code was changed: the edit did not touch the cause, at {place.file}{line}"
        )
    ran = any(
        run.outcome is Outcome.SUCCEEDED and run.fingerprint == result.fingerprint for run in before
    )
    if failure.charged and ran:
        return (
            "though the code was changed: other code runs on this machine, so look at what these runs have "
            "in common and that one has not"
        )
    return (
        "though the code was changed, and nothing points to a place in it: most likely this machine or what "
        "the run was given (memory, model, data) is the cause. Editing on does not help; have a person look"
    )


def _in_words(run: RunResult, failure: Failure) -> str:
    words = [failure.kind]
    if failure.exception_type:
        words.append(failure.exception_type)
    if run.signal:
        words.append(run.signal)
    phase = failure.phase or run.phase
    if phase:
        words.append(f"in the phase {phase!r}")
    return ", ".join(word[:80] for word in words)


# ------------------------------------------------------------------ numbers that repeat


def _same_numbers(result: RunResult, before: Sequence[RunResult]) -> Iterator[Finding]:
    """Equal to the last digit, though the code differs. The baseline's own equality is `identical`.

    A single accuracy on a small test set may be equal by chance, so all of the metrics that moved away from the
    baseline have to be, or three of them and at least half.
    """
    moved = _moved_from(result, before)
    if not moved:
        return
    for run in reversed(before):
        if run.index == 0 or run.tree == result.tree:
            continue
        same = [name for name, value in moved.items() if run.metrics.get(name) == value]
        if len(same) == len(moved) or (len(same) >= _MANY and 2 * len(same) >= len(moved)):
            what = (
                f"all {len(moved)} metrics that differ from the baseline's"
                if len(same) == len(moved)
                else f"{len(same)} of {len(moved)} metrics ({listed(same)})"
            )
            message = (
                f"{what} are exactly those of {_name(run)}, though the code differs: what was edited since "
                "is not run, does not reach these numbers, or they are not measured"
            )
            yield warn("same-as-earlier", message)
            return


def _moved_from(result: RunResult, before: Sequence[RunResult]) -> dict[str, float]:
    """Measurements (whole numbers prove nothing) that an edit has moved away from the baseline."""
    baseline = _baseline_metrics(result, before)
    return {
        name: value
        for name, value in result.metrics.items()
        if value % 1 and baseline.get(name) != value and not name.startswith(_REFERENCE)
    }


def _baseline_metrics(result: RunResult, before: Sequence[RunResult]) -> Mapping[str, float]:
    if result.comparison is not None:
        return {name: pair.baseline for name, pair in result.comparison.metrics.items()}
    return next((run.metrics for run in before if run.index == 0), {})


# ------------------------------------------------------------------ time, phase, device, memory


def _device(result: RunResult, before: Sequence[RunResult]) -> Iterator[Finding]:
    baseline = next((run for run in before if run.index == 0), None)
    if baseline is None or baseline.fingerprint != result.fingerprint:
        return
    ours, theirs = (run.environment.get("device") for run in (result, baseline))
    known = isinstance(ours, str) and isinstance(theirs, str) and ours and theirs
    if known and str(ours).partition(":")[0] != str(theirs).partition(":")[0]:
        message = f"it ran on {str(ours)[:40]}, the baseline on {str(theirs)[:40]}"
        yield warn("device-differs", f"{message}: times and last digits cannot be compared")


def _duration(result: RunResult, before: Sequence[RunResult]) -> Iterator[Finding]:
    if result.outcome is not Outcome.SUCCEEDED:
        return
    others = [
        run
        for run in before
        if run.outcome is Outcome.SUCCEEDED
        and run.fingerprint == result.fingerprint
        and run.seconds > 0
    ]
    if not others:
        return
    shortest = min(others, key=lambda run: run.seconds)
    longest = max(others, key=lambda run: run.seconds)
    if shortest.seconds >= _WORTH_TIMING_S and result.seconds < EARLY * shortest.seconds:
        message = (
            f"it ended suspiciously early: after {result.seconds:.1f} s, where {_name(shortest)} took "
            f"{shortest.seconds:.1f} s. Look whether all of training and evaluation was done"
        )
        yield warn("ended-early", message)
    if longest.seconds >= _WORTH_TIMING_S and result.seconds > SLOW * longest.seconds:
        message = (
            f"it took {result.seconds:.1f} s, where {_name(longest)} took {longest.seconds:.1f} s: the edit is "
            "slow, or the machine was busy"
        )
        yield note("far-slower", message)


def _phase(result: RunResult, before: Sequence[RunResult]) -> Iterator[Finding]:
    """A run that succeeds passes the same last phase as the baseline."""
    baseline = next((run for run in before if run.index == 0), None)
    if baseline is None or {result.outcome, baseline.outcome} != {Outcome.SUCCEEDED}:
        return
    if baseline.phase and result.phase != baseline.phase:
        reached = f"{result.phase!r}"[:80] if result.phase else "none"
        message = (
            f"the last phase it reported is {reached}, the baseline's {baseline.phase[:80]!r}: the template's "
            "own evaluation and writing of results was left out"
        )
        yield warn("phase-missing", message)


def _limits(result: RunResult, limits: Limits | None) -> Iterator[Finding]:
    if limits is None:
        return
    peak, megabytes = result.resources.peak_memory_bytes, limits.memory_mb
    if peak is not None and megabytes and peak > NEAR_LIMIT * megabytes * 2**20:
        message = f"it used {peak / 2**30:.1f} GiB of memory at its peak, of {megabytes / 1024:.1f} GiB allowed"
        yield note("near-memory-limit", message)
    if result.outcome is Outcome.SUCCEEDED and result.seconds > NEAR_LIMIT * limits.time_s:
        message = f"it took {result.seconds:.0f} s of {limits.time_s:.0f} s allowed"
        yield note("near-time-limit", message)


def _name(run: RunResult) -> str:
    return "the baseline (run_0)" if run.index == 0 else f"run_{run.index}"
