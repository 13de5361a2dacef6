"""The two ends of a large log, and what its mark counts."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runner.execution.streams import CappedLog, TurnLog
from agent_runner.failures import interleave
from agent_runner.failures.interleaving import GAP
from agent_runner.paths import JobPaths
from agent_runner.service.evidence import gather, shown_output
from agent_runner.service.log_ends import read_ends

MIB = 1024 * 1024


def said(log: bytes) -> int:
    """How many bytes a log stands for."""
    missing = sum(int(found[1]) for found in GAP.finditer(log))
    return len(GAP.sub(b"", log)) + missing


def test_no_log_and_a_small_one(tmp_path: Path) -> None:
    assert read_ends(tmp_path / "log", head=1, tail=1) == b""
    (tmp_path / "log").write_bytes(b"one\ntwo\n")
    assert read_ends(tmp_path / "log", head=2, tail=2) == b"one\ntwo\n"


def test_a_large_one_is_read_at_its_ends(tmp_path: Path) -> None:
    lines = [b"line %05d\n" % number for number in range(1000)]
    (tmp_path / "log").write_bytes(b"".join(lines))
    ends = read_ends(tmp_path / "log", head=22, tail=37)
    # The tail begins with a whole line.
    mark = b"\n[agent_runner: 10945 bytes left out here]\n"
    assert ends == b"".join(lines)[:22] + mark + b"".join(lines[-3:])


@given(
    before=st.integers(0, 700),
    after=st.integers(0, 700),
    head=st.integers(0, 300),
    tail=st.integers(0, 300),
    lines=st.booleans(),
)
def test_what_was_dropped_before_is_counted_wherever_it_stands(
    tmp_path_factory: pytest.TempPathFactory,
    before: int,
    after: int,
    head: int,
    tail: int,
    lines: bool,
) -> None:
    text = (b"0123456\n" if lines else b"01234567") * 100
    log = text[:before] + b"\n[agent_runner: 5000 bytes dropped here]\n" + text[:after]
    path = tmp_path_factory.mktemp("ends") / "log"
    path.write_bytes(log)
    ends = read_ends(path, head=head, tail=tail)
    assert said(ends) == before + 5000 + after
    assert len(ends) <= head + tail + 2 * 64
    assert log.startswith(ends[: GAP.search(ends).start()])  # type: ignore[union-attr]


def test_marks_on_the_edges_of_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_runner.service.log_ends._BLOCK", 7)
    mark = b"\n[agent_runner: 1000 bytes dropped here]\n"
    (tmp_path / "log").write_bytes(b"a" * 50 + (mark + b"b" * 20) * 9 + b"c" * 50)
    ends = read_ends(tmp_path / "log", head=10, tail=10)
    assert ends == b"a" * 10 + b"\n[agent_runner: 9260 bytes left out here]\n" + b"c" * 10


def write_job(folder: Path, times: int, size: int, cap: int) -> JobPaths:
    """Two streams that speak in turn so many times, `size` bytes or so, through the logs of a real job."""
    records = JobPaths(folder)
    logs = {name: CappedLog(str(folder / f"{name}.log"), cap) for name in ("stdout", "stderr")}
    turns = TurnLog(str(records.turns))
    for number in range(times):
        for name, log in logs.items():
            block = b"%s %05d\n" % (name.encode(), number) * (size // 13)
            log.write(block)
            turns.add(number, name, len(block))
    for log in logs.values():
        log.close()
    turns.close()
    return records


def test_the_shown_output_keeps_the_order_of_the_turns(tmp_path: Path) -> None:
    records = write_job(tmp_path, 300, 10 * 1024, 2 * MIB)
    whole = interleave(
        records.stdout.read_bytes(), records.stderr.read_bytes(), records.turns.read_text()
    )
    shown = shown_output(records)
    turns = re.findall(r"^(stdout|stderr) (\d{5})$", shown, re.MULTILINE)
    assert turns == sorted(turns, key=lambda turn: (turn[1], turn[0] == "stderr"))
    assert {(name, at) for name in ("stdout", "stderr") for at in ("00000", "00299")} <= set(turns)
    assert whole.endswith(shown[-500 * 1024 :])  # of the tails of both


def test_large_logs_cost_little_memory(tmp_path: Path) -> None:
    records = write_job(tmp_path, 20, MIB, 16 * MIB)
    assert records.stdout.stat().st_size > 15 * MIB
    tracemalloc.start()
    try:
        evidence = gather(
            None,
            records,
            root="",
            editable=(),
            limits=None,
            results_problem=None,
            free_memory=None,
        )
        assert evidence.clean_stdout.endswith("stdout 00019\n")
        assert "left out here]\n" in evidence.clean_stderr
        assert "characters left out" not in evidence.clean_stderr  # it is not cut twice
        shown_output(records)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 * MIB
