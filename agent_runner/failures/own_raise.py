"""Exceptions that the program raises itself: their words are its own, and no library's.

A row of the catalogue knows an exception by what a library says. A program that writes such words into a
ValueError of its own (`raise ValueError("CUDA out of memory would follow: batch 128")`) has not met what
they speak of.
"""

from __future__ import annotations

from dataclasses import replace

from agent_runner.failures.catalogue import BY_TYPE, SPECIFIC
from agent_runner.failures.location import Places
from agent_runner.failures.raised import Chain, Raised
from agent_runner.failures.rules import NO_ADVICE, Verdict, judge

_OF_THE_PROGRAM = frozenset({"ValueError", "TypeError", "KeyError", "IndexError", "AssertionError"})
_OF_THE_WORLD = frozenset(
    {
        "cuda_error",
        "cuda_out_of_memory",
        "cuda_unavailable",
        "dataset_unavailable",
        "disk_full",
        "gated_model",
        "gpu_fault",
        "host_out_of_memory",
        "model_not_found",
        "network_unavailable",
        "process_limit",
    }
)
_BY_TYPE_ADVICE = frozenset({NO_ADVICE, *(rule.remedy for rule in BY_TYPE)})
_ADVICE = (
    "The program itself raises this at {where}: {code}. Its message says what was found wrong: mend what "
    "led there, not the check."
)
_HANDLING = " It does so while it handles another exception, which is the first cause: mend that."
_ANSWERED_NO = (
    "`__getattr__` at {where} was asked for `{name}` and answers that there is none. If `{name}` is a "
    "property, an AttributeError inside that property has led here: read its lines. Otherwise set it, or "
    "correct the name where it is read."
)


def is_own_raise(raised: Raised, places: Places) -> bool:
    """Say whether a `raise` or `assert` statement in a file of the program raised this."""
    if not raised.frames:
        return False
    frame = raised.frames[-1]
    return (frame.code or "").startswith(("raise ", "assert ")) and bool(
        places.relative(frame.file)
    )


def judged_as_own(verdict: Verdict, chain: Chain, places: Places) -> Verdict:
    """Return the verdict, corrected where the exception that decides is one of the program's own making."""
    raised = verdict.raised
    if not is_own_raise(raised, places) or verdict.kind == "assertion":
        return verdict
    alone = raised is chain[-1]
    if verdict.kind == "attribute_error" and raised.frames[-1].function == "__getattr__":
        return replace(verdict, remedy=_ANSWERED_NO)
    if alone and verdict.kind in _OF_THE_WORLD:
        verdict = _by_its_words(verdict)
    if verdict.remedy not in _BY_TYPE_ADVICE or verdict.kind == "assertion":
        return verdict
    return replace(verdict, remedy=_ADVICE if alone else _ADVICE + _HANDLING)


def _by_its_words(verdict: Verdict) -> Verdict:
    """Judge anew what the program raised, without the fame of the name it chose (`OutOfMemoryError`)."""
    raised = verdict.raised
    if raised.name not in _OF_THE_PROGRAM and judge(replace(raised, type="Exception"), SPECIFIC):
        return verdict  # its words alone say the same: those of a library, passed on
    by_type = judge(raised, BY_TYPE)
    if by_type is None or by_type.kind in _OF_THE_WORLD:
        return Verdict(raised, "uncaught_exception", NO_ADVICE, {})
    return by_type
