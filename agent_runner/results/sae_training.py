"""Was the SAE trained: steps, loss, parameters, codes, and what it has over an SAE that never was."""

from __future__ import annotations

import math
from collections.abc import Iterator

from agent_runner.records import Finding
from agent_runner.results.findings import fail, note, shown, warn
from agent_runner.results.metrics import as_number
from agent_runner.results.sae_file import SAEFile

MANY_DEAD = 0.5
DENSE = 0.5  # of the features active on a token: no sparse code any more
# Eight steps of Adam at a learning rate of 3e-4 in its warm-up move an SAE by more than 1e-2.
HARDLY_CHANGED = 1e-4
_SAME_NUMBER = 1e-4  # relative; it may be rounded


def training(file: SAEFile) -> Iterator[Finding]:
    """Steps and loss."""
    steps = file.number("training_steps")
    if steps == 0:
        yield fail("no-training", "training_steps is 0: the SAE evaluated is the initial one")
    elif steps is not None and (steps < 0 or steps % 1):
        yield fail("out-of-range", f"training_steps is {steps:g}: not a count of steps")
    loss = file.number("final_loss")
    if "final_loss" in file.info and loss is None:
        yield fail("no-loss", f"final_loss is {shown(file.info['final_loss'])}")
    curve = file.loss_curve
    if not curve:
        return
    if len(curve) > 1 and not curve[-1] < curve[0]:
        message = (
            f"the training loss did not fall: {curve[0]:.4g} at first, {curve[-1]:.4g} at last"
        )
        yield warn("loss-not-falling", message)
    if (
        loss is not None
        and math.isfinite(curve[-1])
        and not math.isclose(loss, curve[-1], rel_tol=_SAME_NUMBER)
    ):
        message = f"final_loss / the last of training.curves.loss: {loss:.6g} vs {curve[-1]:.6g}"
        yield warn("mismatch", message)


def parameters(file: SAEFile) -> Iterator[Finding]:
    """What the harness found of the parameters, beside their values before training; absent = not asked."""
    found = file.section("integrity")
    count, bad, changed, distance = (
        as_number(found.get(name))
        for name in ("parameters", "non_finite", "changed", "relative_change")
    )
    if count == 0:
        yield warn(
            "no-parameters",
            "the SAE has no trainable parameter: what was trained, if anything, cannot be told",
        )
        return
    if bad is not None and bad > 0:
        of = f" of {count:.12g}" if count is not None else ""
        message = f"{bad:.12g}{of} parameter values of the SAE evaluated are NaN or infinite"
        yield fail("non-finite-parameters", message)
    if changed == 0 or (distance == 0 and changed is None):
        message = "no parameter differs from its initial value: training changed nothing of the SAE evaluated"
        yield fail("unchanged-parameters", message)
        return
    if distance is not None and 0 <= distance < HARDLY_CHANGED:
        message = (
            f"training moved the parameters by {distance:.1g} of their norm: the SAE evaluated is nearly "
            "the initial one"
        )
        yield warn("hardly-changed", message)
    if changed is not None and 0 < changed < 1:
        message = (
            f"{1 - changed:.0%} of the parameter tensors are as they were initialised: frozen on purpose, "
            "or not reached by the loss or the optimizer"
        )
        yield note("frozen-parameters", message)


def codes(file: SAEFile) -> Iterator[Finding]:
    """Sparsity and reconstruction: an SAE can probe well and still reconstruct nothing."""
    l0, size = file.number("l0"), file.number("dict_size")
    dead, explained = _dead_fraction(file), file.number("explained_variance")
    yield from _impossible(file, dead)
    if l0 == 0 or dead == 1:
        yield fail("all-dead", "no feature is ever active (L0 is 0)")
    elif dead is not None and MANY_DEAD < dead < 1:
        yield warn("dead-features", f"{dead:.0%} of the features are never active")
    if l0 is not None and size is not None and 0 < DENSE * size < l0 <= size:
        message = f"{l0:.4g} of {size:.12g} features are active on a token: the code is not sparse"
        yield warn("dense-codes", message)
    if explained is not None and explained <= 0:
        message = f"explained_variance is {explained:.3g}: no better than the mean activation"
        yield warn("no-reconstruction", message)
    unsaid = [name for name in ("l0", "explained_variance") if file.number(name) is None]
    if unsaid and file.section("training"):
        message = (
            f"no {' and no '.join(unsaid)}: an SAE can score well in probing while its code is dense or "
            "reconstructs nothing"
        )
        yield warn("unreported", message)


def _impossible(file: SAEFile, dead: float | None) -> Iterator[Finding]:
    l0, size = file.number("l0"), file.number("dict_size")
    explained = file.number("explained_variance")
    wrong = []
    if l0 is not None and (l0 < 0 or (size is not None and l0 > size)):
        wrong.append(f"l0 {l0:g} of {shown(size)} features")
    if explained is not None and explained > 1:
        wrong.append(f"explained_variance {explained:g} (at most 1)")
    if dead is not None and not 0 <= dead <= 1:
        wrong.append(f"dead_features {shown(file.info.get('dead_features'))}")
    if wrong:
        yield fail("out-of-range", f"impossible: {', '.join(wrong)}")


def _dead_fraction(file: SAEFile) -> float | None:
    """`dead_features` as a share of all: a whole number is a count, a decimal one a share already."""
    dead, size = file.number("dead_features"), file.number("dict_size")
    if dead is None or isinstance(file.info["dead_features"], float):
        return dead
    return dead / size if size else None


def beside_untrained(file: SAEFile) -> Iterator[Finding]:
    """Whether training shows in the numbers at all; only where the untrained reference was measured."""
    before, now = file.untrained, file.means("sae")
    gains = {name: now[name] - before[name] for name in before if name in now}
    if not gains or math.fsum(gains.values()) > 0:
        return
    gain = math.fsum(gains.values()) / len(gains)
    message = (
        f"an SAE that was never trained probes as well on the same data (this one {gain:+.4f}, over "
        f"{len(gains)} accuracies)"
    )
    explained = file.number("explained_variance")
    reference = before.get("explained_variance")
    if explained is not None and reference is not None and explained > reference:
        message += (
            f"; it reconstructs better (explained variance {explained:.3f} against {reference:.3f}). "
            "These accuracies tell nothing about training"
        )
        yield note("no-better-than-untrained", message)
    else:
        yield warn(
            "no-better-than-untrained", f"{message}, and nothing shows that it reconstructs better"
        )
