from __future__ import annotations

from pathlib import Path

import pytest
from aider_format import SESSION, TASK, USAGE, reply, tool, user
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent_runner.chatlogs import ChatLog, TurnDetail, parse_chat_log
from agent_runner.errors import ChatLogError

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "chatlogs"


def fixture(name: str) -> ChatLog:
    return parse_chat_log((FIXTURES / name).read_text(encoding="utf-8"))


def only_reply(text: str, *, after: str = tool(USAGE, "Applied edit to a.py")) -> str:
    log = parse_chat_log(SESSION + user(TASK) + reply(text) + after)
    assert len(log.replies) == 1
    return log.replies[0].text


# ------------------------------------------------------------------ the three shapes of conversation


def test_a_conversation_that_got_on() -> None:
    log = fixture("gated.md")
    assert (log.started, log.title) == ("2024-11-05 08:01:02", "Shift-tolerant digit readers")
    assert log.experiment.startswith("1. Pad each image") and log.experiment.endswith("λ = 0.2")
    assert log.plan == "1. One helper (5 LOC)\n2. One call (1 LOC)"
    assert (log.max_runs, log.baseline_problem) == (4, None)
    assert log.baseline is not None and log.baseline["by_digit"] == {"0": 0.99, "1": 0.98}
    kinds = [turn.kind for turn in log.turns]
    assert kinds == [
        "tool",
        "task",
        "reply",
        "tool",
        "run_failed",
        "tool",
        "reply",
        "tool",
        "run_completed",
    ]

    first, second = log.replies
    assert first.text.startswith("Two runs will do.") and first.text.endswith("run_1\n```")
    assert first.applied == ("experiment.py",) and first.edits_applied
    assert len(first.failures) == 1 and "HTTP Error 401" in first.failures[0]
    assert (first.reruns, first.completed, first.api_errors) == (0, 0, ())
    assert 'digits.npz" \n=======' in second.text  # the trailing space of the SEARCH text
    assert second.applied == ("notes.txt", "experiment.py")
    assert (second.failures, second.completed) == ((), 1)

    after_first = log.turns[3].detail
    assert (after_first.tokens_sent, after_first.tokens_received) == (2100, 312)
    assert after_first.cost == 0.0025
    assert after_first.declined == ("python experiment.py --out_dir=run_1",)
    failure = log.turns[4].text
    assert failure.startswith("Run failed with the following error ...urllib")
    assert "\n    raise HTTPError(" in failure and failure.endswith("Unauthorized")


def test_a_conversation_that_the_host_refused() -> None:
    log = fixture("refused.md")
    assert (log.experiment, log.plan, log.baseline) == ("restart every ten epochs", "", None)
    (only,) = log.replies
    assert only.edits_applied
    assert len(only.failures) == len(only.api_errors) == only.reruns == 3
    assert only.api_errors[0].startswith("litellm.BadRequestError: SomeHostException")
    assert log.turns[2].detail.cost is None


def test_a_conversation_that_was_stopped() -> None:
    log = fixture("stopped.md")
    assert (
        log.experiment == "mix Ïƒ of the other classes in."
    )  # mojibake stays; one full stop is the form's
    (only,) = log.replies
    assert "\n        \n# trailing spaces above, and here:   \n" in only.text
    assert only.text.count("<<<<<<< SEARCH") == 2
    assert (only.failures, only.reruns, only.edits_applied) == ((), 0, True)


# ------------------------------------------------------------------ what a reply may hold

TRICKY = {
    "comments in code": "a.py\n```python\n# one\n\n#### two  \n\n> three  \n```",
    "a session line in code": "```\n\n# aider chat started at 2024-01-01 00:00:00\n\n```\nend",
    "a fence in a block": (
        "```python\n<<<<<<< SEARCH\n```\n\n#### a  \n=======\n\n> b  \n>>>>>>> REPLACE\n```\nend"
    ),
    "a block without a fence": "a.py\n<<<<<<< SEARCH\n\n#### a  \n=======\n\n> b  \n>>>>>>> REPLACE\nend",
    "a longer fence": "````markdown\n```\n\n#### a  \n```\n\n> b  \n````\nend",
    "another fence": "~~~\n```\n\n> b  \n~~~\nend",
    "a heading": "#### Plan\n\ntext\n\n#### More\n\n- item",
    "a quotation": "He wrote:\n\n> quoted\n> text\n\nSo it is.",
    "a quotation at the start": "text\n> quoted  \nmore",
    "tabs and odd separators": "a\u2028b\x0cc\x85d\te\r\nf\rg",
}


@pytest.mark.parametrize("text", TRICKY.values(), ids=TRICKY)
def test_a_reply_is_kept_byte_for_byte(text: str) -> None:
    assert only_reply(text) == text


@pytest.mark.parametrize("cut", ["```python\nx = 1", "a.py\n```\n<<<<<<< SEARCH\nx = 1\n======="])
def test_a_reply_that_was_cut_off_does_not_swallow_the_rest(cut: str) -> None:
    text = (
        SESSION
        + user(TASK)
        + reply(cut)
        + tool(USAGE)
        + user("Run failed with the following error x")
    )
    text += reply("```python\ny = 2\n```") + tool(USAGE)
    log = parse_chat_log(text)
    assert [r.text for r in log.replies] == [cut, "```python\ny = 2\n```"]
    assert log.replies[0].failures == ("Run failed with the following error x",)


def test_a_cut_off_fence_ends_with_the_log() -> None:
    assert only_reply("```python\n# x", after=tool("Cancelled")) == "```python\n# x"


def test_many_open_fences_take_no_longer_than_linear() -> None:
    fences = "\n".join(f"```{i}" for i in range(20_000))
    assert only_reply(fences) == fences


def test_messages_of_aider_may_have_several_lines() -> None:
    after = tool(
        USAGE,
        "The LLM did not conform to the edit format.",
        "# 1 SEARCH/REPLACE block failed to match!",
    )
    text = SESSION + user(TASK) + reply("no blocks") + after + "> a message\nof two lines  \n"
    (only,) = parse_chat_log(text).replies
    assert not only.edits_applied
    assert only.edit_error == "The LLM did not conform to the edit format."
    assert [turn.kind for turn in parse_chat_log(text).turns] == ["task", "reply", "tool"]


def test_a_user_s_own_marks_are_kept() -> None:
    said = "Look:\n#### a heading\n> a quotation\n\n  indented"
    log = parse_chat_log(SESSION + user(TASK) + reply("ok") + user(said) + reply("seen"))
    assert [turn.text for turn in log.turns] == [TASK, "ok", said, "seen"]


def test_only_the_host_s_errors_are_api_errors() -> None:
    def detail(*messages: str) -> TurnDetail:
        log = parse_chat_log(SESSION + user(TASK) + reply("x") + tool(*messages))
        return log.turns[-1].detail

    assert detail("ImportError: no module named x").api_error is None
    assert (
        detail("litellm.RateLimitError: slow down").api_error == "litellm.RateLimitError: slow down"
    )
    assert detail("Tokens: 1.2k sent, 3 received. Cost: $... message").cost is None
    assert detail("Tokens: 12,5 sent, 3M received.").model_dump(exclude_defaults=True) == {
        "tokens_received": 3_000_000
    }


def test_line_ends_that_an_editor_changed() -> None:
    text = (FIXTURES / "refused.md").read_text(encoding="utf-8")
    trimmed = "\n".join(line.rstrip() for line in text.split("\n"))
    windows = text.replace("\n", "\r\n")
    for changed in (trimmed, windows, "\ufeff" + text):
        log = parse_chat_log(changed)
        assert log.title == "Warm restarts"
        assert [turn.kind for turn in log.turns] == [
            turn.kind for turn in fixture("refused.md").turns
        ]
        assert log.replies[0].reruns == 3


def test_a_second_session_goes_on() -> None:
    text = SESSION + user(TASK) + reply("one") + SESSION + user("And now?") + reply("two")
    log = parse_chat_log(text)
    assert [turn.kind for turn in log.turns] == ["task", "reply", "user", "reply"]
    assert [r.text for r in log.replies] == ["one", "two"]


# ------------------------------------------------------------------ baselines


def with_baseline(literal: str) -> ChatLog:
    return parse_chat_log(
        SESSION + user(f"{TASK}\n\nthe baseline results are as follows:\n\n{literal}\n\nGo.")
    )


@pytest.mark.parametrize(
    ("literal", "why"),
    [
        ("__import__('os').system('true')", "not a Python literal"),
        ("{'a': nan}", "not a Python literal"),
        ("[1, 2]", "not a dict"),
        ("{1: 2}", "not a dict with names"),
        ("{'a': " + "[" * 5000 + "]" * 5000 + "}", "not a Python literal"),
        ("{'a': '" + "x" * 1_000_001 + "'}", "characters"),
    ],
)
def test_a_baseline_that_is_no_literal_is_told(literal: str, why: str) -> None:
    log = with_baseline(literal)
    assert log.baseline is None and log.baseline_problem is not None
    assert why in log.baseline_problem


def test_a_baseline_may_have_several_lines() -> None:
    assert with_baseline("{'a': 1,\n 'b': [True, None]}").baseline == {"a": 1, "b": [True, None]}


# ------------------------------------------------------------------ what is no such log


@pytest.mark.parametrize(
    "text", ["", "# Notes\n\nhello\n", user(TASK), "aider chat started at noon"]
)
def test_what_aider_did_not_write_is_refused(text: str) -> None:
    with pytest.raises(ChatLogError, match="not an aider chat log") as caught:
        parse_chat_log(text)
    assert ".aider.chat.history.md" in caught.value.remedy


def test_a_log_without_an_idea_is_refused() -> None:
    for message in ("fix the typo", "Your goal is to implement the following idea: ."):
        with pytest.raises(ChatLogError, match="states no idea") as caught:
            parse_chat_log(SESSION + user(message) + reply("done"))
        assert "agent-runner idea new" in caught.value.remedy


# ------------------------------------------------------------------ reading against writing

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), min_size=1, max_size=12)
LINE = st.one_of(
    WORDS.filter(lambda line: line.strip() != ""),
    st.sampled_from(["# a", "> b", "#### c", "=======", "- d", "    e", "f  ", "\tg"]),
)
BODY = st.lists(st.one_of(LINE, st.just("")), max_size=6).map("\n".join)


def _marked(body: str) -> bool:
    return any(line.startswith(("#### ", "> ", "```", "~~~")) for line in body.split("\n"))


PROSE = BODY.filter(lambda body: body.strip() and not _marked(body)).map(str.strip)
CODE = BODY.filter(lambda body: "```" not in body).map(lambda body: f"a.py\n```python\n{body}\n```")
EDIT = st.tuples(BODY, BODY).map(
    lambda two: (
        f"a.py\n```python\n<<<<<<< SEARCH\n{two[0]}\n=======\n{two[1]}\n>>>>>>> REPLACE\n```"
    )
)
REPLY = st.lists(st.one_of(PROSE, CODE, EDIT), min_size=1, max_size=4).map("\n\n".join)


@settings(deadline=None)
@given(st.lists(st.tuples(REPLY, st.booleans()), max_size=4))
@example([("x\n\n```\n\n#### y  \n```", True)])
def test_reading_gives_back_what_was_written(turns: list[tuple[str, bool]]) -> None:
    text = SESSION + user(TASK)
    for answer, failed in turns:
        text += reply(answer) + tool(USAGE, "Applied edit to a.py")
        text += user(f"Run {'failed with the following error' if failed else '1 completed.'}\nx")
    log = parse_chat_log(text)
    assert [r.text for r in log.replies] == [answer for answer, _ in turns]
    assert [len(r.failures) for r in log.replies] == [int(failed) for _, failed in turns]
    assert all(r.applied == ("a.py",) for r in log.replies)


@settings(deadline=None)
@given(st.text(st.sampled_from("#> `~<=\n\r ax"), max_size=200), st.booleans())
def test_anything_is_read_or_refused(noise: str, headed: bool) -> None:
    text = SESSION + user(TASK) + noise if headed else noise
    try:
        log = parse_chat_log(text)
    except ChatLogError:
        assert not headed
        return
    assert all(turn.text or turn.kind != "reply" for turn in log.turns)
    assert all(r.text in text for r in log.replies)
