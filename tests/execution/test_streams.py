"""CappedLog: for any output and any cap the head and the tail are exact, and what is missing is counted."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runner.execution import streams
from agent_runner.execution.streams import CappedLog, TurnLog, join

chunks = st.lists(st.binary(max_size=40), max_size=30)
caps = st.integers(min_value=0, max_value=60)


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_SEGMENT_BYTES", 8)


def expected(data: bytes, cap: int) -> tuple[bytes, int]:
    dropped = max(0, len(data) - cap)
    head, rest = data[: cap // 2], data[cap // 2 :]
    mark = f"\n[agent_runner: {dropped} bytes dropped here]\n".encode() if dropped else b""
    return head + mark + rest[dropped:], dropped


@given(chunks, caps)
def test_head_and_tail_are_kept_exactly(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], cap: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "stdout.log"
    log = CappedLog(str(path), cap)
    for part in parts:
        log.write(part)
    size = log.close()

    data = b"".join(parts)
    content, dropped = expected(data, cap)
    assert path.read_bytes() == content
    assert size == (len(data), dropped)
    assert os.listdir(path.parent) == [path.name]


@given(chunks, caps, st.integers(min_value=0, max_value=3))
def test_whoever_finds_the_log_of_a_killed_shim_completes_it(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], cap: int, removed: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "stdout.log"
    log = CappedLog(str(path), cap)
    for part in parts:
        log.write(part)
    # The first who tried was stopped too, after he had joined the parts and removed some of them.
    with pytest.MonkeyPatch.context() as patch:
        unlink, done = os.unlink, []

        def stopped(name: str) -> None:
            if len(done) == removed:
                raise InterruptedError
            done.append(name)
            unlink(name)

        patch.setattr(streams.os, "unlink", stopped)
        with contextlib.suppress(InterruptedError):
            join(str(path), cap)
    join(str(path), cap)

    assert path.read_bytes() == expected(b"".join(parts), cap)[0]
    assert os.listdir(path.parent) == [path.name]


def test_the_head_can_be_followed_while_the_job_runs(tmp_path: Path) -> None:
    log = CappedLog(str(tmp_path / "stdout.log"), 100)
    log.write(b"step 1\n")
    assert (tmp_path / "stdout.log").read_bytes() == b"step 1\n"


def test_a_full_disk_drops_output_and_says_so() -> None:
    log = CappedLog("/dev/full", 100)
    log.write(b"x" * 30)
    log.write(b"y" * 5)
    assert log.close() == (35, 35)
    assert log.error is not None and "space" in str(log.error)


def test_turns_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_MAX_TURNS", 3)
    log = TurnLog(str(tmp_path / "turns.log"))
    for second in range(10):
        log.add(float(second), ("stdout", "stderr")[second % 2], 5)
    log.close()
    assert (
        tmp_path / "turns.log"
    ).read_text() == "0.000 stdout 5\n1.000 stderr 5\n2.000 stdout 5\n"
