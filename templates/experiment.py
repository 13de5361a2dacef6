"""Train a sparse autoencoder (SAE) on a language model's activations, and score it by sparse probing.

This is the one file to edit: the architecture, the loss, the optimizer and the training loop are all here,
top to bottom. `python experiment.py --out_dir=run_0` writes run_0/final_info.json and run_0/metrics.jsonl.
The `harness` folder beside it is locked: which language model is used, the data, the evaluation and the
writing of results are the same for every run, so that runs can be compared.
"""

import harness  # noqa: F401  first: sets environment variables that torch reads at its own import
import torch
import os
import torch.nn as nn
import argparse
from typing import Optional

import numpy as np

from harness import activations, evaluation, models, results, seeds
from harness.sae_config import SAEConfig

# ----------------------------------------------------------------------------------------------------
# hyperparameters

SEED = 42
EXPANSION = 4  # d_sae / d_model
SAE_BATCH_SIZE = 2048  # tokens per training step
LEARNING_RATE = 3e-4  # after warmup
SPARSITY_PENALTY = 0.15  # weight of the L1 norm of the features against the L2 norm of the error
INITIAL_DENSITY = 0.1  # fraction of tokens each feature is active on before training
WARMUP_FRACTION = 0.05  # of all steps: the learning rate rises linearly from zero
RESAMPLE_STEPS = None  # revive dead features every so many steps; None = never
LOG_STEPS = 20  # a line of metrics.jsonl every so many steps

# ----------------------------------------------------------------------------------------------------
# the sparse autoencoder


class CustomSAE(nn.Module):
    """Implementation of a Custom Sparse Autoencoder."""
    def __init__(
        self,
        d_in: int,
        d_sae: int,
        hook_layer: int,
        model_name: str = "EleutherAI/pythia-70m-deduped",
        hook_name: Optional[str] = None,
    ):
        super().__init__()
        self.W_enc = nn.Parameter(torch.zeros(d_in, d_sae))
        self.W_dec = nn.Parameter(torch.zeros(d_sae, d_in))
        self.b_enc = nn.Parameter(torch.zeros(d_sae))
        self.b_dec = nn.Parameter(torch.zeros(d_in))
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = torch.float32

        # Add properties to match the interface expected by CustomTrainer
        self.activation_dim = d_in
        self.dict_size = d_sae

        # What the evaluation reads: which activations this SAE is for
        self.cfg = SAEConfig(
            model_name=model_name,
            d_in=d_in,
            d_sae=d_sae,
            hook_layer=hook_layer,
            hook_name=hook_name or f"blocks.{hook_layer}.hook_resid_post",
        )
        self.reset_parameters()
        self.to(self.device)

    @torch.no_grad()
    def reset_parameters(self):
        """Unit-norm random decoder rows (one per feature), the encoder their transpose, zero biases."""
        directions = torch.randn_like(self.W_dec)
        self.W_dec.copy_(directions / directions.norm(dim=1, keepdim=True))
        self.W_enc.copy_(self.W_dec.T)
        self.b_enc.zero_()
        self.b_dec.zero_()

    def encode(self, input_acts):
        pre_acts = (input_acts - self.b_dec) @ self.W_enc + self.b_enc
        acts = torch.relu(pre_acts)
        return acts

    def decode(self, acts):
        return acts @ self.W_dec + self.b_dec

    def forward(self, acts, output_features=False):
        encoded = self.encode(acts)
        decoded = self.decode(encoded)
        if output_features:
            return decoded, encoded
        return decoded

    def to(self, *args, **kwargs):
        super().to(*args, **kwargs)
        self.device, self.dtype = self.W_enc.device, self.W_enc.dtype
        return self


# ----------------------------------------------------------------------------------------------------
# training


class ConstrainedAdam(torch.optim.Adam):
    """Adam that keeps every row of the constrained parameters at unit norm (dim=1: one row per feature).

    The gradient loses its component along the row before the step, so that the step turns the row and
    the renormalisation after it has little left to do.
    """

    def __init__(self, params, constrained_params, lr):
        super().__init__(params, lr=lr)
        self.constrained_params = list(constrained_params)

    @torch.no_grad()
    def step(self, closure=None):
        for p in self.constrained_params:
            if p.grad is None:  # frozen
                continue
            unit = p / p.norm(dim=1, keepdim=True)
            p.grad -= (p.grad * unit).sum(dim=1, keepdim=True) * unit
        loss = super().step(closure)
        for p in self.constrained_params:
            p /= p.norm(dim=1, keepdim=True)
        return loss


class SAETrainer:
    """Base of trainers. Attributes named in `logging_parameters` are written to metrics.jsonl."""

    def __init__(self, seed=None):
        self.seed = seed
        self.logging_parameters = []

    def update(self, step, activations):
        """One training step on a (batch, d_in) tensor. Returns the losses as a dict of floats."""
        raise NotImplementedError

    def get_logging_parameters(self):
        stats = {}
        for param in self.logging_parameters:
            if hasattr(self, param):
                stats[param] = getattr(self, param)
            else:
                print(f"Warning: {param} not found in {self}")
        return stats

    @property
    def config(self):
        return {"trainer": type(self).__name__, "seed": self.seed}


class CustomTrainer(SAETrainer):
    """L2 reconstruction error plus an L1 penalty on the features.

    Both terms are norms, not squares, so one penalty serves models whose activations differ in scale.
    """

    def __init__(
        self,
        activation_dim,
        dict_size,
        layer,
        lm_name,
        hook_name=None,
        lr=LEARNING_RATE,
        l1_penalty=SPARSITY_PENALTY,
        warmup_steps=1000,
        resample_steps=RESAMPLE_STEPS,
        seed=SEED,
        device=None,
    ):
        super().__init__(seed)
        self.layer, self.lm_name = layer, lm_name
        self.lr, self.l1_penalty = lr, l1_penalty
        self.warmup_steps, self.resample_steps = warmup_steps, resample_steps
        seeds.set_seed(seed)
        self.ae = CustomSAE(activation_dim, dict_size, layer, model_name=lm_name, hook_name=hook_name)
        self.device = self.ae.device if device is None else torch.device(device)
        self.ae.to(self.device)

        self.optimizer = ConstrainedAdam(self.ae.parameters(), [self.ae.W_dec], lr=lr)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: min(1.0, (step + 1) / max(1, warmup_steps))
        )
        # how many steps ago each feature was last active; only kept where dead features are revived
        self.steps_since_active = None
        if resample_steps is not None:
            self.steps_since_active = torch.zeros(dict_size, dtype=torch.long, device=self.device)

    def loss(self, x, logging=False):
        x_hat, f = self.ae(x, output_features=True)
        l2_loss = (x - x_hat).norm(p=2, dim=-1).mean()
        l1_loss = f.norm(p=1, dim=-1).mean()

        if self.steps_since_active is not None:
            with torch.no_grad():
                self.steps_since_active += 1
                self.steps_since_active[(f > 0).any(dim=0)] = 0

        loss = l2_loss + self.l1_penalty * l1_loss
        if not logging:
            return loss
        return loss, {"loss": loss.item(), "l2_loss": l2_loss.item(), "l1_loss": l1_loss.item()}

    @torch.no_grad()
    def resample_neurons(self, dead, x):
        """Point dead features at the inputs that are reconstructed worst, and forget their momentum."""
        ae = self.ae
        errors = (x - ae(x)).norm(dim=-1)
        worst = torch.multinomial(errors**2, min(len(x), int(dead.sum())))
        chosen = dead.nonzero().squeeze(-1)[: len(worst)]
        directions = x[worst] - ae.b_dec
        directions = directions / directions.norm(dim=-1, keepdim=True)
        ae.W_dec[chosen] = directions
        ae.W_enc[:, chosen] = 0.2 * ae.W_enc.norm(dim=0).mean() * directions.T
        ae.b_enc[chosen] = 0.0
        for moment in ("exp_avg", "exp_avg_sq"):
            self.optimizer.state[ae.W_dec][moment][chosen] = 0.0
            self.optimizer.state[ae.W_enc][moment][:, chosen] = 0.0
            self.optimizer.state[ae.b_enc][moment][chosen] = 0.0
        self.steps_since_active[chosen] = 0

    @torch.no_grad()
    def initialize_biases(self, x):
        """Center the inputs, and make each feature active on INITIAL_DENSITY of them.

        Adam moves a bias by at most lr per step, too slowly to get there from zero in a short training.
        """
        self.ae.b_dec.copy_(x.mean(dim=0))
        pre_acts = (x - self.ae.b_dec) @ self.ae.W_enc
        rank = max(1, int((1 - INITIAL_DENSITY) * len(x)))
        self.ae.b_enc.copy_(-pre_acts.kthvalue(rank, dim=0).values)

    def update(self, step, activations):
        activations = activations.to(self.device)
        if step == 0:
            self.initialize_biases(activations)
        self.optimizer.zero_grad()
        loss, losses = self.loss(activations, logging=True)
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        if self.resample_steps is not None and step > 0 and step % self.resample_steps == 0:
            dead = self.steps_since_active > self.resample_steps // 2
            if dead.any():
                self.resample_neurons(dead, activations)
        return losses

    @property
    def config(self):
        return {
            **super().config,
            "activation_dim": self.ae.activation_dim,
            "dict_size": self.ae.dict_size,
            "layer": self.layer,
            "lm_name": self.lm_name,
            "learning_rate": self.lr,
            "sparsity_penalty": self.l1_penalty,
            "warmup_steps": self.warmup_steps,
            "resample_steps": self.resample_steps,
            "sae_batch_size": SAE_BATCH_SIZE,
        }


def run_sae_training(acts, log):
    """Train an SAE on `acts` (the harness's activations of one layer). Returns the trainer."""
    steps = max(1, acts.num_tokens // SAE_BATCH_SIZE)
    trainer = CustomTrainer(
        activation_dim=acts.d_model,
        dict_size=EXPANSION * acts.d_model,
        layer=acts.layer,
        lm_name=acts.model_name,
        hook_name=acts.hook_name,
        warmup_steps=int(WARMUP_FRACTION * steps),
        device=acts.device,
    )
    for step, batch in enumerate(acts.batches(SAE_BATCH_SIZE, steps, seed=SEED)):
        losses = trainer.update(step, batch)
        if step % LOG_STEPS == 0 or step == steps - 1:
            log.record(step, trainer.ae, losses, trainer.get_logging_parameters())
    return trainer


# ----------------------------------------------------------------------------------------------------
# evaluation

# How the language model is run, if it is the one asked for. `layers[0]` is trained on and evaluated.
# Models that cannot be used on this machine are replaced by the next one of template.toml, which has
# settings of its own; the replacement is printed, and recorded in final_info.json.
MODEL_CONFIGS = {
    # "EleutherAI/pythia-70m-deduped": {"batch_size": 512, "dtype": "float32", "layers": [3, 4], "d_model": 512},
    "google/gemma-2-2b": {"batch_size": 32, "dtype": "bfloat16", "layers": [5, 12, 19], "d_model": 2304},
}


def evaluate_trained_sae(sae, acts):
    """Sparse probing of the layer that was trained on: SAEBench's accuracies, on the harness's data."""
    return evaluation.sparse_probing(sae, acts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a sparse autoencoder and score it by sparse probing.")
    parser.add_argument("--out_dir", type=str, default="run_0", help="folder for the results")
    args = parser.parse_args()
    os.makedirs(args.out_dir, exist_ok=True)

    # Do not modify this to gemma-2b models, gemma-2-2b is a different model and actually exists 
    model_name = "google/gemma-2-2b"
    # model_name = "EleutherAI/pythia-70m-deduped"

    language_model = models.grant(model_name, MODEL_CONFIGS)
    acts = activations.training_activations(language_model, layer=language_model.layers[0])
    log = results.TrainingLog(args.out_dir, acts)

    trainer = run_sae_training(acts, log)
    scores = evaluate_trained_sae(trainer.ae, acts)
    final_info = results.write(args.out_dir, trainer.ae, scores, log, trainer.config)

    for name, value in final_info["metrics"].items():
        print(f"{name + ':':<28} {np.round(value, 4)}")
