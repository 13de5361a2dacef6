"""In which phase a program failed, where it did not report one: read from the calls that were open.

The outermost telling call decides, since it is the program's own step: `evaluate` calls `encode`, and
`encode` may call anything. Names that tell nothing give no phase; none is made up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from agent_runner.failures.evidence import LOADERS, MODEL_LOAD
from agent_runner.failures.location import Places
from agent_runner.failures.raised import Frame

_IMPORT = re.compile(r"(?:import|from)\s")
_GET = r"(?:load|get|read|prepare|build|make|create|collect|download)_"
# How programs name their own steps. Writing and training last: `save_eval` is told by `eval`.
_OWN = (
    (MODEL_LOAD, re.compile(_GET + r"(?:\w+_)?(?:model|lm|llm|tokenizer)$")),
    (
        "data",
        re.compile(
            _GET + r"(?:\w+_)?(?:data|dataset|datasets|corpus|batches|loader|texts|activations)$"
        ),
    ),
    ("data", re.compile(r"__getitem__$|collate(?:_\w+)?$")),
    ("evaluation", re.compile(r"(?:evaluate|eval|evaluation|validate|test|probe|score)(?:_\w+)?$")),
    ("evaluation", re.compile(r"\w+_(?:eval|evaluation|probe|probing)$")),
    ("training", re.compile(r"(?:train|fit|training)(?:_\w+)?$|\w+_(?:train|training)$")),
    ("writing results", re.compile(r"(?:save|write|dump|export|store)(?:_\w+)?$")),
)
_LIBRARY = (
    (MODEL_LOAD, re.compile(f"(?:{'|'.join(LOADERS)})$")),
    ("data", re.compile(r"(?:load_dataset|load_from_disk)$")),
    ("training", re.compile(r"(?:backward|_engine_run_backward)$")),
)
_RESULTS = re.compile(r"\bfinal_info\b|\bjson\.dump\(|\b(?:torch|np|numpy)\.save\(")


def phase_of(frames: Iterable[Frame], places: Places) -> str | None:
    """Return the phase that a stack (outermost frame first) shows, or None."""
    own_code = ""
    for frame in frames:
        if frame.file.startswith("<frozen importlib") or "/importlib/" in frame.file:
            return "import"
        own = places.relative(frame.file) is not None
        if own:
            own_code = frame.code or ""
            if frame.function in ("<module>", None) and _IMPORT.match(own_code):
                return "import"
        for phase, names in _OWN if own else _LIBRARY:
            if names.match(frame.function or ""):
                return phase
    return "writing results" if _RESULTS.search(own_code) else None
