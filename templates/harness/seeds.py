"""Seeds: those that a run draws with, which an offset moves, and that of the shared inputs, which stays.

AGENT_RUNNER_SEED_OFFSET is added to every seed of training (`set_seed`, the order of batches) and of the
probes that score an SAE. So the same code can be run again with other random numbers, to see how far its
metrics scatter. What all runs share (stored activations, probing texts, the language model's own probes,
the untrained reference) is drawn with EVALUATION_SEED whatever the offset.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator

import numpy as np
import torch

EVALUATION_SEED = 42  # of sampling, shuffling and probe training

_VARIABLE = "AGENT_RUNNER_SEED_OFFSET"


def offset() -> int:
    """What this run adds to its seeds; 0 where AGENT_RUNNER_SEED_OFFSET is unset or empty.

    Raises:
        ValueError: it is not a whole number from 0 to 2**31 - 1.
    """
    text = os.environ.get(_VARIABLE, "").strip()
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal()) or int(text) >= 2**31:
        raise ValueError(
            f"{_VARIABLE} is {text!r}, not a whole number from 0 to {2**31 - 1}; "
            "unset it, or set it to what is to be added to the seeds"
        )
    return int(text)


def moved(seed: int) -> int:
    """A seed as this run uses it: with the offset."""
    return seed + offset()


def set_seed(seed: int) -> None:
    """Seed Python, numpy and torch (all devices) with `seed` plus this run's offset."""
    set_fixed_seed(moved(seed))


def set_fixed_seed(seed: int) -> None:
    """Seed Python, numpy and torch (all devices) with `seed` itself: for what all runs share."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """The random numbers after the block are those that would have come without it."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
