"""Checks of a result file of any template: few, and each only where an honest file would not look so."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from agent_runner.records import Finding
from agent_runner.results.findings import fail, listed, note, warn
from agent_runner.results.metrics import as_number, flat_metrics
from agent_runner.results.sae_file import as_object

_MANY = 3
_NOT_A_NUMBER = re.compile(r"\s*[+-]?(?:\w+[.(])*(nan|inf|infinity)\)*\s*", re.IGNORECASE)
_NAN = re.compile(r"\s*[+-]?(?:\w+[.(])*nan\)*\s*", re.IGNORECASE)
_SHARE = re.compile(
    r"(?:^|[^a-z])(acc|accuracy|precision|recall|f1|auc|auroc)(?:$|[^a-z])", re.IGNORECASE
)
_MAX_LEAVES = 20_000
_MAX_DEPTH = 64


def check_any(file: Mapping[str, Any]) -> Iterator[Finding]:
    """What holds for any template's `final_info.json`."""
    metrics = flat_metrics(file)
    yield from words_for_numbers(file)
    if not metrics:
        message = "final_info.json has no number in it: nothing was measured that could be compared"
        yield fail("no-metrics", message)
        return
    values = list(metrics.values())
    if len(values) >= _MANY and set(values) <= {0.0}:
        yield warn("all-zero", f"all {len(values)} metrics are 0")
    if len(values) >= _MANY and set(values) <= {1.0}:
        yield warn("all-one", f"all {len(values)} metrics are exactly 1")
    yield from _constant_over_datasets(file)
    yield from _constant_over_seeds(file)
    yield from _percentages(metrics)


def words_for_numbers(file: Mapping[str, Any]) -> Iterator[Finding]:
    """Strings that stand for NaN or an infinity, and nulls, where the file says what it measured.

    In a file without such a place any string may be a setting, so only NaN is a sign there.
    """
    places = _declared(file)
    bad, empty = [], []
    for name, value in _leaves(places or file):
        if isinstance(value, str) and (_NOT_A_NUMBER if places else _NAN).fullmatch(value[:60]):
            bad.append(f"{name} is {value.strip()[:20]!r}")
        elif value is None and places:
            empty.append(name)
    if bad:
        yield warn(
            "not-a-number", f"metrics that are no numbers, and so are not compared: {listed(bad)}"
        )
    if empty:
        yield note("no-value", f"metrics without a value, and so not compared: {listed(empty)}")


def _declared(file: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a file that say themselves that they hold metrics (see `flat_metrics`)."""
    own = file.get("metrics")
    if isinstance(own, dict) and own:
        return own
    groups = {name: as_object(group).get("means") for name, group in file.items()}
    return {name: means for name, means in groups.items() if isinstance(means, dict)}


def _leaves(file: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Values that are no objects or lists, by dotted name; in the order of the file."""
    waiting: list[tuple[str, Any, int]] = [("", file, 0)]
    for _ in range(_MAX_LEAVES):
        if not waiting:
            return
        name, value, depth = waiting.pop()
        if isinstance(value, dict) and depth < _MAX_DEPTH:
            prefix = f"{name}." if name else ""
            inner = [(f"{prefix}{key}"[:200], item, depth + 1) for key, item in value.items()]
            waiting.extend(reversed(inner))
        elif not isinstance(value, (dict, list)):
            yield name, value


# ------------------------------------------------------------------ constants


def _constant_over_datasets(file: Mapping[str, Any]) -> Iterator[Finding]:
    """AI-Scientist's form: one metric to the last digit the same on every data set."""
    by_metric: dict[str, list[float]] = defaultdict(list)
    groups = [as_object(as_object(group).get("means")) for group in file.values()]
    for group in groups:
        for name, value in group.items():
            if (number := as_number(value)) is not None:
                by_metric[name].append(number)
    constant = [
        name
        for name, values in by_metric.items()
        if len(values) >= _MANY and len(set(values)) == 1 and values[0] % 1
    ]
    if constant:
        message = (
            f"exactly the same on every data set: {listed(constant)}; a measurement is not, so what is "
            "written may not be what was measured"
        )
        yield warn("no-variance", message)


def _constant_over_seeds(file: Mapping[str, Any]) -> Iterator[Finding]:
    """AI-Scientist's `final_info_dict`: a list of one value per seed for each metric."""
    constant = []
    for dataset, group in file.items():
        for name, values in as_object(as_object(group).get("final_info_dict")).items():
            if not isinstance(values, list) or len(values) < _MANY:
                continue
            numbers = [as_number(value) for value in values]
            if numbers[0] is not None and numbers[0] % 1 and len(set(numbers)) == 1:
                constant.append(f"{dataset[:60]}/{name}")
    if constant:
        message = (
            f"exactly the same under every seed: {listed(constant)}; the seeds do not reach it"
        )
        yield warn("constant-over-seeds", message)


# ------------------------------------------------------------------ percentages


def _percentages(metrics: Mapping[str, float]) -> Iterator[Finding]:
    """The same share measured once from 0 to 1 and once from 0 to 100."""
    by_metric: dict[str, list[float]] = defaultdict(list)
    for name, value in metrics.items():
        last = re.split(r"[/.]", name)[-1]
        if is_share(last):
            by_metric[last].append(value)
    mixed = [name for name, values in by_metric.items() if _is_mixed(values)]
    if mixed:
        message = f"percentages on some data sets and fractions on others: {listed(mixed)}"
        yield warn("mixed-units", message)


def is_share(name: str) -> bool:
    """Whether a metric of this name is a share of one, or of a hundred."""
    return _SHARE.search(name.replace("_", " ")) is not None


def _is_mixed(values: list[float]) -> bool:
    """Only where it is plain: a fraction that, as a percentage, lies among the others."""
    fractions = [value for value in values if 0.01 < value < 1]
    percentages = [value for value in values if 2 < value <= 100]
    if not fractions or len(fractions) + len(percentages) < len(values):
        return False
    if not percentages:
        return False
    low, high = 0.67 * min(percentages), 1.5 * max(percentages)
    return all(low <= 100 * value <= high for value in fractions)
