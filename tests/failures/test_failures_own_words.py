"""What a program says itself: its own exceptions, what it logged before, other programs' words, secrets."""

from __future__ import annotations

import pytest

from agent_runner.failures import Evidence, diagnose, explain_log
from agent_runner.failures.text import HIDDEN, without_secrets
from agent_runner.records import Failure, JobExit

ROOT = "/w"
FAILED = JobExit(reason="exited", returncode=1)
TOKEN = "hf_" + "aB3" * 11


def traceback(*frames: tuple[str, int, str, str], ends: str) -> str:
    """A traceback as Python prints it; a frame is file, line, function, code."""
    lines = [
        f'  File "{file}", line {line}, in {function}\n    {code}'
        for file, line, function, code in frames
    ]
    return "\n".join(["Traceback (most recent call last):", *lines, ends, ""])


def explained(stderr: str, stdout: str = "") -> Failure:
    failure = diagnose(
        Evidence(exit=FAILED, stdout=stdout, stderr=stderr, root=ROOT, editable=("experiment.py",))
    )
    assert failure is not None
    return failure


def test_an_exception_logged_far_from_the_one_that_ended_the_program_is_not_its_cause() -> None:
    logged = traceback(
        ("/w/experiment.py", 10, "load", "return open(path)"),
        ends="FileNotFoundError: [Errno 2] No such file or directory: 'cache.json'",
    )
    for line, function in ((14, "train"), (90, "load")):
        last = traceback(
            ("/w/experiment.py", line, function, 'raise RuntimeError("no rows are left")'),
            ends="RuntimeError: no rows are left",
        )
        failure = explained(logged + last)
        assert (failure.kind, failure.location and failure.location.line) == ("runtime_error", line)


def test_an_exception_logged_by_the_function_that_raised_the_last_one_is_its_cause() -> None:
    logged = traceback(
        ("/w/experiment.py", 10, "load", "return read(path)"),
        ("/w/experiment.py", 4, "read", "return open(path)"),
        ends="FileNotFoundError: [Errno 2] No such file or directory: 'tokens.bin'",
    )
    last = traceback(
        ("/w/experiment.py", 13, "load", 'raise RuntimeError("step 1 failed")'),
        ends="RuntimeError: step 1 failed",
    )
    failure = explained(logged + last)
    assert (failure.kind, failure.location and failure.location.line) == ("file_not_found", 4)
    assert [cause.message for cause in failure.cause_chain][:1] == ["step 1 failed"]


def test_a_thread_that_ended_before_is_told_once() -> None:
    thread = "Exception in thread loader-1 (load):\n" + traceback(
        ("/w/experiment.py", 6, "load", "out[i] = rows[i]"),
        ends="IndexError: list index out of range",
    )
    alone = explained(thread)
    assert alone.kind == "index_error"
    assert "Before it" not in alone.remedy
    main = traceback(("/w/experiment.py", 20, "<module>", "print(out[1])"), ends="KeyError: 1")
    both = explained(thread + main)
    assert both.kind == "key_error"
    assert "thread loader-1 ended by IndexError" in both.remedy
    assert "experiment.py:6" in both.remedy


def test_another_programs_traceback_counts_only_where_there_is_nothing_else() -> None:
    other = traceback(("/srv/serve.py", 41, "<module>", "app.run()"), ends="KeyError: 'port'")
    assert explained("refusing to average\n", stdout=other).kind == "unknown"
    assert explained("", stdout=other).kind == "key_error"
    assert explained(other).kind == "key_error"
    assert explain_log(other).kind == "key_error"


def test_words_of_a_library_passed_on_by_the_program_count() -> None:
    raised = traceback(
        ("/w/experiment.py", 9, "step", "raise StepFailed(str(error)) from None"),
        ends="StepFailed: CUDA out of memory. Tried to allocate 2.00 GiB",
    )
    assert explained(raised).kind == "cuda_out_of_memory"


@pytest.mark.parametrize(
    "secret",
    [
        TOKEN,
        "sk-live-51HxYzAbCdEfGhIj",
        "ghp_" + "a1B2" * 9,
        "AKIA" + "ABCD1234" * 2,
        "password=correct-horse-9",
        '"db_password": "correct-horse-9"',
        "api_key='k3y-of-the-lab'",
        "postgres://lab:correct-horse-9@db.internal/x",
        "Authorization: Bearer abcdefghijklmnop1234",
    ],
)
def test_what_looks_like_a_secret_is_hidden(secret: str) -> None:
    shown = without_secrets(f"refused with {secret} at once")
    assert HIDDEN in shown
    for part in (TOKEN, "correct-horse", "51HxYz", "a1B2", "ABCD1234", "k3y-of", "1234"):
        assert part not in shown
    assert shown.endswith(" at once")


@pytest.mark.parametrize(
    "text",
    [
        "from huggingface_hub import hf_hub_download",
        "hf_transfer is not installed",
        "password = read_password()",
        "f'token={token} password={password}'",
        "max_tokens=2048, key=layer_3, secret_dim=512",
        "KeyError: 'blocks.10.hook_resid_post'",
        "http://127.0.0.1:8000/x and https://huggingface.co/a/b@main",
        "a risk-adjusted-score-of-the-run",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text


def test_no_field_of_a_failure_holds_a_secret() -> None:
    frames = [{"file": "/w/experiment.py", "line": 3, "function": "get", "code": f'get("{TOKEN}")'}]
    chain = [
        {"type": "RuntimeError", "message": f"no access with {TOKEN}", "relation": "raised"},
        {"type": "KeyError", "message": TOKEN, "relation": "context", "frames": frames},
    ]
    failure = diagnose(
        Evidence(
            exit=FAILED,
            exception={"chain": chain},
            stderr=f"token {TOKEN}",
            root=ROOT,
            editable=("experiment.py",),
        )
    )
    assert failure is not None
    assert failure.location is not None
    assert TOKEN not in failure.model_dump_json()
    assert HIDDEN in failure.message + str(failure.cause_chain)


def test_a_link_to_a_worker_that_broke_because_the_worker_crashed() -> None:
    broken = "ERROR: Unexpected segmentation fault encountered in worker.\n " + traceback(
        ("/w/experiment.py", 18, "total", "return sum(loader)"),
        ends="ConnectionResetError: [Errno 104] Connection reset by peer",
    )
    for failure in (explained(broken), explain_log(broken)):
        assert (failure.kind, failure.location and failure.location.line) == ("segfault", 18)
        assert "num_workers=0" in failure.remedy


def test_a_file_in_another_encoding_is_not_called_a_cut_bracket() -> None:
    words = "(unicode error) 'utf-8' codec can't decode byte 0xe8 in position 3: invalid continuation byte"
    shown = '  File "/w/naming.py", line 2\n    LABEL = "mod\ufffdle"\n            ^^^^^^^^\n'
    failure = explained(f"{shown}SyntaxError: {words}\n")
    assert (failure.kind, failure.location and failure.location.file) == (
        "syntax_error",
        "naming.py",
    )
    assert "not saved as UTF-8" in failure.remedy
