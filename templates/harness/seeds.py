"""One seed for every source of randomness."""

from __future__ import annotations

import random

import numpy as np
import torch

EVALUATION_SEED = 42  # of sampling, shuffling and probe training; the same for every run


def set_seed(seed: int) -> None:
    """Seed Python, numpy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
