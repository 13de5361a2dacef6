"""How well and how sparsely an SAE reconstructs activations it was not trained on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch

_BATCH = 2048  # tokens encoded at once


def snapshot(sae: Any) -> Any:
    """A copy of an SAE in evaluation mode, so that measuring cannot change the SAE that is trained.

    Tensors that an SAE keeps from its last forward pass are copied without their graph (PyTorch refuses
    to copy those).
    """
    memo: dict[int, Any] = {}
    for module in sae.modules():
        for tensor in _tensors(vars(module)):
            if not tensor.is_leaf:
                memo[id(tensor)] = tensor.detach().clone()
    return copy.deepcopy(sae, memo).eval()


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """The tensors in nested dicts, lists and tuples."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


@torch.no_grad()
def reconstruction(sae: Any, held_out: torch.Tensor) -> dict[str, float]:
    """Measured on a copy of the SAE, and without touching the state of the random number generators.

    Args:
        held_out: (tokens, d_model), float32.

    Returns:
        l0: features active per token, on average.
        explained_variance: 1 - |x - x_hat|^2 / |x - mean(x)|^2, both summed over tokens and channels.
        dead_features: fraction of features active on none of the tokens.
    """
    sae = snapshot(sae)
    active: Any = 0.0
    error = 0.0
    with torch.random.fork_rng():
        for x in torch.split(held_out, _BATCH):
            f = sae.encode(x)
            active = active + (f > 0).sum(dim=0).double()
            error += float((x - sae.decode(f)).double().square().sum())
    variance = float((held_out - held_out.mean(dim=0)).double().square().sum())
    return {
        "l0": float(active.sum()) / len(held_out),
        "explained_variance": 1 - error / variance,
        "dead_features": float((active == 0).double().mean()),
    }
