"""`agent-runner check`, of files as they lie about."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

UNTRAINED = {
    "eval_result_metrics": {
        "sae": {
            "sae_test_accuracy": 0.5,
            "sae_top_1_test_accuracy": 0.5,
            "sae_top_2_test_accuracy": 0.5,
        }
    },
    "eval_config": {"k_values": [1, 2]},
    "training_steps": 0,
}


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str, Any], str]:
    def write(name: str, content: Any) -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write


def test_good_numbers(cli: Callable, file: Callable) -> None:
    told = cli("check", file("any name.json", {"loss": 0.5}))
    assert (told.code, told.stdout) == (0, "Nothing suspicious was found.\n")


def test_a_degenerate_file_in_words_and_as_json(cli: Callable, file: Callable) -> None:
    path = file("final_info.json", UNTRAINED)
    told = cli("check", path)
    assert told.code == 4
    lines = told.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:-1]] == [
        ["fail", "no-training"],
        ["fail", "exact-chance"],
    ]
    assert "training_steps is 0: the SAE evaluated is the initial one" in lines[0]
    assert lines[-1].startswith("2 findings are fails: these numbers say nothing")
    answer = cli("check", path, "--json")
    assert (answer.code, answer.json["degenerate"], answer.json["schema_version"]) == (4, True, 1)
    assert [finding["code"] for finding in answer.json["findings"]] == [
        "no-training",
        "exact-chance",
    ]


def test_beside_a_baseline(cli: Callable, file: Callable) -> None:
    baseline, good = file("b.json", {"loss": 0.5}), file("g.json", {"loss": 0.4})
    assert cli("check", good, "--against", baseline, "--json").json["findings"] == []
    same = cli("check", baseline, "--against", baseline)
    assert same.code == 0
    assert "identical" in same.stdout and "warnings in mind" in same.stdout
    empty = cli("check", good, "--against", file("e.json", {}))
    assert empty.code == 4 and "degenerate-baseline" in empty.stdout


def test_a_run_s_folder_and_standard_input(cli: Callable, file: Callable) -> None:
    folder = Path(file("run_3/final_info.json", {"metrics": {"loss": 0.5}})).parent
    assert cli("check", str(folder), "--json").json["metrics"] == {"loss": 0.5}
    piped = cli("check", "-", "--json", stdin='{"loss": 0.25}').json
    assert (piped["file"], piped["metrics"]) == ("-", {"loss": 0.25})


@pytest.mark.parametrize(
    ("content", "fact"),
    [('{"loss": NaN}', "'loss' is not a finite number"), ("[1]", "an array"), ("", "not JSON")],
)
def test_no_strict_json_is_the_first_finding(
    cli: Callable, file: Callable, content: str, fact: str
) -> None:
    told = cli("check", file("final_info.json", content), "--json")
    assert told.code == 4
    (finding,) = told.json["findings"]
    assert (finding["severity"], finding["code"]) == ("fail", "results_invalid")
    assert fact in finding["message"]


def test_mistakes_are_usage_errors(cli: Callable, file: Callable, tmp_path: Path) -> None:
    good, bad = file("g.json", {"loss": 0.5}), file("b.json", "[1]")
    for arguments, fact in (
        (["nowhere.json"], "nowhere.json is not there"),
        ([str(tmp_path)], "final_info.json was not written"),
        ([good, "--against", bad], "The baseline cannot be read"),
        ([good, "--against", "nowhere.json"], "nowhere.json is not there"),
        (["-", "--against", "-"], "can be read once"),
    ):
        told = cli("check", *arguments)
        assert (told.code, told.stdout) == (2, "")
        assert fact in told.stderr
        assert json.loads(cli("check", *arguments, "--json").stderr)["error"]["code"] == "usage"
