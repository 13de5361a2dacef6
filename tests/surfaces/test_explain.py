"""`agent-runner explain`, of real runs and of logs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

SEARCH = "experiment.py\n<<<<<<< SEARCH\nRATE = 0.1\n=======\n{}\n>>>>>>> REPLACE\n"
FAULT = "def rate(table):\n    return table['rate'] / 0\n\n\nRATE = rate({'rate': 3})"
LOG = """\
Using device: cpu
Traceback (most recent call last):
  File "/home/me/experiment.py", line 12, in <module>
    main()
  File "/home/me/experiment.py", line 9, in main
    import flash_attn
ModuleNotFoundError: No module named 'flash_attn'
"""


@pytest.fixture
def failed(cli: Callable, toy: Path, home: Path) -> Path:
    """The home of an idea `a-toy` whose first run failed."""
    idea = cli("idea", "new", "--template", str(toy), "--title", "A toy").stdout.strip()
    ended = cli("propose", idea, "--json", stdin=SEARCH.format(FAULT))
    assert ended.code == 3, ended.stderr
    return Path(ended.json["links"]["logs"])


def test_a_run_by_its_records_and_by_its_output_folder(cli: Callable, failed: Path) -> None:
    told = cli("explain", str(failed), "--json")
    assert told.code == 0, told.stderr
    failure = told.json["failure"]
    assert failure["kind"] == "zero_division" and failure["charged"] is True
    place = failure["location"]
    assert (place["file"], place["line"], place["function"]) == ("experiment.py", 4, "rate")
    assert place["locals"] == {"table": "dict of 1: {'rate': 3}"}
    assert told.json["exit"]["returncode"] == 1
    home = failed.parents[3]
    output = home / "worktrees" / failed.parents[1].name / "run_1"
    output.mkdir(exist_ok=True)
    assert cli("explain", str(output), "--json").json["failure"] == failure
    words = cli("explain", str(failed)).stdout
    assert "experiment.py:4 in rate" in words and "table = dict of 1: {'rate': 3}" in words
    assert "uses budget" in words


def test_a_run_that_was_never_concluded(cli: Callable, failed: Path) -> None:
    """Its server died: the diagnosis is made anew, and is the same but for the memory that was free."""
    before = cli("explain", str(failed), "--json").json["failure"]
    (failed / "result.json").unlink()
    after = cli("explain", str(failed), "--json").json["failure"]
    assert "it could use" in str(before.pop("evidence")) and after.pop("evidence")
    assert after == before


def test_a_run_that_succeeded(cli: Callable, failed: Path) -> None:
    baseline = failed.parent / "0"
    told = cli("explain", str(baseline), "--json").json
    assert told["failure"] is None and "Nothing failed" in told["message"]
    (baseline / "result.json").unlink()
    assert cli("explain", str(baseline), "--json").json["failure"] is None


def test_a_check_before_the_run(cli: Callable, toy: Path, home: Path) -> None:
    (toy / "template.toml").write_text("[preflight]\ncommand = \"python -c 'import experiment'\"\n")
    idea = cli("idea", "new", "--template", str(toy), "--title", "Checked").stdout.strip()
    ended = cli("propose", idea, "--json", stdin=SEARCH.format(FAULT))
    assert ended.code == 4, ended.stdout
    told = cli("explain", ended.json["links"]["records"], "--json").json["failure"]
    assert (told["kind"], told["location"]["line"]) == ("zero_division", 4)


def test_a_record_without_its_spec(cli: Callable, failed: Path) -> None:
    for name in ("result.json", "spec.json"):
        (failed / name).unlink()
    place = cli("explain", str(failed), "--json").json["failure"]["location"]
    assert (place["file"], place["line"]) == ("experiment.py", 4)


def test_a_log(cli: Callable, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_text(LOG)
    told = cli("explain", str(log), "--json").json
    assert told["failure"]["kind"] == "dependency_missing"
    assert told["failure"]["location"]["line"] == 9
    assert cli("explain", "-", "--json", stdin=LOG).json["failure"] == told["failure"]


def test_a_log_and_its_return_code(cli: Callable, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_text("Using device: cpu\nLoading checkpoint shards:  33%|###  | 1/3 [00:02<00:04]\n")
    told = cli("explain", str(log), "--returncode", "-9", "--json").json["failure"]
    assert (told["kind"], told["phase"], told["charged"]) == (
        "host_out_of_memory",
        "model load",
        False,
    )


def test_a_log_larger_than_memory_allows_keeps_head_and_tail(cli: Callable, tmp_path: Path) -> None:
    log = tmp_path / "huge.log"
    with log.open("wb") as file:
        file.truncate(3 * 2**30)  # a sparse file: it takes no room
        file.seek(0, 2)
        file.write(b"\n" + LOG.encode())
    assert cli("explain", str(log), "--json").json["failure"]["kind"] == "dependency_missing"


@pytest.mark.parametrize(
    "text", ["", "all good\n", "\x00\xff\x1b[31m\n", "Traceback (most recent call last):\n"]
)
def test_a_log_that_shows_nothing_says_so(cli: Callable, tmp_path: Path, text: str) -> None:
    log = tmp_path / "run.log"
    log.write_text(text, encoding="latin-1")
    ended = cli("explain", str(log), "--json")
    assert ended.code == 0
    assert ended.json["failure"]["kind"] == "unknown"


def test_what_cannot_be_explained_is_a_usage_error(
    cli: Callable, failed: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for path in (tmp_path / "none", empty):
        ended = cli("explain", str(path))
        assert ended.code == 2 and str(path) in ended.stderr
        assert "Name a run's record folder" in ended.stderr
    (failed / "result.json").unlink()
    (failed / "exit.json").write_text(json.dumps({"reason": 3}))
    assert cli("explain", str(failed)).code == 2
    (failed / "exit.json").write_text("{")
    assert cli("explain", str(failed)).code == 2
