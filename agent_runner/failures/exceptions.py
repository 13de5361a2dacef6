"""A failure whose exception is known, from the hook's record or from a printed traceback."""

from __future__ import annotations

import re
from dataclasses import replace

from agent_runner.failures.catalogue import BY_TYPE, SPECIFIC
from agent_runner.failures.charging import Circumstance
from agent_runner.failures.draft import Draft, where
from agent_runner.failures.evidence import MODEL_LOAD, Evidence
from agent_runner.failures.location import Places, locate, origin, to_location
from agent_runner.failures.raised import Chain, Frame, Raised
from agent_runner.failures.rules import Verdict, classify, fill
from agent_runner.failures.status import status
from agent_runner.failures.text import shorten
from agent_runner.records import Location

_LOADERS = (
    "from_pretrained",
    "from_pretrained_no_processing",
    "load_model",
    "get_pretrained_state_dict",
)
_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE = r"([\d.]{1,20}) (bytes|[KMGT]iB)"
_TRIED = re.compile(rf"Tried to allocate {_SIZE}")
_CAPACITY = re.compile(rf"total capacity of {_SIZE}")
_FREE = re.compile(rf"of which {_SIZE} is free")
_OWN_USE = re.compile(rf"this process has {_SIZE} memory in use")
_FRAMES_SHOWN = 4


def explain_chain(chain: Chain, evidence: Evidence) -> Draft:
    """Return what a chain of exceptions (not empty) means: its kind, place and remedy."""
    verdict = classify(chain, SPECIFIC, BY_TYPE)
    raised = verdict.raised
    places = Places(evidence.root, evidence.editable).fitting(
        frame for item in chain for frame in item.frames
    )
    first = origin(raised, chain)
    location = _syntax_place(raised, places) or locate(first, chain, places)
    reported = evidence.reached_phase if evidence.phase else None
    loading = reported == MODEL_LOAD or _in_loader(chain)
    kind = _kind(verdict, evidence)
    code = location.code if location else None
    return Draft(
        kind=kind,
        message=raised.message.strip() or _wordless(raised, location),
        remedy=fill(verdict.remedy, verdict.values, where(location), code),
        circumstance=_circumstance(kind, raised, loading, places),
        exception_type=raised.type,
        location=location,
        chain=chain,
        evidence=(*_trail(first, chain, places), *status(evidence)),
        phase=reported or (MODEL_LOAD if loading else None),
    )


def _kind(verdict: Verdict, evidence: Evidence) -> str:
    """Return the kind; a worker that was killed while the kernel counted kills died of memory."""
    counted = evidence.exit is not None and evidence.exit.oom_kills > 0
    if verdict.kind == "killed_by_signal" and not verdict.raised.is_interrupt and counted:
        return "host_out_of_memory"
    return verdict.kind


def _circumstance(kind: str, raised: Raised, loading: bool, places: Places) -> Circumstance:
    if kind == "cuda_out_of_memory" and held_by_others(raised.message):
        return "neighbour"
    if kind in ("cuda_out_of_memory", "host_out_of_memory") and loading:
        return "model load"
    if kind in ("import_error", "dependency_missing") and _raised_in_library(raised, places):
        return "environment"
    if kind == "killed_by_signal" and raised.is_interrupt:
        return "outside"
    return ""


def held_by_others(message: str) -> bool:
    """Say whether a CUDA out-of-memory message shows that other processes held what was missing.

    True when the allocation would have fitted into the GPU beside this process alone. Without the
    figures (older torch) nothing is known, and the answer is False.
    """
    tried, capacity, free, own = (
        _size(found, message) for found in (_TRIED, _CAPACITY, _FREE, _OWN_USE)
    )
    if tried is None or capacity is None or free is None or own is None:
        return False
    others = capacity - free - own
    # A GPU's own context takes up to about 5 % that no process is shown to hold.
    return others > 0.05 * capacity and tried <= free + others


def _size(pattern: re.Pattern[str], message: str) -> float | None:
    found = pattern.search(message)
    try:
        return float(found[1]) * _UNITS[found[2]] if found else None
    except ValueError:  # "1.2.3"
        return None


def _in_loader(chain: Chain) -> bool:
    return any(frame.function in _LOADERS for raised in chain for frame in raised.frames)


def _raised_in_library(raised: Raised, places: Places) -> bool:
    """Say whether the import that failed stands in a library and not in the program's own files."""
    frames = [
        frame
        for frame in raised.frames
        if not frame.file.startswith("<") and "/importlib/" not in frame.file
    ]
    return bool(frames) and places.relative(frames[-1].file) is None


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


def _frame_line(frame: Frame, places: Places) -> str:
    location = to_location(replace(frame, code=None), places)
    code = f": {frame.code}" if frame.code else ""
    function = f" in {location.function}" if location.function else ""
    return f"{location.file}:{location.line or '?'}{function}{code}"
