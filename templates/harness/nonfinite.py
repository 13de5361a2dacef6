"""Where a number that is not finite comes from: the first operation that makes one of finite numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class RaiseAtOrigin(TorchDispatchMode):
    """Raises FloatingPointError inside the first operation that makes NaN of tensors without NaN.

    Infinite numbers alone are no fault: masks are made of them. Sees what runs in the Python thread that
    entered it; an operation of the backward pass is raised at the call of `backward`.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if _has_nan(result) and not _has_nan((args, kwargs)):
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in _tensors((args, kwargs)))
            infinite = any(torch.isinf(tensor).any() for tensor in _tensors((args, kwargs)))
            of = "infinite values" if infinite else "finite values"
            raise FloatingPointError(f"{func} makes NaN of {of} (inputs of shape {shapes})")
        return result


def _has_nan(values: Any) -> bool:
    return any(bool(torch.isnan(tensor).any()) for tensor in _tensors(values))


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    for leaf in tree_leaves(values):
        if isinstance(leaf, torch.Tensor) and (leaf.is_floating_point() or leaf.is_complex()):
            yield leaf
