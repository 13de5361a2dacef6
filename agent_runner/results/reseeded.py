"""The same code with other seeds: measured numbers move a little, written ones do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agent_runner.records import Finding, Noise
from agent_runner.results.findings import fail, listed, note, warn
from agent_runner.results.noise import critical_ratio, difference_std

UNSTABLE = 3.0  # times the largest difference that is still within the noise
_REFERENCE = (
    "llm_"  # the language model's own probes are shared between runs, and never seeded anew
)


def check_seed(
    before: Mapping[str, float],
    after: Mapping[str, float],
    *,
    moved_seeds: int,
    noise: Noise | None,
) -> tuple[Finding, ...]:
    """Whether the metrics of a run move with its seeds.

    Args:
        before, after: metrics of the same code, without and with its seeds moved.
        moved_seeds: how many seeds were found and moved; with none, whatever moves or does not proves nothing.
        noise: of the baseline. Metrics that do not move there need not move here.
    """
    shared = {name: (value, after[name]) for name, value in before.items() if name in after}
    missing = [name for name in before if name not in after]
    findings = []
    if missing or not before:
        what = listed(missing) if missing else "there were none to begin with"
        message = f"with other seeds the same code does not write the same metrics: {what}"
        findings.append(fail("metrics-missing", message))
    if shared:
        findings += _movements(shared, moved_seeds, noise)
    return tuple(findings)


def _movements(
    shared: Mapping[str, tuple[float, float]], moved_seeds: int, noise: Noise | None
) -> Iterator[Finding]:
    moved = {name: now - then for name, (then, now) in shared.items() if now != then}
    expected = [name for name, (then, _) in shared.items() if _should_move(name, then, noise)]
    if not moved:
        yield _nothing_moved(shared, expected, moved_seeds)
        return
    if not moved_seeds:
        message = (
            f"no seed that could be moved was found, and still {listed(list(moved))} moved, as clocks and "
            "unseeded programs do: this proves nothing"
        )
        yield warn("no-seeds", message)
    still = [name for name in expected if name not in moved]
    if still:
        yield warn("unmoved", _unmoved(moved, still, moved_seeds))
    wild = [f"{n} by {moved[n]:+.4g}" for n in moved if _beyond(moved[n], n, noise)]
    if wild:
        message = (
            f"far more than unchanged code moves: {listed(wild)}; one run of this code tells little "
            "about it"
        )
        yield warn("unstable", message)
    if moved_seeds and not wild and not still:
        yield note("seed-moves", _largest(moved, shared, noise))


def _unmoved(moved: Mapping[str, float], still: list[str], moved_seeds: int) -> str:
    if not moved_seeds:
        return f"not even by themselves do these metrics move: {listed(still)}. Look how they are computed"
    return (
        f"{len(moved)} metrics move with the seeds, and these do not: {listed(still)}. Look how they are "
        "computed; one that takes few values (an accuracy on few texts) may be equal by chance, and then "
        "moves with another offset"
    )


def _nothing_moved(
    shared: Mapping[str, tuple[float, float]], expected: list[str], moved_seeds: int
) -> Finding:
    if not moved_seeds:
        message = (
            "no metric moved, but no seed that could be moved was found either: this proves nothing"
        )
        return warn("no-seeds", message)
    seeds = "1 seed" if moved_seeds == 1 else f"{moved_seeds} seeds"
    if expected:
        message = (
            f"{seeds} moved, and not one of {len(shared)} metrics did ({listed(expected)}): these numbers are "
            "written down, or do not depend on what is computed"
        )
        return fail("hard-coded", message)
    message = (
        f"{seeds} moved, and no metric did; but these are whole numbers, or do not move in unchanged code "
        "either, so this proves nothing"
    )
    return warn("nothing-shown", message)


def _should_move(name: str, value: float, noise: Noise | None) -> bool:
    """Whole numbers may well be equal by chance; what is still in unchanged code says nothing here."""
    if not value % 1:
        return False
    known = noise.metrics.get(name) if noise is not None else None
    if known is not None and len(known.values) > 1:
        return known.std > 0
    return not name.startswith(_REFERENCE)


def _beyond(difference: float, name: str, noise: Noise | None) -> bool:
    known = noise.metrics.get(name) if noise is not None else None
    std = difference_std(known)
    if known is None or std is None or std == 0:
        return False
    return abs(difference) > UNSTABLE * critical_ratio(known) * std


def _largest(
    moved: Mapping[str, float], shared: Mapping[str, tuple[float, float]], noise: Noise | None
) -> str:
    """The largest movement, in units of noise where these were measured."""
    opening = f"{len(moved)} of {len(shared)} metrics move with the seeds"
    units = {
        name: difference / std
        for name, difference in moved.items()
        if noise is not None and (std := difference_std(noise.metrics.get(name)))
    }
    if units:
        name = max(units, key=lambda n: abs(units[n]))
        return (
            f"{opening}, {listed([name])} most: by {units[name]:+.1f} x noise ({moved[name]:+.4g})"
        )
    name = max(moved, key=lambda n: abs(moved[n]))
    return (
        f"{opening}; how far they usually do was not measured ({listed([name])} {moved[name]:+.4g})"
    )
