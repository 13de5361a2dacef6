"""Finds faults of an edited experiment.py before any language model is loaded: `python -m harness.preflight`.

Two training steps on random activations, then `encode` as sparse probing will call it: on (batch, tokens,
d_model), without gradients, in float32 and bfloat16. Exceptions are those of the edited code, with their
own traceback. What this cannot judge (renamed classes, other constructors) is left to the smoke run: a
warning and exit status 0.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from harness import events, measure, nonfinite, seeds

D_MODEL = 128  # small, but a feature count that top-k code can choose from
EQUAL = 256  # where d_sae == d_model
MAX_EXPANSION = 16
BATCH, TOKENS = 4, 8  # of the three-dimensional input


class NotFiniteError(FloatingPointError):
    """A loss or a parameter is NaN or infinite after training steps."""


def main() -> None:
    """Check the `experiment` module of the current folder.

    Raises:
        FloatingPointError: a parameter or a code is not finite.
        RuntimeError: training changes nothing, or a code has a shape that cannot be scored.
        Exception: whatever the edited code raises.
    """
    torch.set_num_threads(1)  # small matrices: more threads would only wait for each other
    events.phase("import")
    import experiment

    expansion = getattr(experiment, "EXPANSION", 4)
    if not isinstance(expansion, int) or not 1 <= expansion <= MAX_EXPANSION:
        expansion = 4
    d_sae = expansion * D_MODEL
    batch_size = getattr(experiment, "SAE_BATCH_SIZE", 2048)
    _check(experiment, D_MODEL, d_sae, batch_size)
    if d_sae == D_MODEL:
        # Equal sizes hide a transposed matrix; it would train without an error, and wrongly.
        _check(experiment, D_MODEL, 4 * D_MODEL, batch_size)
        return
    try:
        _check(experiment, EQUAL, EQUAL, batch_size)
    except (
        Exception
    ) as error:  # any fault of the edited code; the run itself does not use these sizes
        events.warn(
            "fails-at-equal-sizes", f"with d_sae == d_model: {type(error).__name__}: {error}"
        )


def _check(experiment: Any, d_model: int, d_sae: int, batch_size: int) -> None:
    trainer = _trainer(experiment, d_model, d_sae)
    if trainer is None:
        return
    events.phase("training")
    batches = torch.randn(2, batch_size, d_model) + 1.0
    state = torch.get_rng_state()
    try:
        _train(trainer, batches)
    except NotFiniteError:
        again = _trainer(experiment, d_model, d_sae)
        torch.set_rng_state(state)
        with nonfinite.RaiseAtOrigin():  # the same steps: raises at the edited line, where it can
            _train(again, batches)
        raise
    events.phase("evaluation")
    for dtype in (torch.float32, torch.bfloat16):
        _encode(trainer.ae, torch.randn(BATCH, TOKENS, d_model), dtype)


def _trainer(experiment: Any, d_model: int, d_sae: int) -> Any:
    """A `CustomTrainer` of these sizes, or None where it cannot be made from here."""
    make = getattr(experiment, "CustomTrainer", None)
    if make is None:
        return _skip("experiment.py has no CustomTrainer")
    arguments = {"activation_dim": d_model, "dict_size": d_sae, "layer": 0, "lm_name": "preflight"}
    try:
        inspect.signature(make).bind(**arguments)
    except TypeError as error:
        return _skip(f"CustomTrainer takes other arguments than {', '.join(arguments)} ({error})")
    seeds.set_seed(0)
    trainer = make(**arguments)
    if not all(hasattr(trainer, name) for name in ("ae", "update")):
        return _skip("CustomTrainer has no `ae` or no `update`")
    if not isinstance(trainer.ae, torch.nn.Module) or not hasattr(trainer.ae, "encode"):
        return _skip("CustomTrainer.ae is not a module with `encode`")
    return trainer


def _skip(why: str) -> None:
    events.warn("preflight-skipped", f"{why}; nothing was checked before the smoke run")


def _train(trainer: Any, batches: torch.Tensor) -> None:
    """Two steps; the first one may initialise, so changes are looked for in the second."""
    before: dict[str, torch.Tensor] = {}
    for step, batch in enumerate(batches):
        before = {name: p.detach().clone() for name, p in trainer.ae.named_parameters()}
        losses = trainer.update(step, batch)
        _require_finite(trainer, losses, step)
    after = dict(trainer.ae.named_parameters())
    trainable = {name for name, p in after.items() if p.requires_grad}
    for name in sorted(trainable):
        if after[name].grad is None:
            events.warn("parameter-without-gradient", f"{name} has no gradient: nothing trains it")
    if not any(
        name not in before
        or before[name].shape != after[name].shape
        or not before[name].equal(after[name])
        for name in trainable
    ):
        raise RuntimeError("update() changed no parameter of the SAE: nothing is trained")
    if not isinstance(losses, Mapping) or "loss" not in losses:
        events.warn(
            "no-loss", "update() returned no dict with the key 'loss', which the log asks for"
        )
    if hasattr(trainer, "get_logging_parameters"):
        trainer.get_logging_parameters()
    if hasattr(trainer.ae, "decode"):
        measure.reconstruction(trainer.ae, batches[-1])


def _require_finite(trainer: Any, losses: Any, step: int) -> None:
    named = losses if isinstance(losses, Mapping) else {}
    for name, value in {**named, **trainer.ae.state_dict()}.items():
        number = torch.as_tensor(value) if isinstance(value, float | torch.Tensor) else None
        if number is not None and number.is_floating_point() and not torch.isfinite(number).all():
            raise NotFiniteError(
                f"{name} is NaN or infinite, or has such values, after training step {step}"
            )


@torch.no_grad()
def _encode(sae: Any, acts: torch.Tensor, dtype: torch.dtype) -> None:
    """As SAEBench does it: the SAE in the language model's dtype, three-dimensional input."""
    sae = measure.snapshot(sae).to(dtype=dtype)
    codes = sae.encode(acts.to(device=next(sae.parameters()).device, dtype=dtype))
    if codes.ndim != 3 or codes.shape[:2] != acts.shape[:2]:
        raise RuntimeError(
            f"encode() made {tuple(codes.shape)} of {tuple(acts.shape)}; sparse probing needs "
            "(batch, tokens, d_sae)"
        )
    if not torch.isfinite(codes).all():
        raise FloatingPointError(f"encode() gives NaN or infinite values in {dtype}")


if __name__ == "__main__":
    main()
