"""Ends without an exception: the shapes of the recorded failures, limits, signals, results.

The texts are our own re-creations of what libraries print. Those of the GPU were written by hand after
torch's source, as no test may need one.
"""

from __future__ import annotations

import signal
from typing import Any

import pytest

from agent_runner.failures import Evidence, diagnose, explain_log
from agent_runner.records import Failure, JobExit, Limits, ModelUse, Problem

GIB = 2**30
ROOT = "/home/lab/idea"
SHARDS = "".join(
    f"\rLoading checkpoint shards: {done * 50:3d}%|{'█' * done * 5:<10}| {done}/2 [00:0{done}<00:00]"
    for done in range(3)
)
BARS = f"Evaluating all SAEs:   0%|          | 0/1 [00:00<?, ?it/s]\n{SHARDS}\n"
DUMP = f"""Thread 0x00007f01 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 320 in wait
  File "/usr/lib/python3.11/threading.py", line 1002 in _bootstrap

Thread 0x00007f02 (most recent call first):
  File "/usr/lib/python3.11/site-packages/torch/nn/modules/linear.py", line 117 in forward
  File "{ROOT}/experiment.py", line 88 in encode
  File "{ROOT}/harness.py", line 40 in evaluate
  File "{ROOT}/experiment.py", line 200 in <module>
"""


def ended(**changes: Any) -> JobExit:
    return JobExit(**({"reason": "exited", "returncode": 1, "seconds": 31.5} | changes))


KILLED = ended(returncode=-9, signal="SIGKILL")


def told(end: JobExit | None, **changes: Any) -> Failure:
    known: dict[str, Any] = {"exit": end, "root": ROOT, "editable": ("experiment.py",)}
    failure = diagnose(Evidence(**(known | changes)))
    assert failure is not None
    return failure


# ------------------------------------------------------------------ the recorded shapes


def test_killed_while_the_model_was_loaded_reads_as_memory_and_is_not_charged() -> None:
    failure = told(
        KILLED,
        stderr=BARS,
        phase="model load",
        device="cpu",
        model=ModelUse(requested="big-model", granted="big-model"),
        available_memory_bytes=12 * GIB,
    )
    assert failure.kind == "host_out_of_memory"
    assert not failure.charged
    assert "does not fit" in failure.charged_reason
    assert "phase 'model load'" in failure.message
    assert "on cpu" in failure.message
    assert "12.0 GiB" in failure.message
    assert "big-model" in failure.message
    assert (
        "most likely" in failure.message
    )  # nobody counted the kill: it is an inference, and says so
    assert "Nothing in the edit" in failure.remedy


def test_progress_bars_and_a_return_code_are_enough() -> None:
    failure = told(ended(returncode=-9), stderr=BARS, stdout="Using device: cpu\n")
    assert (failure.kind, failure.phase, failure.charged) == (
        "host_out_of_memory",
        "model load",
        False,
    )
    bars = [line for line in failure.evidence if "%|" in line]
    assert len(bars) == 2  # one state each
    assert "2/2" in bars[-1]


def test_a_gated_model_is_named_before_a_long_tail() -> None:
    frames = "".join(
        f'  File "/env/lib/python3.11/site-packages/transformers/part{n}.py", line {n + 1}, in step{n}\n'
        f"    return step{n + 1}(name)\n"
        for n in range(30)
    )
    log = (
        f'Traceback (most recent call last):\n  File "{ROOT}/experiment.py", line 30, in <module>\n'
        f"    model = AutoModel.from_pretrained(name)\n{frames}"
        "OSError: You are trying to access a gated repo.\n"
        "Make sure to have access to it at https://huggingface.co/some-lab/some-model-2b.\n"
        "401 Client Error. (Request ID: Root=1-aaaa;bbbb)\n\n"
        "Cannot access gated repo for url https://huggingface.co/some-lab/some-model-2b/resolve/main/config.json.\n"
        + "Please log in. "
        * 300
    )
    failure = told(ended(), stderr=log)
    assert (failure.kind, failure.exception_type, failure.charged) == (
        "gated_model",
        "OSError",
        False,
    )
    assert failure.message.startswith("You are trying to access a gated repo.")
    assert failure.location is not None
    assert (failure.location.file, failure.location.line) == ("experiment.py", 30)
    assert failure.location.code == "model = AutoModel.from_pretrained(name)"
    assert "some-lab/some-model-2b" in failure.remedy
    assert len(failure.message) < 1300

    # As a loop that keeps only a tail would pass it on: some frames left, then none.
    for start in ("part20.py", "of the frame\nOSError"):
        text = log.replace("OSError: You", "of the frame\nOSError: You")
        cut = explain_log("..." + text[text.index(start) :])
        assert (cut.kind, cut.exception_type) == ("gated_model", "OSError")
        assert cut.message.startswith("You are trying")


def test_the_cause_before_a_list_of_5000_characters_is_kept() -> None:
    names = ", ".join(f"'lab-{n}/model-{n}'" for n in range(260))
    assert len(names) > 5000
    message = f"lab-7/model-7-it not found. Valid official model names (excl aliases): [{names}]"
    log = (
        f'Traceback (most recent call last):\n  File "{ROOT}/experiment.py", line 12, in evaluate\n'
        f"    run(model_name)\nValueError: {message}\n"
    )
    failure = told(ended(), stderr=log)
    assert (failure.kind, failure.charged) == ("model_not_found", False)
    assert failure.message.startswith("lab-7/model-7-it not found")
    assert failure.message.endswith("'lab-259/model-259']")
    assert f"{len(message) - 1200:,} characters left out" in failure.message
    assert "lab-7/model-7-it" in failure.remedy


def test_a_log_whose_cause_was_cut_off_is_unknown_and_says_why() -> None:
    failure = explain_log("..., 'lab/one', 'lab/two', 'lab/three']\n")
    assert failure.kind == "unknown"
    assert "head was cut off" in failure.message
    assert failure.location is None


# ------------------------------------------------------------------ memory


def test_progress_bars_alone_leave_the_question_open() -> None:
    failure = explain_log(BARS)
    assert failure.kind == "unknown"
    assert "-9" in failure.message


def test_a_kill_that_the_kernel_counted_is_certain_and_charged_in_training() -> None:
    failure = told(
        ended(returncode=-9, signal="SIGKILL", oom_kills=1, peak_memory_bytes=11 * GIB),
        phase="training",
        device="cpu",
        available_memory_bytes=12 * GIB,
    )
    assert (failure.kind, failure.charged) == ("host_out_of_memory", True)
    assert "by the kernel" in failure.message
    assert "most likely" not in failure.message
    assert "11.0 GiB" in failure.message


def test_the_memory_limit_counts_as_the_kernel_does() -> None:
    end = ended(reason="memory", returncode=-9, signal="SIGKILL", peak_memory_bytes=4 * GIB)
    limits = Limits(memory_mb=4096)
    training = told(end, phase="training", limits=limits)
    assert (training.kind, training.charged) == ("host_out_of_memory", True)
    assert "memory limit" in training.message and "4.0 GiB" in training.message
    loading = told(end, phase="model load", limits=limits)
    assert (loading.kind, loading.charged) == ("host_out_of_memory", False)


def test_a_kill_near_the_limit_is_most_likely_memory() -> None:
    end = ended(returncode=-9, signal="SIGKILL", peak_memory_bytes=int(11.5 * GIB))
    failure = told(end, phase="training", available_memory_bytes=12 * GIB)
    assert failure.kind == "host_out_of_memory"
    assert "most likely" in failure.message


@pytest.mark.parametrize(
    "changes",
    [{"phase": "training"}, {"phase": "model load", "device": "cuda:0"}, {"phase": None}],
)
def test_a_kill_that_nothing_explains_is_not_called_memory(changes: dict[str, Any]) -> None:
    failure = told(KILLED, available_memory_bytes=12 * GIB, **changes)
    assert (failure.kind, failure.charged) == ("killed_by_signal", False)
    assert "not known" in failure.message


def test_a_kill_far_from_the_memory_there_was_is_not_called_memory() -> None:
    end = ended(returncode=-9, signal="SIGKILL", peak_memory_bytes=GIB)
    failure = told(end, phase="model load", device="cpu", available_memory_bytes=64 * GIB)
    assert failure.kind == "killed_by_signal"


def test_a_worker_killed_for_memory() -> None:
    text = (
        f'Traceback (most recent call last):\n  File "{ROOT}/experiment.py", line 3, in <module>\n'
        "RuntimeError: DataLoader worker (pid 7) is killed by signal: Killed. \n"
    )
    assert told(ended(), stderr=text).kind == "killed_by_signal"
    assert told(ended(oom_kills=1), stderr=text).kind == "host_out_of_memory"


SHORT = ended(
    returncode=-9, signal="SIGKILL", oom_kills=1, oom_own_limit=False, level="L3",
    peak_memory_bytes=GIB,
)  # fmt: skip


@pytest.mark.parametrize("phase", ["training", "model load"])
def test_a_kill_for_memory_that_others_used_is_not_charged(phase: str) -> None:
    failure = told(SHORT, phase=phase, available_memory_bytes=12 * GIB)
    assert (failure.kind, failure.charged) == ("host_out_of_memory", False)
    assert "others used" in failure.message and "same proposal again" in failure.remedy
    assert "the machine ran out of memory" in failure.charged_reason
    text = (
        f'Traceback (most recent call last):\n  File "{ROOT}/experiment.py", line 3, in <module>\n'
        "RuntimeError: DataLoader worker (pid 7) is killed by signal: Killed. \n"
    )
    lost = SHORT.model_copy(update={"returncode": 1, "signal": None})
    worker = told(lost, stderr=text, phase="training", available_memory_bytes=12 * GIB)
    assert (worker.kind, worker.charged) == ("host_out_of_memory", False)
    assert "same proposal again" in worker.remedy


@pytest.mark.parametrize(
    "changes",
    [
        {"peak_memory_bytes": 7 * GIB},  # most of the machine's
        {"oom_own_limit": True},
        {"oom_own_limit": None, "level": "L2"},  # no cgroup: whose limit it was is not known
    ],
)
def test_a_kill_for_memory_is_charged_where_it_may_be_the_runs_own(changes: dict[str, Any]) -> None:
    end = SHORT.model_copy(update=changes)
    failure = told(end, phase="training", available_memory_bytes=12 * GIB)
    assert (failure.kind, failure.charged) == ("host_out_of_memory", True)


# ------------------------------------------------------------------ who sent the signal


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"])
@pytest.mark.parametrize(
    ("changes", "charged"),
    [
        ({"level": None}, False),
        ({"level": "L0"}, False),
        ({"level": "L1"}, False),
        ({"level": "L2"}, True),
        ({"level": "L3"}, True),
        ({"level": "L2", "sandbox_killed": True}, False),
    ],
)
def test_a_signal_is_the_programs_own_where_nothing_outside_can_send_it(
    name: str, changes: dict[str, Any], charged: bool
) -> None:
    code = -signal.Signals[name]
    end = ended(returncode=code, signal=name, **changes)
    for phase in ("training", "model load") if charged else ("training",):
        failure = told(end, phase=phase, stdout='{"loss": 0.1}\n')
        assert (failure.kind, failure.charged) == ("killed_by_signal", charged)
        assert name in failure.message
        assert ("ended itself" in failure.message) == charged


@pytest.mark.parametrize(("level", "charged"), [("L0", False), ("L2", True)])
def test_an_interrupt_that_the_program_raises_is_its_own_in_a_sandbox(
    level: str, charged: bool
) -> None:
    text = PRINTED.replace("KeyError: 'a'", "KeyboardInterrupt")
    failure = told(ended(level=level), stderr=text)
    assert (failure.kind, failure.charged) == ("killed_by_signal", charged)


def cuda_oom(own: str, free: str, tried: str = "8.00 GiB") -> str:
    return (
        f'Traceback (most recent call last):\n  File "{ROOT}/experiment.py", line 55, in loss\n'
        f"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {tried}. GPU 0 has a total "
        f"capacity of 80.00 GiB of which {free} is free. Process 4711 has 60.00 GiB memory in use. "
        f"Including non-PyTorch memory, this process has {own} memory in use. Of the allocated memory "
        "1.00 GiB is allocated by PyTorch.\n"
    )


def test_gpu_memory_own_neighbours_and_the_models() -> None:
    own = told(ended(), stderr=cuda_oom(own="78.00 GiB", free="512.00 MiB"), phase="training")
    assert (own.kind, own.charged) == ("cuda_out_of_memory", True)
    neighbour = told(ended(), stderr=cuda_oom(own="15.00 GiB", free="4.00 GiB"), phase="training")
    assert (neighbour.kind, neighbour.charged) == ("cuda_out_of_memory", False)
    assert "other processes" in neighbour.charged_reason
    too_big_anyway = told(
        ended(), stderr=cuda_oom(own="15.00 GiB", free="4.00 GiB", tried="70.00 GiB")
    )
    assert too_big_anyway.charged
    loading = told(ended(), stderr=cuda_oom(own="78.00 GiB", free="512.00 MiB"), phase="model load")
    assert not loading.charged


def test_an_abort_of_a_library_tells_what_it_said() -> None:
    words = "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n"
    failure = told(ended(returncode=-6, signal="SIGABRT"), stderr=words, phase="training")
    assert (failure.kind, failure.charged) == ("host_out_of_memory", True)
    assert "bad_alloc" in failure.message


# ------------------------------------------------------------------ the runner's own ends


@pytest.mark.parametrize(
    ("reason", "kind"), [("timeout", "timeout"), ("no_output", "no_output_timeout")]
)
def test_the_clock_names_the_line_that_was_running(reason: str, kind: str) -> None:
    end = ended(reason=reason, returncode=-9, signal="SIGKILL", seconds=600.0)
    limits = Limits(time_s=600, no_output_s=120)
    failure = told(end, stack_dump=DUMP, phase="evaluation", limits=limits)
    assert (failure.kind, failure.phase, failure.charged) == (kind, "evaluation", True)
    assert failure.location is not None
    assert (failure.location.file, failure.location.line) == ("experiment.py", 88)
    assert "experiment.py:88 (in encode)" in failure.message
    assert ("600 s" if reason == "timeout" else "120 s") in failure.message


def test_an_exception_before_the_clock_is_the_cause() -> None:
    frames = [
        {"file": f"{ROOT}/experiment.py", "line": 5, "function": "work", "code": "table['x']"}
    ]
    record = {
        "chain": [{"type": "KeyError", "module": "builtins", "message": "'x'", "frames": frames}]
    }
    failure = told(ended(reason="timeout", returncode=-9, signal="SIGKILL"), exception=record)
    assert failure.kind == "key_error"
    assert any("hung until the runner ended it" in line for line in failure.evidence)


def test_an_interrupt_is_how_it_was_stopped_not_why() -> None:
    record = {
        "chain": [{"type": "KeyboardInterrupt", "module": "builtins", "message": "", "frames": []}]
    }
    assert (
        told(ended(reason="timeout", returncode=-2, signal="SIGINT"), exception=record).kind
        == "timeout"
    )


@pytest.mark.parametrize(
    ("end", "kind", "charged"),
    [
        (ended(reason="output", returncode=-9), "output_limit", True),
        (ended(reason="disk", returncode=-9), "disk_limit", True),
        (ended(reason="disk_full", returncode=-15, signal="SIGTERM"), "disk_full", False),
        (ended(reason="processes", signal="SIGTERM"), "process_limit", True),
        (ended(reason="lost"), "worker_lost", False),
        (ended(reason="cancelled", returncode=-15), "cancelled", True),
        (ended(reason="cancelled", returncode=None), "cancelled", False),
        (
            ended(reason="not_started", returncode=None, message="no such interpreter"),
            "not_started",
            False,
        ),
        (None, "worker_lost", False),
        (
            ended(returncode=137),
            "killed_by_signal",
            True,
        ),  # 128 + 9: its own exit code, whatever it stands for
    ],
)
def test_other_ends(end: JobExit | None, kind: str, charged: bool) -> None:
    failure = told(end)
    assert (failure.kind, failure.charged) == (kind, charged)
    assert failure.message and failure.remedy and failure.charged_reason


# ------------------------------------------------------------------ a disk that does not take the output

PRINTED = f"""Traceback (most recent call last):
  File "{ROOT}/experiment.py", line 9, in f
KeyError: 'a'
"""
MISSING = Problem(kind="results_missing", message="there is no final_info.json")
NOT_JSON = Problem(kind="results_invalid", message="it is not JSON: no value (line 1)")
NOT_A_NUMBER = Problem(kind="results_invalid", message="metrics.final_loss is not a finite number")


@pytest.mark.parametrize("log_error", ["ENOSPC", "EDQUOT", "EIO"])
@pytest.mark.parametrize(
    ("end", "known"),
    [
        (ended(), {}),
        (ended(), {"stderr": "a warning before\n"}),
        (ended(), {"stderr": PRINTED[:-6]}),  # which exception it was stood behind this
        (ended(returncode=-7, signal="SIGBUS"), {}),
        (ended(returncode=0), {"results_problem": MISSING}),
        (ended(returncode=0), {"results_problem": NOT_JSON}),
    ],
)
def test_a_disk_that_did_not_take_the_output_is_the_cause_where_no_other_is_known(
    end: JobExit, known: dict[str, Any], log_error: str
) -> None:
    failure = told(end.model_copy(update={"log_error": log_error}), **known)
    assert (failure.kind, failure.charged) == ("disk_full", False)
    assert log_error in failure.message and "same proposal again" in failure.remedy


@pytest.mark.parametrize(
    ("changes", "known", "kind"),
    [
        ({"reason": "disk", "returncode": -15}, {}, "disk_limit"),
        ({"reason": "timeout", "returncode": -15}, {}, "timeout"),
        ({"reason": "cancelled", "returncode": -15}, {}, "cancelled"),
        ({}, {"stderr": PRINTED}, "key_error"),
        ({"returncode": -11, "signal": "SIGSEGV"}, {}, "segfault"),
        ({"returncode": 0}, {"results_problem": NOT_A_NUMBER}, "results_invalid"),
        ({"log_error": "EFBIG"}, {"stderr": PRINTED[:-1]}, "key_error"),
        ({"log_error": None}, {}, "unknown"),
    ],
)
def test_a_better_cause_goes_before_the_disk(
    changes: dict[str, Any], known: dict[str, Any], kind: str
) -> None:
    failure = told(ended(**({"log_error": "ENOSPC"} | changes)), **known)
    assert (failure.kind, failure.charged) == (kind, True)


def test_results_are_no_worse_for_a_log_that_was_not_kept() -> None:
    assert diagnose(Evidence(exit=ended(returncode=0, log_error="ENOSPC"))) is None


def test_a_disk_that_others_filled_says_who_wrote_how_much() -> None:
    text = "100 MiB are free where its records are, the floor is 1024 MiB; it wrote 2 MiB"
    failure = told(
        ended(reason="disk_full", returncode=-15, message=text), stack_dump=DUMP, phase="training"
    )
    assert text in failure.message and "in phase 'training'" in failure.message
    assert failure.location is not None and failure.location.line == 88
    assert "operator" in failure.remedy


# ------------------------------------------------------------------ results


@pytest.mark.parametrize("kind", ["results_missing", "results_invalid", "results_stale"])
def test_bad_results(kind: str) -> None:
    problem = Problem(kind=kind, message="metrics.final_loss is NaN")
    failure = told(
        ended(returncode=0), results_problem=problem, stdout="done\n", phase="writing results"
    )
    assert (failure.kind, failure.charged) == (kind, True)
    assert failure.message == "metrics.final_loss is NaN"
    assert failure.phase == "writing results"
    assert failure.remedy


def test_invalid_results_stay_the_cause_beside_a_printed_exception() -> None:
    text = (
        "Traceback (most recent call last):\n"
        + f'  File "{ROOT}/experiment.py", line 9, in f\n'
        + "KeyError: 'a'\n"
    )
    problem = Problem(kind="results_invalid", message="no metrics")
    failure = told(ended(returncode=0), results_problem=problem, stderr=text)
    assert failure.kind == "results_invalid"
    assert any("KeyError at experiment.py:9" in line for line in failure.evidence)


def test_a_swallowed_failure_of_the_machine_is_priced_as_what_it_was() -> None:
    text = "Training failed: [Errno 28] No space left on device\n"
    failure = told(ended(), stdout=text)
    assert (failure.kind, failure.charged) == ("swallowed_exception", False)
    assert "machine" in failure.charged_reason


# ------------------------------------------------------------------ saved logs


def test_a_saved_log_without_a_root_names_the_file_no_library_owns() -> None:
    log = (
        "step 1\nTraceback (most recent call last):\n"
        '  File "/somewhere/else/experiment.py", line 7, in <module>\n    train()\n'
        '  File "/opt/env/lib/python3.11/site-packages/torch/nn/modules/module.py", line 1, in __call__\n'
        "    return f(x)\nRuntimeError: self must be a matrix\n"
    )
    failure = explain_log(log)
    assert failure.kind == "shape_mismatch"
    assert failure.location is not None
    assert (failure.location.file, failure.location.line) == ("experiment.py", 7)
    assert any("site-packages/torch/nn/modules/module.py:1" in line for line in failure.evidence)


def test_a_saved_log_with_its_return_code() -> None:
    assert explain_log(BARS, returncode=-9, device="cpu").kind == "host_out_of_memory"
    assert explain_log(BARS, returncode=-11).kind == "segfault"


def test_a_saved_log_without_a_failure_says_so() -> None:
    failure = explain_log("step 1\nstep 2\ndone\n")
    assert failure.kind == "unknown"
    assert "without a traceback" in failure.message
