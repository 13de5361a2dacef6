"""Answers that are remembered, for how long, and for whom."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from asking import (
    GATED,
    SMALL,
    ask,
    every,
)
from hub_stand_in import Hub

from agent_runner.models import Asset, Machine, assess
from agent_runner.models.answer import Answer
from agent_runner.models.memo import Memo, holds, key


def test_an_answer_is_asked_for_once(hub: Hub, machine: Machine, tmp_path: Path) -> None:
    memo = tmp_path / "deep" / "memo.json"
    first = ask(machine, SMALL, memo=memo)
    hub.faults = [every(status=500)]
    assert ask(machine, SMALL, memo=memo) == first
    assert hub.asked("GET") == 1
    two = [Asset("model", SMALL, "a.py", 1), Asset("model", SMALL, "b.py", 2)]
    assert assess(two, [], tmp_path, machine, memo)[0].download_bytes == first.download_bytes


def test_another_token_is_another_question_and_is_not_written_down(
    machine: Machine, tmp_path: Path
) -> None:
    memo = tmp_path / "memo.json"
    assert ask(machine, GATED, memo=memo).status == "gated"
    member = dataclasses.replace(machine, token="hf_member")
    assert ask(member, GATED, memo=memo).status == "downloadable"
    assert "hf_member" not in memo.read_text()


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"null", b'{"%s": 3}', b'{"%s": {"asked": "x", "holds": 1}}', b"\xff"],
)
def test_a_damaged_memo_is_as_good_as_none(
    damage: bytes, hub: Hub, machine: Machine, tmp_path: Path
) -> None:
    memo = tmp_path / "memo.json"
    memo.write_bytes(damage.replace(b"%s", key(machine, "model", SMALL).encode()))
    assert ask(machine, SMALL, memo=memo).status == "downloadable"
    assert ask(machine, SMALL, memo=memo).status == "downloadable"
    assert hub.asked("GET") == 1, "and it is mended"


def test_a_memo_that_cannot_be_written(hub: Hub, machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert ask(machine, SMALL, memo=tmp_path / "file" / "memo.json").status == "downloadable"


def test_without_a_file_it_is_remembered_in_this_process(hub: Hub, machine: Machine) -> None:
    for _ in range(2):
        found = assess([Asset("model", SMALL)], [], Path("/nowhere"), machine, None)
        assert found[0].status == "downloadable"
    assert hub.asked("GET") == 1


@pytest.mark.parametrize(
    ("answer", "least", "most"),
    [
        (Answer(status="accessible"), 3600, 86400),
        (Answer(status="gated"), 30, 300),
        (Answer(status="forbidden"), 30, 300),
        (Answer(status="not_found"), 30, 300),
        (Answer(status="unreachable"), 20, 60),
        (Answer(status="unreachable", retry_after=120), 120, 120),
        (Answer(status="unreachable", retry_after=10**9), 3600, 3600),
        (Answer(status="unreachable", failures=1, retry_after=900), 900, 900),
        (Answer(status="damaged", failures=1), 120, 120),
        (Answer(status="damaged", failures=2), 600, 600),
        (Answer(status="damaged", failures=3), 3600, 3600),
        (Answer(status="damaged", failures=99), 3600, 3600),
        (Answer(status="no_disk", failures=3), 120, 120),
        (Answer(status="not_cached", failures=3), 120, 120),
    ],
)
def test_how_long_an_answer_holds(
    answer: Answer, least: float, most: float, tmp_path: Path
) -> None:
    now = 1000.0
    path = tmp_path / "memo.json"
    Memo(path, lambda: now).put({"k": answer})
    assert least <= holds(answer) <= most
    for later, known in ((holds(answer) - 1, True), (holds(answer), False), (-1, False)):
        assert (Memo(path, lambda: now + later).get("k") == answer) is known  # noqa: B023


def test_a_failed_download_is_counted_for_longer_than_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "memo.json"
    failed = Answer(status="damaged", failures=1)
    Memo(path, lambda: 0.0).put({"k": failed, "other": Answer(status="not_found")})
    Memo(path, lambda: 200.0).put({"new": Answer(status="gated")})
    later = Memo(path, lambda: 200.0)
    assert (later.get("k"), later.past("k")) == (None, failed)
    assert later.past("other") is None
    assert Memo(path, lambda: 7 * 3600.0).past("k") is None


def test_what_is_to_be_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "memo.json"
    answer = Answer(status="accessible")
    Memo(path).put({"a": answer, "b": answer})
    Memo(path).put({"c": answer}, forget=("a",))
    memo = Memo(path)
    assert [memo.get(name) for name in "abc"] == [None, answer, answer]
