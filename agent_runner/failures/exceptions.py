"""A failure whose exception is known, from the hook's record or from a printed traceback."""

from __future__ import annotations

import re
from dataclasses import replace
from textwrap import dedent

from agent_runner.failures.catalogue import BY_TYPE, SPECIFIC
from agent_runner.failures.charging import Circumstance
from agent_runner.failures.draft import Draft, where
from agent_runner.failures.evidence import LOADERS, MODEL_LOAD, Evidence
from agent_runner.failures.location import Places, deepest, locate, origin, to_location
from agent_runner.failures.memory import MEMORY_REMEDY_ELSEWHERE
from agent_runner.failures.own_raise import judged_as_own
from agent_runner.failures.printed_before import side_note, with_logged
from agent_runner.failures.raised import HEADER, Chain, Frame, Raised
from agent_runner.failures.rules import Verdict, classify, fill, judge
from agent_runner.failures.rules_objects import BY_CODE
from agent_runner.failures.status import status
from agent_runner.failures.text import last_lines, shorten
from agent_runner.failures.tracebacks import ending_chain
from agent_runner.records import Location

_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE = r"([\d.]{1,20}) (bytes|[KMGT]iB)"
_TRIED = re.compile(rf"Tried to allocate {_SIZE}")
_CAPACITY = re.compile(rf"total capacity of {_SIZE}")
_FREE = re.compile(rf"of which {_SIZE} is free")
_OWN_USE = re.compile(rf"this process has {_SIZE} memory in use")
_ALLOCATED = re.compile(rf"{_SIZE} is allocated by PyTorch")
_RESERVED = re.compile(rf"{_SIZE} is reserved by PyTorch but unallocated")
_OWN_CONTEXT = 2.0**30  # a process's use of a GPU beside its tensors stays below this
_TOO_LARGE = (
    "Nothing in the method causes this: the model that is loaded at {where} does not fit into this "
    "machine's memory. Use a smaller one; the template's fallback models are made for this case."
)
_NOT_ITS_DOING: dict[tuple[str, Circumstance], str] = {
    ("cuda_out_of_memory", "neighbour"): "Other processes hold the GPU memory that was missing at "
    "{where}, and nothing in the method causes this. Send the same proposal again; if it returns, an "
    "operator has to look at what runs on the GPU.",
    ("cuda_out_of_memory", "model load"): _TOO_LARGE,
    ("host_out_of_memory", "model load"): _TOO_LARGE,
    ("host_out_of_memory", "elsewhere"): MEMORY_REMEDY_ELSEWHERE,
}
_GENERATED = (
    "The text that {where} hands to Python (`exec`, `eval`, `compile`, `ast.literal_eval`) is no valid "
    "Python: {code}. The line in the message counts within that text: print it, and mend what makes it."
)
_FRAMES_SHOWN = 4
_MODULE_FILE = re.compile(
    r"\((/[^()\n]{1,4000})\)$"
)  # "cannot import name 'x' from 'y' (/path/y.py)"
_ABOVE = re.compile(
    r"(?i)\babove (?:report|error|output|log|message)s?\b|\b(?:report|error|output|log|message)s? above\b"
)
_ABOVE_LINES = 6
_TOLD_BY_CODE = frozenset({"assertion", "os_error", "killed_by_signal", "type_error"})
# How torch names an exception that it carries over from a worker: the cause says what it was.
_CARRIED = re.compile(r"Caught \w{1,100} in (?:DataLoader worker|pin memory thread|replica)\b")
_IN_MESSAGE = re.compile(r"^from user code:$", re.MULTILINE)  # of torch.compile
_FORWARD = re.compile(r"\. Traceback of forward call that caused the error:$", re.MULTILINE)
_CALL_END = re.compile(r"^ \(Triggered internally at|^$", re.MULTILINE)
_CALL_LIMIT = 50_000
_ON_GPU = re.compile(
    r"^[^\n]{1,400}: block: \[[^\n]{1,80} Assertion `[^\n]{1,200}` failed", re.MULTILINE
)


def explain_chain(chain: Chain, evidence: Evidence) -> Draft:
    """Return what a chain of exceptions (not empty) means: its kind, place and remedy."""
    chain = with_logged(chain, evidence)
    places = Places(evidence.root, evidence.editable).fitting(
        frame for item in chain for frame in item.frames
    )
    verdict = judged_as_own(_judged(chain), chain, places)
    raised = verdict.raised
    first = origin(raised, chain)
    call = _true_call(raised, evidence)
    told = (call, *chain) if call else chain
    location = _syntax_place(raised, places) or locate(call or first, told, places)
    reported = evidence.reached_phase if evidence.phase else None
    loading = reported == MODEL_LOAD or _in_loader(chain)
    kind = _kind(verdict, evidence)
    circumstance = _circumstance(kind, verdict, loading, places, evidence)
    code = location.code if location else None
    return Draft(
        kind=kind,
        message=raised.message.strip() or _wordless(raised, location),
        remedy=fill(
            _NOT_ITS_DOING.get((kind, circumstance), _advice(verdict)),
            verdict.values,
            where(location),
            code,
        )
        + side_note(chain, evidence, places),
        circumstance=circumstance,
        exception_type=raised.type,
        location=location,
        chain=chain,
        evidence=(
            *_trail(first, chain, places),
            *_call_line(call, places),
            *_gpu_assertion(kind, evidence),
            *_told_above(raised, evidence),
            *status(evidence),
        ),
        phase=reported or (MODEL_LOAD if loading else None),
    )


def _advice(verdict: Verdict) -> str:
    """Return the advice of the verdict; text that the program hands to Python is in no file."""
    frames = verdict.raised.frames
    generated = verdict.raised.is_syntax_error and frames and frames[-1].file.startswith("<")
    return _GENERATED if generated else verdict.remedy


def _judged(chain: Chain) -> Verdict:
    """Judge a chain by what it says; where that tells nothing, by the line that raised it."""
    carried = len(chain) > 1 and (
        _CARRIED.match(chain[0].message) or chain[0].name == "ProcessRaisedException"
    )
    verdict = classify(chain[1:] if carried else chain, SPECIFIC, BY_TYPE)
    if verdict.kind not in _TOLD_BY_CODE or not verdict.raised.frames:
        return verdict
    frame = verdict.raised.frames[-1]
    by_code = judge(replace(verdict.raised, message=f"{frame.file}: {frame.code or ''}"), BY_CODE)
    return replace(by_code, raised=verdict.raised) if by_code else verdict


def _true_call(raised: Raised, evidence: Evidence) -> Raised | None:
    """Return the call that torch itself names as the cause, where its frames are not the exception's.

    An operation of a compiled function is told in the message. For one that failed in backward the
    forward call is printed, in torch's anomaly mode.
    """
    text, found = raised.message, list(_IN_MESSAGE.finditer(raised.message))
    if not found and raised.frames and "run_backward(" in (raised.frames[-1].code or ""):
        text = evidence.clean_stderr
        found = list(_FORWARD.finditer(text))
    if not found:
        return None
    told = text[found[-1].end() + 1 :][:_CALL_LIMIT]
    end = _CALL_END.search(told)
    frames = dedent(told[: end.start()] if end else told).rstrip()
    call = ending_chain(f"{HEADER}\n{frames}\n{raised.name}: in what this call began")
    return call[0] if call else None


def _kind(verdict: Verdict, evidence: Evidence) -> str:
    """Return the kind; a worker that was killed while the kernel counted kills died of memory."""
    counted = evidence.exit is not None and evidence.exit.oom_kills > 0
    if verdict.kind == "killed_by_signal" and not verdict.raised.is_interrupt and counted:
        return "host_out_of_memory"
    return verdict.kind


def _circumstance(
    kind: str, verdict: Verdict, loading: bool, places: Places, evidence: Evidence
) -> Circumstance:
    raised = verdict.raised
    if kind == "cuda_out_of_memory" and held_by_others(raised.message):
        return "neighbour"
    was_killed = kind == "host_out_of_memory" and verdict.kind == "killed_by_signal"
    if was_killed and evidence.short_elsewhere:
        return "elsewhere"
    if kind in ("cuda_out_of_memory", "host_out_of_memory") and loading:
        return "model load"
    imports = kind in ("import_error", "dependency_missing")
    if imports and _broken_library(kind, raised, places):
        return "environment"
    if kind == "killed_by_signal" and raised.is_interrupt and not evidence.is_out_of_reach:
        return "outside"
    return ""


def held_by_others(message: str) -> bool:
    """Say whether a CUDA out-of-memory message shows that other processes held what was missing.

    True when the allocation would have fitted into the GPU beside this process alone. Without the
    figures (older torch) nothing is known, and the answer is False.
    """
    tried, capacity, free = (_size(found, message) for found in (_TRIED, _CAPACITY, _FREE))
    own = _own_use(message)
    if tried is None or capacity is None or free is None or own is None:
        return False
    others = capacity - free - own
    # A GPU's own context takes up to about 5 % that no process is shown to hold.
    return others > 0.05 * capacity and tried <= free + others


def _own_use(message: str) -> float | None:
    """Return how much of the GPU this process uses, at most.

    In a sandbox with process numbers of its own torch does not find itself among the processes; then
    it is what torch holds, and a context.
    """
    named = _size(_OWN_USE, message)
    if named is not None:
        return named
    allocated, reserved = _size(_ALLOCATED, message), _size(_RESERVED, message)
    if allocated is None or reserved is None:
        return None
    return allocated + reserved + _OWN_CONTEXT


def _size(pattern: re.Pattern[str], message: str) -> float | None:
    found = pattern.search(message)
    try:
        return float(found[1]) * _UNITS[found[2]] if found else None
    except ValueError:  # "1.2.3"
        return None


def _in_loader(chain: Chain) -> bool:
    """Say whether a model was being loaded, or moved in the statement that loaded it."""
    return any(
        frame.function in LOADERS or "from_pretrained(" in (frame.code or "")
        for raised in chain
        for frame in raised.frames
    )


def _broken_library(kind: str, raised: Raised, places: Places) -> bool:
    """Say whether the import that failed stands in a library and not in the program's own files.

    A library that lacks a package for an option raises that itself: the program asked for the option.
    """
    frames = [
        frame
        for frame in raised.frames
        if not frame.file.startswith("<") and "/importlib/" not in frame.file
    ]
    if not frames or places.relative(frames[-1].file) is not None:
        return False
    module = _MODULE_FILE.search(raised.message)
    if module and places.relative(module[1]) is not None:
        return False  # a file of the program's stands in the place of a library
    if kind == "import_error":
        return True
    # An import inside a function is made when that function is asked for: the program chose it.
    asked_for = frames[-1].function not in (None, "<module>")
    return not asked_for and not (frames[-1].code or "").startswith("raise ")


def _syntax_place(raised: Raised, places: Places) -> Location | None:
    """Return the place a syntax error speaks of, wherever it is: the frames only lead to it."""
    if not raised.is_syntax_error or not raised.frames or raised.frames[-1].file.startswith("<"):
        return None
    place = to_location(raised.frames[-1], places)
    return place.model_copy(update={"function": None})


def _wordless(raised: Raised, location: Location | None) -> str:
    code = f": {location.code}" if location and location.code else ""
    return f"{raised.name} without a message at {where(location)}{code}"


def _trail(raised: Raised, chain: Chain, places: Places) -> tuple[str, ...]:
    """Return the frames that lead to the exception, the program's own and the deepest, then itself."""
    source = raised if raised.frames else next((item for item in chain if item.frames), raised)
    own = [frame for frame in source.frames if places.relative(frame.file) is not None]
    shown = [_frame_line(frame, places) for frame in own[-_FRAMES_SHOWN:]]
    if source.frames and (not own or source.frames[-1] is not own[-1]):
        shown.append("raised in " + _frame_line(source.frames[-1], places))
    first = raised.message.strip().split("\n", 1)[0]
    return (*shown, shorten(f"{raised.type}: {first}" if first else raised.type, 300))


def _call_line(call: Raised | None, places: Places) -> tuple[str, ...]:
    """Return the deepest line of the call that torch names, as far as the program's own files go."""
    frame = deepest(call.frames, places) if call else None
    return ("called in " + _frame_line(frame, places),) if frame else ()


def _gpu_assertion(kind: str, evidence: Evidence) -> tuple[str, ...]:
    """Return the first check that failed on the GPU; each thread that fails prints one."""
    found = _ON_GPU.search(evidence.clean_stderr) if kind == "cuda_error" else None
    return (found[0],) if found else ()


def _told_above(raised: Raised, evidence: Evidence) -> tuple[str, ...]:
    """Return the lines printed before the traceback, where the message refers to what stands above it."""
    before, header, _ = evidence.clean_stderr.rpartition(HEADER)
    if not header or not _ABOVE.search(raised.message[:1000]):
        return ()
    return tuple(f"output: {line.strip()}" for line in last_lines(before, _ABOVE_LINES))


def _frame_line(frame: Frame, places: Places) -> str:
    location = to_location(replace(frame, code=None), places)
    code = f": {frame.code}" if frame.code else ""
    function = f" in {location.function}" if location.function else ""
    return f"{location.file}:{location.line or '?'}{function}{code}"
