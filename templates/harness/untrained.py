"""What sparse probing gives without any training: the scores of a random SAE on the same inputs.

The SAE is the template's own as it is before its first step: unit-norm random decoder rows, the encoder
their transpose, and biases with which each feature is active on a tenth of a batch. Its scores depend on no
edit and on no seed offset, so they are shared inputs like the others. Where they are close to those of a
trained SAE, the probing data tell little about training.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from harness import evaluation, events, measure, probing, seeds, store
from harness.activations import TrainingActivations
from harness.sae_config import SAEConfig

# As in the template's experiment.py. They are not read from it: it may have been edited.
SEED = 42
EXPANSION = 4
INITIAL_DENSITY = 0.1
SAE_BATCH_SIZE = 2048

_FILE = "scores.json"


class UntrainedSAE(torch.nn.Module):
    """ReLU encoder and linear decoder with random directions and fitted biases."""

    def __init__(self, acts: TrainingActivations) -> None:
        super().__init__()
        d_sae = EXPANSION * acts.d_model
        self.cfg = SAEConfig(
            model_name=acts.model_name,
            d_in=acts.d_model,
            d_sae=d_sae,
            hook_layer=acts.layer,
            hook_name=acts.hook_name,
        )
        seeds.set_fixed_seed(SEED)
        directions = torch.randn(d_sae, acts.d_model)
        directions = (directions / directions.norm(dim=1, keepdim=True)).to(acts.device)
        x = acts.first_batch(SAE_BATCH_SIZE, SEED)
        center = x.mean(dim=0)
        pre_acts = (x - center) @ directions.T
        rank = max(1, int((1 - INITIAL_DENSITY) * len(x)))
        self.W_enc = torch.nn.Parameter(directions.T.clone())
        self.W_dec = torch.nn.Parameter(directions)
        self.b_enc = torch.nn.Parameter(-pre_acts.kthvalue(rank, dim=0).values)
        self.b_dec = torch.nn.Parameter(center)
        self.device, self.dtype = self.W_enc.device, self.W_enc.dtype

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu((x - self.b_dec) @ self.W_enc + self.b_enc)

    def decode(self, f: torch.Tensor) -> torch.Tensor:
        return f @ self.W_dec + self.b_dec

    def to(self, *args: Any, **kwargs: Any) -> UntrainedSAE:
        super().to(*args, **kwargs)
        self.device, self.dtype = self.W_enc.device, self.W_enc.dtype
        return self


def scores(acts: TrainingActivations) -> dict[str, float]:
    """Mean accuracies under SAEBench's names, and how well this SAE reconstructs held-out tokens.

    From the store, or computed now, which takes as long as the evaluation of any SAE.
    """
    folders = probing.artifacts(acts.language_model, acts.layer)
    key = {
        # The names of these entries stand for everything they depend on.
        "training_activations": acts.entry,
        "probing": {name: folder.name for name, folder in folders.items()},
        "sae_batch_size": acts.language_model.settings.sae_batch_size,
        "d_sae": EXPANSION * acts.d_model,
        "initial_density": INITIAL_DENSITY,
        "batch": SAE_BATCH_SIZE,
        "seeds": [SEED, seeds.EVALUATION_SEED],
    }
    folder = store.entry("untrained", key, lambda to: _compute(acts, folders, to))
    return json.loads((folder / _FILE).read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def _compute(acts: TrainingActivations, folders: dict[str, Path], to: Path) -> None:
    print("untrained reference: sparse probing of a random SAE", flush=True)
    with events.interrupted_by("evaluation"):
        sae = UntrainedSAE(acts)
        by_dataset, _ = evaluation.score(
            sae, acts.language_model, folders, seed=seeds.EVALUATION_SEED
        )
        reconstruction = measure.reconstruction(sae, acts.held_out())
    means = evaluation.means(by_dataset)
    found = {name: value for name, value in means.items() if name.startswith("sae_")}
    found |= reconstruction
    (to / _FILE).write_text(json.dumps(found, allow_nan=False), encoding="utf-8")
