"""A job that was ended for want of host memory: who did it, and whose memory it was."""

from __future__ import annotations

from agent_runner.failures.charging import Circumstance
from agent_runner.failures.draft import Draft, where
from agent_runner.failures.evidence import MODEL_LOAD, Evidence
from agent_runner.failures.status import gib, in_phase, last_signs, memory_allowed, stack_place
from agent_runner.records import JobExit

_NEAR_LIMIT, _FAR_FROM_LIMIT = 0.9, 0.4
_BY_KERNEL = "killed by the kernel, which ran out of memory,"
_BY_KERNEL_FOR_OTHERS = "killed by the kernel, for want of memory that others used,"
LIKELY = "killed (SIGKILL), most likely by the kernel for memory,"
_MEMORY_REMEDY_LOAD = (
    "Nothing in the edit caused this, so do not change the method. Use a smaller model or a machine "
    "with more memory; the template's fallback models are made for this case."
)
MEMORY_REMEDY_ELSEWHERE = (
    "Nothing in the edit caused this: the run was within its own limit. Send the same proposal again; if it "
    "returns, an operator has to see what else uses this machine's memory."
)
_MEMORY_REMEDY = (
    "Use less host memory{at}: smaller batches, no list that keeps every step's tensors, activations "
    "in half precision, fewer data-loader workers."
)


def stopped_for_memory(evidence: Evidence, end: JobExit) -> str:
    """Return how the runner or the kernel ended a job for memory, in words; empty where neither did."""
    if end.reason == "memory":
        return "stopped at its memory limit"
    if end.reason != "exited" or evidence.ended_by != "SIGKILL" or not end.oom_kills:
        return ""
    return _BY_KERNEL_FOR_OTHERS if evidence.short_elsewhere else _BY_KERNEL


def likely_memory(evidence: Evidence, end: JobExit) -> str | None:
    """Return why an uncounted SIGKILL was most likely for memory; None when nothing points to it."""
    allowed, peak = memory_allowed(evidence), end.peak_memory_bytes
    if allowed and peak and peak >= _NEAR_LIMIT * allowed:
        return " No kill was counted, but it had used nearly all it could."
    if allowed and peak and peak < _FAR_FROM_LIMIT * allowed:
        return None
    if evidence.is_out_of_reach:  # the phase is the program's word, and it may have killed itself
        return None
    on_gpu = (evidence.used_device or "cpu").startswith("cuda")
    if evidence.reached_phase == MODEL_LOAD and not on_gpu:
        return " No kill was counted, but so ends a model that does not fit into host memory."
    return None


def out_of_memory(evidence: Evidence, cause: str, known_by: str = "") -> Draft:
    """Explain a job that `cause`, a participle, ended for memory; `known_by` is the sentence that says why."""
    end, allowed = evidence.exit, memory_allowed(evidence)
    loading = evidence.reached_phase == MODEL_LOAD
    needed = ""
    if end is not None and end.peak_memory_bytes:
        needed = f" It had reached {gib(end.peak_memory_bytes)}"
        needed += f" of the {gib(allowed)} it could use." if allowed else "."
    elif allowed:
        needed = f" It could use {gib(allowed)}."
    model = f" The model was {evidence.model.granted}." if evidence.model and loading else ""
    device = f" on {evidence.used_device}" if evidence.used_device else ""
    location = stack_place(evidence)
    remedy = _MEMORY_REMEDY.format(at=f" at {where(location)}" if location else "")
    circumstance: Circumstance = "model load" if loading else ""
    if evidence.short_elsewhere:
        remedy, circumstance = MEMORY_REMEDY_ELSEWHERE, "elsewhere"
    elif loading:
        remedy = _MEMORY_REMEDY_LOAD
    return Draft(
        "host_out_of_memory",
        f"The run was {cause}{in_phase(evidence)}{device}.{needed}{model}{known_by}",
        remedy,
        circumstance,
        location=location,
        evidence=last_signs(evidence),
    )
