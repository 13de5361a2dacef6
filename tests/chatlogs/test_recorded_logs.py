"""The five recorded conversations themselves, where they are at hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent_runner.chatlogs import ChatLog, parse_chat_log
from agent_runner.results import check_results, is_degenerate


@pytest.fixture
def logs(seeds: Path) -> dict[str, ChatLog]:
    return {
        path.name[:3]: parse_chat_log(path.read_text(encoding="utf-8"))
        for path in sorted(seeds.glob("0*.txt"))
    }


def test_what_each_recording_holds(logs: dict[str, ChatLog]) -> None:
    assert {name: len(log.replies) for name, log in logs.items()} == {
        "000": 2,
        "001": 1,
        "002": 1,
        "003": 1,
        "004": 1,
    }
    assert all(reply.edits_applied for log in logs.values() for reply in log.replies)
    assert all(log.max_runs == 10 and log.experiment and log.plan for log in logs.values())
    assert {log.title.split()[0] for log in logs.values()} == {
        "Self-Aligning",
        "Parametric",
        "Median-MAD",
        "Feature-Importance",
        "Percentile-Adaptive",
    }
    assert "Ïƒ" in logs["003"].plan


def test_all_blocks_survive_byte_for_byte(logs: dict[str, ChatLog], seeds: Path) -> None:
    blocks = json.loads((seeds / "search_blocks.json").read_text(encoding="utf-8"))
    for block in blocks:
        written = f"<<<<<<< SEARCH\n{block['search']}=======\n{block['replace']}>>>>>>> REPLACE"
        assert sum(reply.text.count(written) for reply in logs[block["log"]].replies) == 1
    counted = sum(
        reply.text.count("<<<<<<< SEARCH") for log in logs.values() for reply in log.replies
    )
    assert counted == len(blocks) == 17


def test_the_recorded_outcomes(logs: dict[str, ChatLog]) -> None:
    first, second = logs["000"].replies
    assert "401 Client Error" in first.failures[0] and "ai-forever/mGPT" in second.failures[0]
    assert (first.reruns, second.reruns, logs["003"].replies[0].failures) == (0, 0, ())
    for name in ("001", "002", "004"):
        (only,) = logs[name].replies
        # Nine messages of failure, each refused by the host: nine times the same code again, ten runs.
        assert (len(only.failures), len(only.api_errors), only.reruns) == (9, 9, 9)
        assert all("deepseek-reasoner does not support" in error for error in only.api_errors)


def test_every_recorded_baseline_is_degenerate(logs: dict[str, ChatLog]) -> None:
    for log in logs.values():
        assert log.baseline is not None and log.baseline_problem is None
        assert is_degenerate(check_results(log.baseline))
