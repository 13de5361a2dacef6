from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runner.results import read_result_file, read_results
from agent_runner.results.reading import MAX_BYTES

GOOD = {
    "metrics": {"accuracy": 0.9},
    "note": "größer",
    "missing": None,
    "list": [1, [2, {"a": -0.5e-3}]],
}


def written(out_dir: Path, data: bytes) -> Path:
    out_dir.mkdir(exist_ok=True)
    path = out_dir / "final_info.json"
    path.write_bytes(data)
    return path


def test_a_good_file_is_read_whole(tmp_path: Path) -> None:
    data = json.dumps(GOOD).encode()
    written(tmp_path / "run_1", data)
    result = read_results(tmp_path / "run_1", not_before_ns=None)
    assert (result.info, result.problem, result.size) == (GOOD, None, len(data))
    assert result.sha256 == hashlib.sha256(data).hexdigest()


def refused(out_dir: Path, kind: str, *facts: str, not_before_ns: int | None = None) -> None:
    result = read_results(out_dir, not_before_ns=not_before_ns)
    assert result.info is None
    assert result.problem is not None and result.problem.kind == kind
    assert result.problem.path == "run_1/final_info.json"
    message = result.problem.message
    assert message.startswith("run_1/final_info.json ")
    for fact in facts:
        assert fact in message


def test_nothing_written_says_the_contract_and_what_is_there(tmp_path: Path) -> None:
    out_dir = tmp_path / "run_1"
    refused(out_dir, "results_missing", "no folder run_1", "json.dump")
    out_dir.mkdir()
    refused(out_dir, "results_missing", "the folder is empty", "The contract")
    (out_dir / "final_infos.json").touch()
    refused(out_dir, "results_missing", "'final_infos.json'", "The contract")


@pytest.mark.parametrize(
    ("data", "fact"),
    [
        (b"", "not JSON"),
        (b"{'a': 1}", "line 1, column 2"),
        (b'{"a": 1}}', "Extra data"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'{"a": "\xff"}', "not UTF-8 (byte 7)"),
        (b"[1]", "an array, not an object"),
        (b"null", "null, not an object"),
        (b"1.5", "a number, not an object"),
        (b'{"a": {"loss": NaN}}', "'a.loss' is not a finite number (NaN)"),
        (b'{"a": [0, -Infinity]}', "'a.1' is not a finite number (-Infinity)"),
        (b'{"a": 1e999}', "'a' is not a finite number (Infinity)"),
        (b'{"a": 1' + b"0" * 350 + b"}", "too large for a float"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "at most 400"),
        (b'{"a": 0.' + b"1" * 5000 + b"}", "at most 400"),
        (b'{"a": 1, "b": {"c": 1, "c": 1}}', "'c' is given twice"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"\\udfff": 1}', "surrogate"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "deeper than 64"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "deeper than 64"),
        (b'{"a":' + b"[" * 100_000, "deeper than 64"),
    ],
)
def test_what_is_no_strict_json_is_refused(tmp_path: Path, data: bytes, fact: str) -> None:
    written(tmp_path / "run_1", data)
    refused(tmp_path / "run_1", "results_invalid", fact, "The contract")


def test_depth_up_to_the_limit_is_read(tmp_path: Path) -> None:
    written(tmp_path / "run_1", b'{"a":' * 64 + b"1" + b"}" * 64)
    assert read_results(tmp_path / "run_1", not_before_ns=None).problem is None


def _link(out_dir: Path) -> None:
    written(out_dir.parent / "elsewhere", b"{}").rename(out_dir.parent / "other.json")
    (out_dir / "final_info.json").symlink_to(out_dir.parent / "other.json")


def _hard_link(out_dir: Path) -> None:
    (out_dir.parent / "other.json").write_bytes(b"{}")
    os.link(out_dir.parent / "other.json", out_dir / "final_info.json")


def _socket(out_dir: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short, socket.socket(socket.AF_UNIX) as end:
        end.bind(f"{short}/s")  # the path of a socket must be short
        os.rename(f"{short}/s", out_dir / "final_info.json")


def _too_large(out_dir: Path) -> None:
    with (out_dir / "final_info.json").open("wb") as file:
        file.truncate(MAX_BYTES + 1)


@pytest.mark.parametrize(
    ("make", "fact"),
    [
        (_link, "is a link"),
        (_hard_link, "2 names"),
        (lambda out: os.mkfifo(out / "final_info.json"), "regular file"),
        (lambda out: (out / "final_info.json").mkdir(), "regular file"),
        (_socket, "cannot be read"),
        (_too_large, "too large: 16.0 MB"),
    ],
    ids=["link", "hard-link", "pipe", "folder", "socket", "too-large"],
)
def test_only_an_own_regular_file_is_read(
    tmp_path: Path, make: Callable[[Path], None], fact: str
) -> None:
    (tmp_path / "run_1").mkdir()
    make(tmp_path / "run_1")
    refused(tmp_path / "run_1", "results_invalid", fact)


def test_a_linked_folder_is_not_entered(tmp_path: Path) -> None:
    written(tmp_path / "elsewhere", b"{}")
    (tmp_path / "run_1").symlink_to(tmp_path / "elsewhere")
    refused(tmp_path / "run_1", "results_invalid", "a link or a file")
    (tmp_path / "run_1").unlink()
    (tmp_path / "run_1").write_bytes(b"{}")
    refused(tmp_path / "run_1", "results_invalid", "a link or a file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
    written(tmp_path / "run_1", b"{}").chmod(stat.S_IWUSR)
    refused(tmp_path / "run_1", "results_invalid", "cannot be read")


def test_results_of_before_the_run_are_stale(tmp_path: Path) -> None:
    path = written(tmp_path / "run_1", b"{}")
    changed = path.stat().st_mtime_ns
    assert read_results(tmp_path / "run_1", not_before_ns=changed).problem is None
    start = changed + 90_000_000_000
    refused(tmp_path / "run_1", "results_stale", "90.0 s before", not_before_ns=start)


def test_file_systems_without_fractions_of_a_second_are_not_accused(tmp_path: Path) -> None:
    path = written(tmp_path / "run_1", b"{}")
    whole = time.time_ns() // 10**9 * 10**9
    os.utime(path, ns=(whole, whole))
    assert read_results(tmp_path / "run_1", not_before_ns=whole + 10**9).problem is None
    refused(tmp_path / "run_1", "results_stale", not_before_ns=whole + 3 * 10**9)


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: json.dumps(text).encode()))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        written(Path(folder) / "run_1", b'{"a": ' + data + b"}")
        result = read_results(Path(folder) / "run_1", not_before_ns=None)
    assert (result.info is None) != (result.problem is None)
    assert result.size == len(data) + 7


# ------------------------------------------------------------------ files that a person names


def test_a_named_file_may_have_any_name_and_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "numbers.json").write_text('{"a": 1}')
    (tmp_path / "link").symlink_to("numbers.json")
    (tmp_path / "run_2").symlink_to(written(tmp_path / "run_1", b'{"a": 2}').parent)
    assert read_result_file(tmp_path / "link").info == {"a": 1}
    assert read_result_file(tmp_path / "run_1").info == {"a": 2}
    assert read_result_file(tmp_path / "run_2").info == {"a": 2}


def test_a_named_file_is_read_as_strictly(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b" " * (MAX_BYTES + 1))
    (tmp_path / "bad").write_bytes(b'{"a": NaN}')
    (tmp_path / "run_1").mkdir()
    for name, kind, fact in (
        ("pipe", "results_invalid", "not a regular file"),
        ("large", "results_invalid", "too large: 16.0 MB"),
        ("bad", "results_invalid", "'a' is not a finite number (NaN)"),
        ("nothing", "results_missing", "is not there"),
        ("run_1", "results_missing", "the folder is empty"),
        ("bad/below", "results_invalid", "cannot be read"),
        ("nul\0", "results_invalid", "cannot be read"),
    ):
        result = read_result_file(tmp_path / name)
        assert result.info is None and result.problem is not None, name
        assert result.problem.kind == kind
        assert fact in result.problem.message
