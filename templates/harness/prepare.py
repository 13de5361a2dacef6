"""Fill the shared cache, so that runs find their inputs there: `python -m harness.prepare [MODEL]`.

Done once by the runner, before the baseline, with the template's own files. Without a name it prepares
the models that the runner granted, or by hand the one that `experiment.py` would get. Nothing here depends
on an edit or on a seed offset: the activations to train on, the inputs of sparse probing with the language
model's own probes, and the scores of an untrained SAE (which take as long as the evaluation of a run).
"""

from __future__ import annotations

import json
import os
import sys
import time

from harness import activations, events, models, settings, untrained


def main(names: list[str]) -> None:
    """Prepare full and smoke sizes of each model."""
    events.phase("import")
    started = time.monotonic()
    names = names or _defaults()
    for name in names:
        for smoke in ("", "1"):
            os.environ["AGENT_RUNNER_SMOKE"] = smoke
            model = models.grant(name)
            acts = activations.training_activations(model, model.layers[0])
            untrained.scores(acts)  # and, for it, the inputs of probing
    if names:
        print(f"prepared in {time.monotonic() - started:.1f} s")
    else:
        print("nothing to prepare: the runner grants no language model")


def _defaults() -> list[str]:
    table = json.loads(os.environ.get("AGENT_RUNNER_MODELS") or "{}")
    if table:
        # One name per granted model is enough: requests that are granted the same share its inputs.
        asked = {use["granted"]: name for name, use in reversed(table.items()) if use["granted"]}
        return sorted(asked.values())
    return [next(iter(settings.model_settings()))]


if __name__ == "__main__":
    main(sys.argv[1:])
