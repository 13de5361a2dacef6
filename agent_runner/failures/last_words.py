"""The last words of a program that left no traceback: wrong arguments, a swallowed exception, an abort."""

from __future__ import annotations

import builtins
import re
from dataclasses import replace

from agent_runner.failures.catalogue import SPECIFIC
from agent_runner.failures.draft import Draft, where
from agent_runner.failures.evidence import MODEL_LOAD, Evidence
from agent_runner.failures.raised import Chain, Raised
from agent_runner.failures.rules import Verdict, fill, judge
from agent_runner.failures.status import in_phase, last_signs, stack_place
from agent_runner.failures.text import is_bar, last_lines
from agent_runner.failures.tracebacks import without_ignored
from agent_runner.records import JobExit

_TAIL, _LAST_WORDS = 40, 5
_USAGE_ERROR = re.compile(r"^\S{1,200}: error: (.{1,500})$")
# What argparse itself says; other words are of a check in the program that calls `parser.error`.
_OF_PARSER = re.compile(
    r"unrecognized arguments|(?:is|are) required|^argument |ambiguous option|not allowed with"
)
_COMMAND = (
    "The command is fixed: `python experiment.py --out_dir=run_i`. Keep --out_dir, and give every "
    "other argument a default."
)
_DEFAULTS = "make its defaults fit together."
_NAMED_ERROR = re.compile(r"\b([A-Z]\w{0,80}(?:Error|Exception))(?:: |\(['\"])(.{1,2000})")
# `validation error: 0.31` is a metric.
_NUMBER = re.compile(r"(?i)^\W{0,4}(?:\d|nan\b|inf\b)")
_ERROR_LINE = re.compile(r"^([A-Za-z_][\w.]{0,200}(?:Error|Exception)): ", re.MULTILINE)
# How a program reports what it caught when it prints no more than the exception's own text.
_REPORT = re.compile(
    r"(?i)^.{0,60}?\b(?:error|exception|failed|failure|crashed|aborted)\b"
    r"[^:\n]{0,80}: {0,4}(?P<said>\S.{0,2000})"
)
_KEY_ALONE = re.compile(r"^(['\"])[^'\"\n]{1,200}\1$")
_LOADING = (
    " It ends while a model is loaded, as it does when the kernel kills for memory: the return code "
    "(-9 then) would tell."
)


def error_without_frames(text: str) -> Chain:
    """Return the last exception named at the start of a line of a log whose frames were cut off."""
    found = list(_ERROR_LINE.finditer(text))
    return (Raised(found[-1][1], text[found[-1].end() :]),) if found else ()


def silent_exit(evidence: Evidence, end: JobExit | None) -> Draft:
    """Explain an exit with an error code and no traceback: wrong arguments, a swallowed exception."""
    code = end.returncode if end else None
    found = _usage(evidence, code) or _swallowed(evidence, code)
    found = found or (_reported(evidence, code) if code else None)
    if found is not None:
        return found
    ended = f"The program ended with return code {code}" if end else "The log ends"
    last = last_lines(evidence.clean_stderr or evidence.clean_stdout, 5)
    hint = _LOADING if end is None and evidence.reached_phase == MODEL_LOAD else ""
    said = " Its last words:\n" + "\n".join(last) if last else " It printed nothing."
    return Draft(
        "unknown",
        f"{ended} without a traceback, so the cause is not known.{hint}{said}",
        ("If its last words name the cause, mend that. " if last else "")
        + "Let exceptions reach the top instead of calling `sys.exit` or `os._exit` after catching them; "
        "then the line and the cause are known.",
        evidence=last_signs(evidence),
    )


def caught_before_the_end(evidence: Evidence) -> Draft | None:
    """Return what the last few lines say of an exception in a program that ended with code 0."""
    return _swallowed(evidence, 0, _LAST_WORDS) or _reported(evidence, 0)


def _usage(evidence: Evidence, code: int | None) -> Draft | None:
    """Recognise argparse's refusal of the command line."""
    tail = last_lines(evidence.clean_stderr, _TAIL)
    refused = [found for line in tail if (found := _USAGE_ERROR.match(line))]
    if code not in (2, None) or not refused or not any(line.startswith("usage: ") for line in tail):
        return None
    of_parser = _OF_PARSER.search(refused[-1][1]) is not None
    return Draft(
        "bad_arguments",
        f"The program refused its command line: {refused[-1][1]}",
        _COMMAND
        if of_parser
        else f"{_COMMAND} Here the program's own check refused them: {_DEFAULTS}",
        evidence=last_signs(evidence),
    )


def _swallowed(evidence: Evidence, code: int | None, tail: int = _TAIL) -> Draft | None:
    """Recognise an exception in what the program printed itself before it gave up.

    A line that names an exception counts within the tail; one that only reads like a known message,
    among the last few lines.
    """
    for text in (evidence.clean_stderr, evidence.clean_stdout):
        for back, line in enumerate(reversed(last_lines(without_ignored(text), tail, 2500))):
            named = _named(line)
            if is_bar(line) or (named is None and back >= _LAST_WORDS):
                continue
            said = Raised(named[1], named[2]) if named else Raised("", line)
            verdict = judge(said, SPECIFIC)
            if named is not None or verdict is not None:
                return _caught(evidence, line, said, verdict, code)
    return None


def _named(line: str) -> re.Match[str] | None:
    """Return the exception that a line names. One that Python does not know needs more than a number."""
    found = _NAMED_ERROR.search(line)
    if found is None or hasattr(builtins, found[1]) or not _NUMBER.match(found[2]):
        return found
    return None


def _reported(evidence: Evidence, code: int | None) -> Draft | None:
    """Recognise `Training failed: ...` at the end of the output: mostly an exception's text."""
    for text in (evidence.clean_stderr, evidence.clean_stdout):
        for line in reversed(last_lines(without_ignored(text), _LAST_WORDS, 2500)):
            found = None if is_bar(line) else _REPORT.match(line)
            if found is None or _NUMBER.match(found["said"]):
                continue
            key = _KEY_ALONE.match(found["said"])
            hint = " A quoted name alone is how a KeyError prints itself." if key else ""
            return Draft(
                "swallowed_exception",
                f"The program reported an error, most likely an exception that it caught, and ended "
                f"with return code {code}: {line.strip()}",
                f"Mend what it names.{hint} Let exceptions reach the top (no `except` that only prints), "
                "so that the line and the type are known.",
                evidence=last_signs(evidence),
            )
    return None


def _caught(
    evidence: Evidence, line: str, said: Raised, verdict: Verdict | None, code: int | None
) -> Draft:
    advice = (
        fill(verdict.remedy, verdict.values, "the line that raised it", None) if verdict else ""
    )
    ended = "no traceback follows" if code is None else f"ended with return code {code}"
    return Draft(
        "swallowed_exception",
        f"The program caught an exception, printed only this of it, and {ended}: {line.strip()}",
        "Mend what it names, and let exceptions reach the top (no `except` that only prints), so that "
        "the line is known." + (f" {advice}" if advice else ""),
        priced_as=verdict.kind if verdict else None,
        exception_type=said.type or None,
        evidence=last_signs(evidence),
    )


def machine_words(evidence: Evidence) -> Draft | None:
    """Return what an aborting library said of memory, disk or GPU before it aborted."""
    said = "\n".join(last_lines(evidence.clean_stderr, _TAIL))
    verdict = judge(Raised("", said), SPECIFIC)
    kinds = (
        "host_out_of_memory",
        "cuda_out_of_memory",
        "cuda_error",
        "gpu_fault",
        "disk_full",
        "disk_limit",
    )
    if verdict is None or verdict.kind not in kinds:
        return None
    location = stack_place(evidence)
    loading = evidence.reached_phase == MODEL_LOAD and verdict.kind.endswith("out_of_memory")
    draft = Draft(
        verdict.kind,
        f"A library aborted the program{in_phase(evidence)}. Its last words:\n{said}",
        fill(verdict.remedy, verdict.values, where(location), location.code if location else None),
        location=location,
        evidence=last_signs(evidence),
    )
    return replace(draft, circumstance="model load") if loading else draft
