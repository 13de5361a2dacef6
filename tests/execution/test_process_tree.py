"""Finding and signalling descendants, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_runner.execution import process_tree
from agent_runner.execution.process_tree import Process

TREE = """
import os, sys, time
for depth in range(3):
    if os.fork():
        break
print(os.getpid(), flush=True)
time.sleep(1000)
"""


@pytest.fixture
def tree() -> Iterator[tuple[int, set[int]]]:
    """The root and all pids of a chain of four processes."""
    command = [sys.executable, "-I", "-S", "-c", TREE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0) as root:
        assert root.stdout is not None
        yield root.pid, {int(root.stdout.readline()) for _ in range(4)}
        os.killpg(root.pid, signal.SIGKILL)


@pytest.mark.parametrize("find", ["descendants", "_descendants_by_scan"])
def test_the_whole_tree_is_found(tree: tuple[int, set[int]], find: str) -> None:
    root, pids = tree
    found = getattr(process_tree, find)(root)
    assert {process.pid for process in found} == pids - {root}
    assert all(process.rss_bytes > 0 for process in found)


def test_a_signal_does_not_reach_a_later_process_of_the_same_pid(
    tree: tuple[int, set[int]],
) -> None:
    root, _ = tree
    process = process_tree.find(root)
    assert process is not None
    assert not process_tree.send(process._replace(start=process.start - 1), signal.SIGKILL)
    assert process_tree.send(process, 0)


def test_signals_go_out_where_there_are_no_process_descriptors(
    tree: tuple[int, set[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(pid: int) -> int:
        raise PermissionError

    monkeypatch.setattr(process_tree.os, "pidfd_open", forbidden)
    for process in process_tree.descendants(tree[0]):
        assert not process_tree.send(process._replace(start=process.start - 1), signal.SIGKILL)
        assert process_tree.send(process, 0)


def test_only_the_outermost_process_with_a_handler_is_told() -> None:
    code = f"""
import os, signal, sys, time
sys.path.append({str(Path(__file__).resolve().parents[2])!r})
from agent_runner.execution import process_tree
told, tell = os.pipe()
go_on, ready = os.pipe()
if os.fork() == 0:                         # has no handler
    if os.fork() == 0:                     # has one
        signal.signal(signal.SIGUSR1, lambda *_: os.write(tell, b"outer."))
        if os.fork() == 0:                 # has inherited it
            os.write(ready, b"x")
            time.sleep(1000)
        os.write(ready, b"x")
        while True: time.sleep(1000)
    os.write(ready, b"x")
    time.sleep(1000)
for _ in range(3): os.read(go_on, 1)
print(process_tree.send_to_outermost(os.getpid(), signal.SIGUSR1))
print(os.read(told, 100).decode())
for process in process_tree.descendants(os.getpid()): process_tree.send(process, 9)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split() == ["1", "outer."], result.stderr


def test_processes_are_found_by_a_mark_in_their_environment(tmp_path: Path) -> None:
    mark = ("AGENT_RUNNER_RECORD_DIR", str(tmp_path))
    assert process_tree.marked(*mark) == []
    command = [sys.executable, "-I", "-S", "-c", "print(1, flush=True); input()"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict([mark])
    ) as marked:
        assert marked.stdout is not None
        marked.stdout.readline()
        assert [process.pid for process in process_tree.marked(*mark)] == [marked.pid]
        marked.kill()


def test_a_process_that_is_gone_is_none() -> None:
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", ""]) as process:
        process.wait()
    assert process_tree.find(process.pid) is None
    assert not process_tree.send(Process(process.pid, 1, 1, 0), 0)
    assert not process_tree.handles(process.pid, signal.SIGUSR1)
