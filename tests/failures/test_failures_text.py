"""Readable output, bounded records, and no input that breaks or stalls the diagnosis."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runner.failures import (
    KINDS,
    Evidence,
    charges,
    clean_output,
    diagnose,
    explain_log,
    shorten,
)
from agent_runner.failures.catalogue import BY_TYPE, SPECIFIC
from agent_runner.failures.charging import _BY_CIRCUMSTANCE
from agent_runner.failures.raised import Raised
from agent_runner.failures.rules import fill, judge
from agent_runner.failures.tracebacks import ending_chain
from agent_runner.records import Failure, JobExit, Problem

# Text as programs and attackers write it: pieces of tracebacks, escapes, bars, and anything else.
PIECES = st.sampled_from(
    [
        "Traceback (most recent call last):\n",
        "Original Traceback (most recent call last):\n",
        "  + Exception Group Traceback (most recent call last):\n",
        "  +-+---------------- 1 ----------------\n",
        "    +------------------------------------\n",
        '  File "/w/experiment.py", line 3, in f\n',
        '  File "/w/experiment.py", line 999999999, in f\n',
        '  |   File "<frozen x>", line 1\n',
        "    x = y\n",
        "    ^^^^^\n",
        "\nThe above exception was the direct cause of the following exception:\n\n",
        "During handling of the above exception, another exception occurred:\n",
        "ValueError: bad {where} {0}\n",
        "RuntimeError\n",
        '"""\n',
        "Exception ignored in: <f>\n",
        "Thread 0x00ff (most recent call first):\n",
        '  File "/w/experiment.py", line 3 in f\n',
        "usage: experiment.py\nexperiment.py: error: no\n",
        "\r 10%|#   | 1/10",
        "\x1b[31m",
        "\x1b]0;title",
        "\x9b",
        "\ud800",
        "\u202e",
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=30), max_size=25).map("".join)


def check_bounded(failure: Failure) -> None:
    text = failure.model_dump_json()
    assert len(text) < 40_000
    assert len(failure.message) <= 1260
    assert len(failure.remedy) <= 960
    assert len(failure.evidence) <= 12
    assert failure.kind in KINDS
    assert failure.message and failure.remedy and failure.charged_reason
    json.loads(text)


@given(text=TEXTS)
def test_cleaning_is_idempotent_and_leaves_only_what_can_be_shown(text: str) -> None:
    clean = clean_output(text)
    assert clean_output(clean) == clean
    clean.encode("utf-8")
    assert all(char == "\n" or char == "\t" or ord(char) >= 32 for char in clean)
    assert "\x1b" not in clean and "\u202e" not in clean


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("a\r\nb\r\n", "a\nb\n"),
        ("\r 10%|# |\r 20%|##|\rdone\n", "done\n"),
        ("Load:  0%|  |\n\nLoad: 50%|# |\n\nLoad: 100%|##|\nend", "Load: 100%|##|\nend"),
        ("A: 10%| |\nB: 10%| |\n", "A: 10%| |\nB: 10%| |\n"),
        ("A: 10%| |\nstep\nA: 20%| |\n", "A: 10%| |\nstep\nA: 20%| |\n"),
        ("\x1b[1;31merror\x1b[0m \x1b]8;;http://x\x1b\\link\x1b]8;;\x07", "error link"),
        (
            "bell\x07 null\x00 rtl\u202e tag\U000e0041",
            "bell\\x07 null\\x00 rtl\\u202e tag\\U000e0041",
        ),
        ("line\x0bline\x85", "line\\x0bline\\x85"),
        ("état █ 漢字\t", "état █ 漢字\t"),
    ],
)
def test_cleaning(raw: str, clean: str) -> None:
    assert clean_output(raw) == clean


@given(text=st.text(max_size=400), limit=st.integers(10, 200))
def test_shortening_keeps_head_and_tail(text: str, limit: int) -> None:
    short = shorten(text, limit)
    if len(text) <= limit:
        assert short == text
    else:
        assert len(short) <= limit + 60
        assert short.startswith(text[: limit // 2]) and short.endswith(text[-(limit // 4) :])
        assert f"{len(text) - limit:,}" in short


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FRAMES = st.fixed_dictionaries(
    {},
    optional={
        "file": JSON | st.just("/w/experiment.py"),
        "line": JSON,
        "function": JSON,
        "code": JSON,
    },
)
ERRORS = st.fixed_dictionaries(
    {},
    optional={
        "type": JSON | st.sampled_from(["SyntaxError", "KeyboardInterrupt", "ExceptionGroup"]),
        "module": JSON,
        "message": JSON | TEXTS,
        "relation": JSON,
        "frames": JSON | st.lists(FRAMES | JSON, max_size=3),
    },
)
RECORDS = JSON | st.fixed_dictionaries(
    {},
    optional={"chain": JSON | st.lists(ERRORS | JSON, max_size=4), "syntax_error": JSON | FRAMES},
)
EXITS = st.none() | st.builds(
    JobExit,
    reason=st.sampled_from(
        [
            "exited",
            "timeout",
            "no_output",
            "memory",
            "output",
            "disk",
            "disk_full",
            "cancelled",
            "not_started",
            "else",
        ]
    ),
    returncode=st.none() | st.integers(-70, 300),
    signal=st.none() | st.sampled_from(["SIGKILL", "SIGSEGV", "9", "\ud800"]).filter(str.isascii),
    peak_memory_bytes=st.none() | st.integers(0, 2**50),
    oom_kills=st.integers(0, 2),
    log_error=st.none() | st.sampled_from(["ENOSPC", "EIO", "EFBIG", ""]),
)
PROBLEMS = st.none() | st.builds(
    Problem,
    kind=st.sampled_from(["results_missing", "results_stale", "odd"]),
    message=st.just("why"),
)


@settings(max_examples=300, deadline=None)
@given(
    end=EXITS,
    record=RECORDS,
    stdout=TEXTS,
    stderr=TEXTS,
    dump=TEXTS,
    phase=st.none() | st.text(max_size=100),
    problem=PROBLEMS,
)
def test_no_evidence_breaks_the_diagnosis(
    end: JobExit | None,
    record: Any,
    stdout: str,
    stderr: str,
    dump: str,
    phase: str | None,
    problem: Problem | None,
) -> None:
    evidence = Evidence(
        exit=end,
        exception=record,
        stdout=stdout,
        stderr=stderr,
        stack_dump=dump,
        phase=phase,
        results_problem=problem,
        root="/w",
        editable=("experiment.py",),
    )
    failure = diagnose(evidence)
    if failure is None:
        assert end is not None and end.returncode == 0 and problem is None
    else:
        check_bounded(failure)


@settings(max_examples=150, deadline=None)
@given(text=TEXTS, code=st.none() | st.integers(-15, 3))
def test_no_log_breaks_the_explanation(text: str, code: int | None) -> None:
    check_bounded(explain_log(text, returncode=code))


HOSTILE = {
    "one long line": "a" * 3_000_000,
    "a long message": "Traceback (most recent call last):\nValueError: " + "expected " * 300_000,
    "many headers": "Traceback (most recent call last):\n" * 60_000,
    "many frames": "Traceback (most recent call last):\n"
    + '  File "/w/e.py", line 1, in f\n' * 60_000
    + "KeyError: 1\n",
    "many escapes": "\x1b[" * 500_000 + "\x1b]" * 500_000,
    "many bars": "\r 10%|# | 1/10" * 150_000,
    "a bar's spaces": " " * 1_000_000 + "%|",
    "many links": "During handling of the above exception, another exception occurred:\n" * 30_000,
    "quotes": "'" * 100_000 + ' File "' * 100_000,
    "group margins": "  + Exception Group Traceback (most recent call last):\n" + "  | " * 300_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_are_answered(name: str) -> None:
    check_bounded(explain_log(HOSTILE[name], returncode=1))


@pytest.mark.parametrize(
    "piece",
    [
        "expected ",
        "loss is ",
        "nan ",
        "a/b ",
        "lab/model-",
        "' object has no attribute '",
        "(",
        "shapes (",
    ],
)
def test_a_hostile_message_is_matched_within_its_searched_part(piece: str) -> None:
    message = piece * (200_000 // len(piece))
    found = judge(Raised("Odd", message), SPECIFIC)
    assert found is None or found.kind in KINDS


# ------------------------------------------------------------------ the tables


@pytest.mark.parametrize("rule", [*SPECIFIC, *BY_TYPE], ids=lambda rule: rule.kind)
def test_every_row_is_priced_and_its_remedy_can_be_filled(rule: Any) -> None:
    assert rule.kind in KINDS
    assert rule.types or rule.pattern
    filled = fill(rule.remedy, {}, "experiment.py:3", "x = y")
    assert "{" not in filled and len(filled) > 30
    assert filled.rstrip().endswith(".")


def test_the_kinds_of_the_issue_are_all_there() -> None:
    named = (
        "syntax_error import_error name_error attribute_error shape_mismatch dtype_or_device_mismatch "
        "cuda_out_of_memory host_out_of_memory gated_model model_not_found dataset_unavailable "
        "network_unavailable non_finite_loss assertion timeout no_output_timeout killed_by_signal segfault "
        "disk_full results_missing results_invalid results_stale bad_arguments dependency_missing "
        "swallowed_exception unknown"
    )
    assert set(named.split()) <= KINDS


def test_what_is_not_the_experiments_doing_is_not_charged() -> None:
    free = {kind for kind in KINDS if not charges(kind)[0]}
    assert free == {
        "gated_model",
        "model_not_found",
        "dataset_unavailable",
        "network_unavailable",
        "disk_full",
        "gpu_fault",
        "worker_lost",
        "not_started",
    }
    for kind, circumstance in _BY_CIRCUMSTANCE:
        assert charges(kind) == charges(kind, "")
        assert charges(kind)[0] and not charges(kind, circumstance)[0]
    with pytest.raises(KeyError):
        charges("no such kind")


# ------------------------------------------------------------------ reading tracebacks


def test_the_last_traceback_of_the_main_thread_counts() -> None:
    text = (
        'Traceback (most recent call last):\n  File "a.py", line 1, in f\nKeyError: 1\n'
        "2026-01-01 10:00:00 INFO went on\n"
        'Traceback (most recent call last):\n  File "a.py", line 2, in f\nValueError: two\n\n'
        "Exception in thread T:\n"
        'Traceback (most recent call last):\n  File "a.py", line 3, in f\nTypeError: 3\n'
        'Traceback (most recent call last):\n  File "a.py", line 4, in f\nKeyboardInterrupt\n'
    )
    (raised,) = ending_chain(text)
    assert (raised.type, raised.message, raised.frames[0].line) == ("ValueError", "two", 2)


def test_lines_of_other_output_inside_a_traceback_are_passed_over() -> None:
    text = (
        "Traceback (most recent call last):\n"
        '  File "a.py", line 1, in f\n    g()\nstep 12 of 100 done\n'
        '  File "a.py", line 2, in g\n    h()\n    ~^^\nKeyError: 1\n'
    )
    (raised,) = ending_chain(text)
    assert [(frame.line, frame.code) for frame in raised.frames] == [(1, "g()"), (2, "h()")]
