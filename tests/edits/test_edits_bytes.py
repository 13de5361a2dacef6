"""What an edit does not touch keeps its bytes; what it adds follows its surroundings; diffs are true."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from edit_replies import block, edited, new_text, tier

from agent_runner.edits import apply_reply


@pytest.mark.parametrize(
    ("text", "search", "replace", "expected"),
    [
        ("a\r\nb\r\nc\r\n", "b\n", "x\ny\n", "a\r\nx\r\ny\r\nc\r\n"),
        ("a\nb\r\nc\n", "b\n", "x\ny\n", "a\nx\r\ny\r\nc\n"),
        ("a\r\nb\nc\r\n", "a\nb\nc\n", "a\nB\nc\n", "a\r\nB\nc\r\n"),
        ("\ufeffa\nb\n", "a\n", "x\n", "\ufeffx\nb\n"),
        ("\ufeffa\nb\n", "a\n", "", "\ufeffb\n"),
        ("a\nb", "b\n", "c\n", "a\nc"),
        ("a\nb", "b\n", "b\nc\n", "a\nb\nc"),
        ("a\r\nb", "b\n", "b\nc\n", "a\r\nb\r\nc"),
        ("a\nb", "a\nb\n", "a\n", "a"),
        ("a\nb", "b\n", "", "a"),
        ("a\r\nb", "b\n", "", "a"),
        ("a\nb", "a\n", "", "b"),
        ("a\n\tb\n", "a\n", "c\n", "c\n\tb\n"),
        ("x\x0cy\nb\n", "b\n", "c\n", "x\x0cy\nc\n"),
        ("x\u2028y\nb\n", "b\n", "c\n", "x\u2028y\nc\n"),
        ("x\ry\nb\n", "b\n", "c\n", "x\ry\nc\n"),
    ],
)
def test_endings_marks_and_odd_characters(
    text: str, search: str, replace: str, expected: str
) -> None:
    assert new_text(edited(text, search, replace)) == expected


def test_a_reply_with_crlf_changes_no_ending() -> None:
    reply = block("b\n", "c\n").replace("\n", "\r\n")
    assert new_text(apply_reply(reply, {"experiment.py": "a\nb\n"})) == "a\nc\n"


def test_unchanged_lines_inside_a_block_keep_the_files_bytes() -> None:
    outcome = edited("a  \nb\nc\t\n", "a\nb\nc\n", "a\nB\nc\n")
    assert tier(outcome) == "trailing whitespace"
    assert new_text(outcome) == "a  \nB\nc\t\n"


def test_blank_lines_that_search_does_not_have_stay() -> None:
    assert new_text(edited("a\n\n\nb\nc\n", "a\nb\nc\n", "a\nB\nc\n")) == "a\n\n\nB\nc\n"
    assert new_text(edited("a\n\n\nb\nc\n", "a\n\nb\nc\n", "a\n\nb\nC\n")) == "a\n\n\nb\nC\n"
    assert new_text(edited("a\n\nb\nc\n", "a\nb\nc\n", "A\nb\nc\n")) == "A\n\nb\nc\n"


def test_undecodable_characters_survive_and_become_json() -> None:
    text = "\udcff odd\nb\n"
    outcome = apply_reply(block("b\n", "c\n", name="n.txt"), {"n.txt": text})
    assert new_text(outcome) == "\udcff odd\nc\n"
    assert "udcff" in outcome.model_dump_json()


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        (
            "".join(f"line {n}\n" for n in range(60)),
            [("line 3\n", "LINE\nmore\n"), ("line 50\n", "")],
        ),
        (
            "".join(f"line {n}\n" for n in range(60)),
            [("line 3\n", "x\n"), ("line 7\n", "y\n"), ("line 14\n", "")],
        ),
        ("a\nb", [("b\n", "b\nc\n")]),
        ("a\nb", [("a\nb\n", "a\n")]),
        ("a\nb", [("b\n", "")]),
        ("a\n", [("a\n", "")]),
        ("a\nb\n", [("a\n", "z\na\n"), ("b\n", "b\nc\n")]),
        ("\ufeffa\nb\n", [("a\n", "")]),
        ("\ufeffa\nb\n", [("a\n", "z\na\n")]),
        ("a\r\nb\r\nc\r\n", [("b\n", "x\ny\n")]),
        ("", [("", "a\nb\n")]),
        ("a\nb\nc\nd\ne\n", [("c\n", ""), ("b\n", "B\n")]),
    ],
)
def test_git_applies_the_diff(tmp_path: Path, text: str, pairs: list[tuple[str, str]]) -> None:
    reply = "".join(block(*pair, name="n.txt") for pair in pairs)
    outcome = apply_reply(reply, {"n.txt": text})
    assert outcome.applied, outcome.message
    (tmp_path / "n.txt").write_bytes(text.encode())
    (tmp_path / "d.patch").write_bytes(outcome.diff.encode())
    command = ["git", "apply", "--whitespace=nowarn", "d.patch"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    left = (tmp_path / "n.txt").read_bytes() if (tmp_path / "n.txt").exists() else b""
    assert left == outcome.files["n.txt"].encode()


def test_a_new_files_diff_creates_it(tmp_path: Path) -> None:
    outcome = apply_reply(block("", "a\nb\n", name="sub/n.txt"), {}, ["sub/n.txt"])
    (tmp_path / "d.patch").write_text(outcome.diff)
    subprocess.run(["git", "apply", "d.patch"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "sub" / "n.txt").read_text() == outcome.files["sub/n.txt"] == "a\nb\n"
