"""What a run writes: a line of metrics.jsonl per logged step, and final_info.json once, whole, at the end."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import events, measure, probing, seeds, settings, untrained
from harness.activations import TrainingActivations
from harness.integrity import InitialParameters

_CURVE_TOKENS = 2048  # held-out tokens per logged step; the final figures use all of them


class TrainingLog:
    """metrics.jsonl in the run's folder: the losses the trainer says, and what the harness measures."""

    def __init__(self, out_dir: str, acts: TrainingActivations) -> None:
        self.acts = acts
        self.lines: list[dict[str, float | int | None]] = []
        self.last_step = -1
        Path(out_dir).mkdir(parents=True, exist_ok=True)
        self._path = Path(out_dir) / "metrics.jsonl"
        self._path.write_text("")
        self._held_out = acts.held_out()
        self._initial = InitialParameters()

    def record(
        self, step: int, sae: Any, losses: Mapping[str, Any], extra: Mapping[str, Any] | None = None
    ) -> None:
        """Log one step: its losses, other values of the trainer, and L0, explained variance, dead features.

        Raises:
            FloatingPointError: the loss is not a finite number, so that further steps are of no use.
            TypeError: `update` returned no dict with a "loss".
        """
        if not isinstance(losses, Mapping) or "loss" not in losses:
            raise TypeError(
                f"update() must return its losses as a dict with the key 'loss', not {type(losses).__name__}"
            )
        loss = _number(losses["loss"])
        if loss is None or not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {losses['loss']} at step {step}; training stopped"
            )
        self._initial.logged(sae)
        measured = measure.reconstruction(sae, self._held_out[:_CURVE_TOKENS])
        values = {**(extra or {}), **losses, **measured}
        line = {"step": step, **{name: _finite(_number(value)) for name, value in values.items()}}
        self.lines.append(line)
        self.last_step = step
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
        print(
            f"step {step:>6}  loss {loss:.4f}  l0 {measured['l0']:.1f}  "
            f"explained variance {measured['explained_variance']:.3f}  dead {measured['dead_features']:.3f}",
            flush=True,
        )

    def curves(self) -> dict[str, list[float | int | None]]:
        """The logged values by name, one per logged step."""
        names = dict.fromkeys(name for line in self.lines for name in line)
        return {name: [line.get(name) for line in self.lines] for name in names}

    def final(self, sae: Any) -> dict[str, float]:
        """L0, explained variance and dead features on all held-out tokens."""
        return measure.reconstruction(sae, self._held_out)

    def integrity(self, sae: Any) -> dict[str, float | int | str | None]:
        """What training did to the SAE's parameters (see `InitialParameters`); for once, at the end."""
        compared = self._initial.compare(sae)
        self._initial.close()
        return compared


def _number(value: Any) -> float | None:
    """A number as such, a tensor by its mean; None for what is neither."""
    try:
        return float(value.float().mean()) if hasattr(value, "float") else float(value)
    except (TypeError, ValueError, RuntimeError):
        return None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def write(
    out_dir: str,
    sae: Any,
    scores: Mapping[str, Any],
    log: TrainingLog,
    config: Mapping[str, Any],
) -> dict[str, Any]:
    """Write final_info.json and return it.

    Raises:
        ValueError: no training step was logged, or a metric is not finite; nothing is written then.
    """
    events.phase("writing results")
    if not log.lines:
        raise ValueError(
            "no training step was logged: call log.record(step, sae, losses) while training"
        )
    final_loss = log.lines[-1]["loss"]
    measured = log.final(sae)
    metrics = {**_flat(scores), **measured, "final_loss": final_loss}
    _refuse_non_finite(metrics)
    model = log.acts.language_model
    info = {
        **scores,
        "training_steps": log.last_step + 1,
        "final_loss": final_loss,
        "layer": log.acts.layer,
        "dict_size": sae.cfg.d_sae,
        "learning_rate": config.get("learning_rate"),
        "sparsity_penalty": config.get("sparsity_penalty"),
        "metrics": metrics,
        **measured,
        "model": model.record(),
        "device": log.acts.device,
        "smoke": settings.is_smoke(),
        "seed_offset": seeds.offset(),
        "data": {**log.acts.source, "probing": probing.digests(model, log.acts.layer)},
        "integrity": log.integrity(sae),
        "untrained": _untrained(log.acts),
        "training": {
            "curves": log.curves(),
            "config": {**_jsonable(config), "seed_offset": seeds.offset()},
            "tokens": log.acts.num_tokens,
            "distinct_tokens": log.acts.distinct_tokens,
        },
    }
    _write_atomically(Path(out_dir) / "final_info.json", info)
    return info


def _untrained(acts: TrainingActivations) -> dict[str, float] | None:
    """The untrained reference; None where it can be neither found nor computed."""
    try:
        return untrained.scores(acts)
    except (OSError, RuntimeError, MemoryError) as error:
        # No space left on the disk or the GPU, most likely: no reason to lose the run's own results.
        events.warn("no-untrained-reference", f"not computed: {type(error).__name__}: {error}")
        return None


def _flat(scores: Mapping[str, Any]) -> dict[str, float]:
    """The mean accuracies; metrics of a k that was not asked for are left out."""
    means = {**scores["eval_result_metrics"]["sae"], **scores["eval_result_metrics"]["llm"]}
    return {name: value for name, value in means.items() if value is not None}


def _refuse_non_finite(metrics: Mapping[str, Any]) -> None:
    bad = {
        k: v for k, v in metrics.items() if not isinstance(v, int | float) or not math.isfinite(v)
    }
    if bad:
        raise ValueError(
            f"not finite, so not written: {bad}. The SAE's codes or reconstructions hold NaN or infinity"
        )


def _jsonable(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        k: v if isinstance(v, bool | int | float | str | None) else repr(v)
        for k, v in config.items()
    }


def _write_atomically(path: Path, info: Mapping[str, Any]) -> None:
    text = json.dumps(info, indent=2, allow_nan=False)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
