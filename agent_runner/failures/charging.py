"""What a failure costs: the rules of the architecture page ("What costs budget") as a table.

A run is charged when the experiment's process was started and its end is the experiment's own doing.
"""

from __future__ import annotations

from typing import Literal

Circumstance = Literal[
    "", "model load", "elsewhere", "neighbour", "environment", "outside", "before start"
]
"""What makes a kind of failure another's doing than the experiment's; empty: nothing does.

- `model load`: memory ran out while a language model was loaded
- `elsewhere`: the machine ran out of host memory, and not by this run, which was within its own limit
- `neighbour`: other processes held the GPU memory that was missing
- `environment`: the import failed inside an installed library, not in the program
- `outside`: a signal that comes from outside a process, its sender unknown
- `before start`: the experiment's process never ran
"""

_OWN = "the program ran, and its end is its own doing"
_MODEL = "nothing in the edit caused it: the model cannot be had on this machine"
_MODEL_SIZE = "nothing in the edit caused it: the model does not fit into this machine's memory"
_MACHINE = "the machine is at fault, not the experiment"

_CHARGES: dict[str, tuple[bool, str]] = {
    # the program's text and its calls
    "syntax_error": (True, _OWN),
    "import_error": (True, _OWN),
    "dependency_missing": (True, _OWN),
    "bad_arguments": (True, _OWN),
    "name_error": (True, _OWN),
    "attribute_error": (True, _OWN),
    "type_error": (True, _OWN),
    "value_error": (True, _OWN),
    "key_error": (True, _OWN),
    "index_error": (True, _OWN),
    "assertion": (True, _OWN),
    "zero_division": (True, _OWN),
    "recursion_error": (True, _OWN),
    "not_implemented": (True, _OWN),
    "file_not_found": (True, _OWN),
    "permission_denied": (True, _OWN),
    "subprocess_failed": (True, _OWN),
    "os_error": (True, _OWN),
    "runtime_error": (True, _OWN),
    "uncaught_exception": (True, _OWN),
    "swallowed_exception": (True, _OWN),
    # tensors
    "shape_mismatch": (True, _OWN),
    "dtype_or_device_mismatch": (True, _OWN),
    "autograd_error": (True, _OWN),
    "non_finite_loss": (True, _OWN),
    "state_dict_mismatch": (True, _OWN),
    "cuda_error": (True, _OWN),
    "cuda_unavailable": (True, _OWN),
    # what it used
    "cuda_out_of_memory": (True, "the program ran out of GPU memory by itself"),
    "host_out_of_memory": (True, "the program ran out of host memory by itself"),
    "timeout": (True, "the program used its whole time limit"),
    "no_output_timeout": (True, "the program ran and printed nothing for too long"),
    "output_limit": (True, "the program printed more than it may"),
    "disk_limit": (True, "the program wrote more than it may"),
    "process_limit": (True, "the program started more than it may"),
    "segfault": (True, _OWN),
    "killed_by_signal": (True, _OWN),
    "cancelled": (True, "the run had started; cancelling it does not give it back"),
    # what it left
    "results_missing": (True, "the program ran to its end without results"),
    "results_invalid": (True, "the program ran to its end with results that cannot be used"),
    "results_stale": (True, "the program ran to its end without new results"),
    "locked_files_changed": (True, "the program changed what it is measured with"),
    "unknown": (True, "the program ran and ended with an error"),
    # the world around it
    "gated_model": (False, _MODEL),
    "model_not_found": (False, _MODEL),
    "dataset_unavailable": (False, "nothing in the edit caused it: the data cannot be had here"),
    "network_unavailable": (False, "nothing in the edit caused it: the run has no network"),
    "disk_full": (False, _MACHINE),
    "gpu_fault": (False, _MACHINE),
    "worker_lost": (False, "nobody saw the end of the run: the machine or its runner went away"),
    "not_started": (False, "the program was never started"),
}

_BY_CIRCUMSTANCE: dict[tuple[str, Circumstance], tuple[bool, str]] = {
    ("host_out_of_memory", "model load"): (False, _MODEL_SIZE),
    ("cuda_out_of_memory", "model load"): (False, _MODEL_SIZE),
    ("host_out_of_memory", "elsewhere"): (
        False,
        "the machine ran out of memory; the program was within its limit and used little of it",
    ),
    ("cuda_out_of_memory", "neighbour"): (
        False,
        "other processes held the GPU memory that was missing",
    ),
    ("dependency_missing", "environment"): (
        False,
        "an installed library is broken, not the program",
    ),
    ("import_error", "environment"): (False, "an installed library is broken, not the program"),
    ("killed_by_signal", "outside"): (
        False,
        "stopped from outside; the program is not known to have caused it",
    ),
    ("cancelled", "before start"): (False, "cancelled before the program was started"),
}

KINDS: frozenset[str] = frozenset(_CHARGES)
"""Every kind of failure there is."""


def charges(kind: str, circumstance: Circumstance = "") -> tuple[bool, str]:
    """Say whether a started run that ended so uses up budget, and why.

    Raises KeyError for a kind that is not in `KINDS`. Smoke and preflight runs are never charged,
    whatever this says of their failures: they use no run.
    """
    return _BY_CIRCUMSTANCE.get((kind, circumstance)) or _CHARGES[kind]
