"""Both streams in the order they spoke."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runner.failures.interleaving import interleave

TURNS = "0.1 stdout 4\n0.2 stderr 4\n0.3 stdout 4\n"


def test_in_order() -> None:
    assert interleave(b"one\nsix\n", b"two\n", TURNS) == "one\ntwo\nsix\n"


def test_a_turn_begins_on_a_line_of_its_own() -> None:
    turns = "0.1 stderr 5\n0.2 stdout 4\n0.3 stderr 6\n"
    assert interleave(b"end\n", b"\r 50%\r100%\n", turns) == "\r 50%\nend\n\r100%\n"


@pytest.mark.parametrize(
    "turns", ["", "nonsense\n", "1 stdin 3\n", "1 stdout -3\n", "1 stdout ²\n", "1 stdout\n"]
)
def test_without_turns_stdout_comes_first(turns: str) -> None:
    assert interleave(b"out", b"err", turns) == "out\nerr"


def test_what_was_dropped_keeps_its_place() -> None:
    log = b"head\n[agent_runner: 10 bytes dropped here]\ntail"
    turns = "0 stdout 4\n1 stderr 2\n2 stdout 12\n3 stderr 2\n4 stdout 2\n"
    note = "\n[agent_runner: 10 bytes dropped here]\n"
    assert interleave(log, b"a\nb\n", turns) == f"head\na\n{note}ta\nb\nil"


def test_several_gaps_keep_their_places() -> None:
    first = "\n[agent_runner: 3 bytes left out here]\n"
    second = "\n[agent_runner: 4 bytes dropped here]\n"
    turns = "0 stdout 1\n1 stderr 2\n2 stdout 6\n3 stderr 2\n4 stdout 4\n"
    merged = interleave(f"{first}ab{second}cd".encode(), b"1\n2\n", turns)
    assert merged == f"{first}1\nab{second}2\ncd"


@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.text("abc \n", min_size=1))))
def test_nothing_is_lost_or_reordered(said: list[tuple[str, str]]) -> None:
    logs = {"stdout": "", "stderr": ""}
    turns, expected = "", ""
    for name, text in said:
        logs[name] += text
        turns += f"1.0 {name} {len(text)}\n"
        expected += "\n" if expected and not expected.endswith("\n") else ""
        expected += text
    merged = interleave(logs["stdout"].encode(), logs["stderr"].encode(), turns)
    assert merged == expected


@given(st.binary(max_size=60), st.binary(max_size=60), st.text(max_size=60))
def test_any_bytes(stdout: bytes, stderr: bytes, turns: str) -> None:
    plain = stdout.decode("utf-8", "replace")
    merged = interleave(stdout, stderr, turns)
    if "stdout" not in turns and "stderr" not in turns:
        assert merged.startswith(plain)
