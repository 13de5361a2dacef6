"""The replies of the recorded conversations, on the experiment that they were written for."""

from __future__ import annotations

import ast
from pathlib import Path

from agent_runner.chatlogs import parse_chat_log
from agent_runner.edits import apply_reply

TEMPLATE = Path(__file__).resolve().parents[2] / "templates" / "experiment.py"


def test_every_first_reply_applies_to_the_template(seeds: Path) -> None:
    text = TEMPLATE.read_text(encoding="utf-8")
    logs = sorted(seeds.glob("*.txt"))
    assert len(logs) == 5
    for log in logs:
        replies = parse_chat_log(log.read_text(encoding="utf-8")).replies
        assert replies, log.name
        outcome = apply_reply(replies[0].text, {TEMPLATE.name: text}, [TEMPLATE.name])
        assert outcome.applied, f"{log.name}: {outcome.message}"
        assert outcome.files[TEMPLATE.name] != text
        ast.parse(outcome.files[TEMPLATE.name])
