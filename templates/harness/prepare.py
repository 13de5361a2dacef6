"""Fill the shared cache, so that runs find their inputs there: `python -m harness.prepare [MODEL]`.

Done once by the runner, before the baseline, with the template's own files. Without a name it prepares
the models that the runner granted, or by hand the one that `experiment.py` would get.
"""

from __future__ import annotations

import json
import os
import sys
import time

from harness import activations, events, models, probing


def main(names: list[str]) -> None:
    """Prepare full and smoke sizes of each model."""
    events.phase("import")
    started = time.monotonic()
    for name in names or _defaults():
        for smoke in ("", "1"):
            os.environ["AGENT_RUNNER_SMOKE"] = smoke
            model = models.grant(name)
            layer = model.layers[0]
            activations.training_activations(model, layer)
            probing.artifacts(model, layer)
    print(f"prepared in {time.monotonic() - started:.1f} s")


def _defaults() -> list[str]:
    table = json.loads(os.environ.get("AGENT_RUNNER_MODELS") or "{}")
    if table:
        # One name per granted model is enough: requests that are granted the same share its inputs.
        return sorted({answer["granted"] for answer in table.values()})
    from harness import settings

    return [next(iter(settings.model_settings()))]


if __name__ == "__main__":
    main(sys.argv[1:])
