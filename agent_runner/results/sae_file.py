"""The parts of an SAE result file that the checks look at, whatever a run put in their place.

The file is SAEBench's sparse-probing output with the training's own fields merged in at the top.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agent_runner.results.metrics import as_number

_TOP_K = re.compile(r"(sae|llm)_top_(\d{1,6})_test_accuracy")
_RELEASE_LAYER = re.compile(r"layer[_-]?(\d+)")
_HOOK_LAYER = re.compile(r"blocks\.(\d+)\.")


@dataclass(frozen=True)
class SAEFile:
    """One parsed `final_info.json`. Fields of a wrong type read as absent."""

    info: Mapping[str, Any]

    @property
    def is_one(self) -> bool:
        """Whether this is an SAE result at all, and not another template's file."""
        return isinstance(self.section("eval_result_metrics").get("sae"), dict)

    def section(self, name: str) -> Mapping[str, Any]:
        return as_object(self.info.get(name))

    def number(self, name: str) -> float | None:
        return as_number(self.info.get(name))

    def means(self, who: str) -> dict[str, float]:
        """Accuracies over all data sets of `who`: `sae`, or `llm` for the language model's own probes."""
        found = _numbers(as_object(self.section("eval_result_metrics").get(who)))
        return {n: value for n, value in found.items() if n.endswith("_accuracy")}

    def by_k(self, who: str) -> dict[int, float]:
        """The same for probes of k features (or neurons) each."""
        matches = ((_TOP_K.fullmatch(name), value) for name, value in self.means(who).items())
        return {int(match[2]): value for match, value in matches if match}

    @cached_property
    def datasets(self) -> dict[str, dict[str, float]]:
        """Accuracies of each data set, by its name without the `_results` that SAEBench appends."""
        found = {}
        details = self.info.get("eval_result_details")
        for detail in details if isinstance(details, list) else ():
            name = as_object(detail).get("dataset_name")
            if isinstance(name, str):
                found[name.removesuffix("_results")] = _numbers(detail)
        return found

    @property
    def untrained(self) -> dict[str, float]:
        """What an SAE that was never trained scores on the same data, by the names of `metrics`."""
        return _numbers(self.section("untrained"))

    @property
    def k_asked(self) -> list[int]:
        """The numbers of features that probes were asked for, without those that are no such number."""
        asked = self.section("eval_config").get("k_values")
        numbers = [as_number(k) for k in asked] if isinstance(asked, list) else []
        return [int(k) for k in numbers if k is not None and 0 < k < 1e6 and k == int(k)]

    @property
    def datasets_asked(self) -> list[str]:
        asked = self.section("eval_config").get("dataset_names")
        return [n for n in asked if isinstance(n, str)] if isinstance(asked, list) else []

    @property
    def test_size(self) -> float | None:
        """Texts that each probe of a data set is tested on."""
        size = as_number(self.section("eval_config").get("probe_test_set_size"))
        return size if size is not None and size >= 1 else None

    @property
    def layers(self) -> dict[str, int]:
        """Every layer that the file names, by where it does."""
        config = self.section("sae_cfg_dict")
        found = {
            "layer": as_number(self.info.get("layer")),
            "sae_cfg_dict.hook_layer": as_number(config.get("hook_layer")),
            "sae_cfg_dict.hook_name": _number_in(config.get("hook_name"), _HOOK_LAYER),
            "sae_lens_release_id": _number_in(self.info.get("sae_lens_release_id"), _RELEASE_LAYER),
        }
        return {name: int(layer) for name, layer in found.items() if layer is not None}

    @property
    def loss_curve(self) -> list[float] | None:
        """Losses over training. An undefined one ends the curve, and its place is taken by infinity."""
        curve = as_object(self.section("training").get("curves")).get("loss")
        if not isinstance(curve, list):
            return None
        numbers = [as_number(value) for value in curve]
        return [float("inf") if number is None else number for number in numbers]


def as_object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _numbers(group: Mapping[str, Any]) -> dict[str, float]:
    found = {name: as_number(value) for name, value in group.items()}
    return {name: number for name, number in found.items() if number is not None}


def _number_in(text: Any, pattern: re.Pattern[str]) -> int | None:
    match = pattern.search(text) if isinstance(text, str) else None
    return int(match[1][:9]) if match else None
