"""What training did to the parameters of an SAE: whether they are finite, and how far from where they began.

`experiment.py` need not say where they began. Each parameter is copied right before the first step that a
torch optimizer makes on it: after initialisation of any kind, and before any update. A parameter that no
torch optimizer holds is copied when a step is first logged, and has had an update or more by then. There is
one copy of the parameters, on their own device, until the results are written.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.weak import WeakTensorKeyDictionary


class _Start(NamedTuple):
    """The initial value of a parameter; `untouched`: by any update, since it was copied in time."""

    value: torch.Tensor
    untouched: bool


class InitialParameters:
    """Copies of parameters as they were before training. Watches all optimizers until `close`."""

    def __init__(self) -> None:
        # Weak keys: the copies of an SAE that the experiment drops are dropped with it.
        self._starts: Any = WeakTensorKeyDictionary()
        self._by_name: dict[str, _Start] = {}
        self._logged = 0
        self._hook = register_optimizer_step_pre_hook(self._before_step)

    def _before_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                self._start(parameter, untouched=True)

    def _start(self, parameter: torch.Tensor, *, untouched: bool) -> _Start:
        if parameter not in self._starts:
            self._starts[parameter] = _Start(parameter.detach().clone(), untouched)
        return self._starts[parameter]  # type: ignore[no-any-return]

    def logged(self, sae: Any) -> None:
        """Note the SAE that is trained. Its names also serve for a copy that is evaluated in its place."""
        self._logged += 1
        self._by_name = {
            name: self._start(p, untouched=False) for name, p in sae.named_parameters()
        }

    def compare(self, sae: Any) -> dict[str, float | int | str | None]:
        """How the parameters of an SAE differ from their initial values theta_0.

        Returns:
            parameters: how many values all parameters hold; non_finite: how many of these are NaN or infinite.
            changed: fraction of the parameters (tensors) that differ; those of another shape or name do.
            relative_change: |theta - theta_0| / |theta_0|, L2 norms over the parameters that have an initial
                value of their shape; None where it is not a finite number.
            since: what theta_0 is: before the `first optimizer step`, or after the `first logged step`. With
                that step as the only one logged, nothing is known of a change, and both figures are None.
        """
        now = dict(sae.named_parameters())
        starts = {name: self._starts.get(p, self._by_name.get(name)) for name, p in now.items()}
        optimized = any(start is not None and start.untouched for start in starts.values())
        known = optimized or self._logged > 1
        differ, moved, norm = 0, 0.0, 0.0
        for name, parameter in now.items():
            value, start = parameter.detach(), _as(parameter, starts[name])
            if start is None:
                differ += 1
                continue
            differ += not torch.equal(value, start)
            moved += float((value.double() - start.double()).square().sum())
            norm += float(start.double().square().sum())
        ratio = math.sqrt(moved / norm) if norm > 0 and math.isfinite(moved) else None
        return {
            "parameters": sum(p.numel() for p in now.values()),
            "non_finite": sum(int((~torch.isfinite(p)).sum()) for p in now.values()),
            "changed": differ / len(now) if now and known else None,
            "relative_change": ratio if known else None,
            "since": "first optimizer step" if optimized else "first logged step",
        }

    def close(self) -> None:
        """Stop watching, and free the copies."""
        self._hook.remove()
        self._starts = WeakTensorKeyDictionary()
        self._by_name = {}


def _as(parameter: torch.Tensor, start: _Start | None) -> torch.Tensor | None:
    """The initial value with the parameter's device and dtype, if it has its shape."""
    if start is None or start.value.shape != parameter.shape:
        return None
    return start.value.to(parameter.device, parameter.dtype)
