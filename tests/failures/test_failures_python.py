"""Plain Python programs, really run: the kind and the place, with the hook's record and without it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from failure_jobs import marked_line, run

from agent_runner.failures import KINDS, diagnose
from agent_runner.records import Failure, Problem

MISSING = Problem(kind="results_missing", message="run_1/final_info.json does not exist")


@dataclass(frozen=True)
class Fault:
    """A program, what is wrong with it, and a word its remedy or message must hold."""

    name: str
    kind: str
    program: str
    says: str = ""
    charged: bool = True


FAULTS = (
    Fault(
        "syntax",
        "syntax_error",
        """
        import sys
        values = [1, 2  # <- here
        """,
        "bracket",
    ),
    Fault(
        "indentation",
        "syntax_error",
        """
        def loss(x):
        return x  # <- here
        """,
    ),
    Fault(
        "misspelt name",
        "name_error",
        """
        def loss(x):
            return penalty * x  # <- here
        loss(3)
        """,
        "`penalty`",
    ),
    Fault(
        "unbound local",
        "name_error",
        """
        def step(flag):
            if flag:
                total = 1
            return total  # <- here
        step(False)
        """,
        "`total`",
    ),
    Fault(
        "attribute of the wrong object",
        "attribute_error",
        """
        class SAE:
            def __init__(self):
                self.ema_act = 0.0
        class Trainer:
            def __init__(self):
                self.ae = SAE()
            def loss(self):
                return self.ema_act  # <- here
        Trainer().loss()
        """,
        "`ema_act` is read from a Trainer",
    ),
    Fault(
        "none",
        "attribute_error",
        """
        scheduler = None
        scheduler.step()  # <- here
        """,
        "None",
    ),
    Fault(
        "module attribute",
        "attribute_error",
        """
        import math
        math.softmax([1])  # <- here
        """,
        "math has no `softmax`",
    ),
    Fault(
        "no such package",
        "dependency_missing",
        "import not_a_package_of_ours  # <- here\n",
        "`not_a_package",
    ),
    Fault("no such part", "import_error", "from json import parse_all  # <- here\n", "`parse_all`"),
    Fault("moved part", "import_error", "import json.reader  # <- here\n", "`json.reader`"),
    Fault(
        "call",
        "type_error",
        """
        def encode(x): return x
        encode(1, output_features=True)  # <- here
        """,
        "encode",
    ),
    Fault(
        "none is not subscriptable",
        "type_error",
        """
        log = [None]
        print(log[-1]["loss"])  # <- here
        """,
        "None",
    ),
    Fault(
        "json of an object",
        "type_error",
        """
        import json
        json.dumps({"loss": object()})  # <- here
        """,
        "plain data",
    ),
    Fault("unpack", "value_error", "batch, features = (1, 2, 3)  # <- here\n", "dimensions"),
    Fault("value", "value_error", "int('three')  # <- here\n", "int('three')"),
    Fault("key", "key_error", "{'a': 1}['b']  # <- here\n", "keys"),
    Fault("index", "index_error", "[1, 2][7]  # <- here\n"),
    Fault("zero", "zero_division", "steps = 0\nprint(10 / steps)  # <- here\n", "max(x, 1)"),
    Fault(
        "bare assertion",
        "assertion",
        "steps = 0\nassert steps > 0  # <- here\n",
        "assert steps > 0",
    ),
    Fault(
        "nan assertion",
        "non_finite_loss",
        "raise AssertionError('loss is nan at step 3')  # <- here\n",
    ),
    Fault(
        "nan in json",
        "non_finite_loss",
        "import json\njson.dumps(float('nan'), allow_nan=False)  # <- here\n",
    ),
    Fault(
        "recursion",
        "recursion_error",
        """
        class Net:
            def __getattr__(self, name):
                return self.missing  # <- here
        Net().x
        """,
    ),
    Fault("file", "file_not_found", "open('nothing/here.json')  # <- here\n"),
    Fault("memory", "host_out_of_memory", "b'x' * (1 << 60)  # <- here\n", "batches"),
    Fault(
        "own class",
        "uncaught_exception",
        "class Odd(Exception): pass\nraise Odd('so be it')  # <- here\n",
    ),
    Fault("runtime", "runtime_error", "raise RuntimeError('no luck')  # <- here\n"),
    Fault(
        "no space",
        "disk_full",
        "import errno, os\nraise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # <- here\n",
        charged=False,
    ),
    Fault(
        "name resolution",
        "network_unavailable",
        """
        import socket
        try:
            raise socket.gaierror(-3, "Temporary failure in name resolution")  # <- here
        except OSError as error:
            raise RuntimeError("download failed") from error
        """,
        charged=False,
    ),
    Fault(
        "wrapped",
        "key_error",
        """
        def load(table):
            try:
                return table["layer"]  # <- here
            except KeyError as error:
                raise RuntimeError("cannot load") from error
        load({})
        """,
    ),
    Fault(
        "while handling",
        "name_error",
        """
        try:
            {}["layer"]
        except KeyError:
            print(eror)  # <- here
        """,
        "`eror`",
    ),
    Fault(
        "process pool",
        "zero_division",
        """
        from multiprocessing import get_context
        def work(x):
            return 1 / x  # <- here
        if __name__ == "__main__":
            with get_context("fork").Pool(1) as pool:
                pool.map(work, [0])
        """,
    ),
)


@pytest.mark.parametrize("hook", [True, False], ids=["record", "printed"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_kind_and_place(tmp_path: Path, fault: Fault, hook: bool) -> None:
    ended = run(tmp_path, fault.program)
    failure = diagnose(ended.evidence(hook=hook))

    assert failure is not None
    assert failure.kind == fault.kind
    assert failure.kind in KINDS
    assert failure.charged is fault.charged
    assert failure.charged_reason
    assert failure.location is not None
    assert failure.location.file == "experiment.py"
    assert fault.says in f"{failure.remedy} {failure.message}"
    assert any(
        line.startswith(f"experiment.py:{failure.location.line}") for line in failure.evidence
    )
    assert "{" not in failure.remedy.replace(failure.location.code or "", "")
    assert failure.location.line == marked_line(fault.program)


def diagnosed(tmp_path: Path, program: str, **changes: object) -> Failure:
    failure = diagnose(run(tmp_path, program).evidence(**changes))
    assert failure is not None
    return failure


def test_a_program_that_ends_well_has_no_failure(tmp_path: Path) -> None:
    assert diagnose(run(tmp_path, "print('done')").evidence()) is None


def test_a_warning_about_the_results_is_no_failure(tmp_path: Path) -> None:
    warning = MISSING.model_copy(update={"severity": "warning"})
    assert diagnose(run(tmp_path, "print('done')").evidence(results_problem=warning)) is None


def test_a_chain_is_told_outermost_first(tmp_path: Path) -> None:
    program = """
    try:
        {}["layer"]
    except KeyError as error:
        raise ValueError("bad layer") from error
    """
    ended = run(tmp_path, program)
    for hook in (True, False):
        failure = diagnose(ended.evidence(hook=hook))
        assert failure is not None
        assert [cause.type for cause in failure.cause_chain] == ["ValueError", "KeyError"]
        assert failure.kind == "value_error"


def test_the_place_is_the_agents_line_not_the_locked_file_it_calls(tmp_path: Path) -> None:
    program = """
    import harness
    def encode(x):
        return harness.check(x)  # <- here
    encode(3)
    """
    harness = """
    def check(x):
        raise ValueError(f"{x} is no tensor")
    """
    ended = run(tmp_path, program, harness=harness)
    for hook in (True, False):
        failure = diagnose(ended.evidence(hook=hook))
        assert failure is not None and failure.location is not None
        assert (failure.location.file, failure.location.line) == (
            "experiment.py",
            marked_line(program),
        )
        assert failure.location.function == "encode"
        assert any("harness.py" in line for line in failure.evidence)


def test_without_an_editable_frame_the_deepest_below_the_root_is_named(tmp_path: Path) -> None:
    ended = run(tmp_path, "import harness\n", harness="import json\njson.loads('{')\n")
    failure = diagnose(ended.evidence(editable=("plot.py",)))
    assert failure is not None and failure.location is not None
    assert (failure.location.file, failure.location.line) == ("harness.py", 2)


def test_a_worktree_seen_under_another_path_is_still_the_agents(tmp_path: Path) -> None:
    failure = diagnosed(tmp_path, "import json\njson.loads('{')\n", root="/another/mount")
    assert failure.location is not None
    assert (failure.location.file, failure.location.line) == ("experiment.py", 2)


def test_a_model_that_does_not_fit_is_known_by_its_loader(tmp_path: Path) -> None:
    program = """
    def from_pretrained(name):
        return bytearray(1 << 60)
    from_pretrained("a-model")
    """
    failure = diagnosed(tmp_path, program, phase="evaluation")
    assert (failure.kind, failure.phase) == ("host_out_of_memory", "evaluation")
    assert not failure.charged


def test_a_syntax_error_in_an_imported_file_is_placed_there(tmp_path: Path) -> None:
    ended = run(tmp_path, "import plot\n", plot="def f(:\n    pass\n")
    for hook in (True, False):
        failure = diagnose(ended.evidence(hook=hook))
        assert failure is not None and failure.location is not None
        assert failure.kind == "syntax_error"
        assert (failure.location.file, failure.location.line) == ("plot.py", 1)
        assert failure.location.code == "def f(:"


def test_a_traceback_behind_an_unfinished_progress_bar_is_read(tmp_path: Path) -> None:
    program = """
    import sys
    sys.stderr.write("\\rTraining:  10%|#    | 1/10 [00:01<00:09]")
    sys.stderr.write("\\rTraining:  20%|##   | 2/10 [00:02<00:08]")
    {}["step"]  # <- here
    """
    failure = diagnosed(tmp_path, program, hook=False)
    assert failure.kind == "key_error"
    assert failure.location is not None and failure.location.line == marked_line(program)


def test_an_exception_group_speaks_through_its_members(tmp_path: Path) -> None:
    program = """
    def one():
        raise ValueError("first")
    def two():
        undefined_name  # <- here
    def gather(*jobs):
        errors = []
        for job in jobs:
            try:
                job()
            except Exception as error:
                errors.append(error)
        raise ExceptionGroup("two jobs failed", errors)
    gather(one, two)
    """
    ended = run(tmp_path, program)
    for hook in (True, False):
        failure = diagnose(ended.evidence(hook=hook))
        assert failure is not None
        assert [cause.type for cause in failure.cause_chain] == [
            "ExceptionGroup",
            "ValueError",
            "NameError",
        ]
        assert failure.kind == "name_error"  # the member that says most
        assert failure.location is not None and failure.location.line == marked_line(program)


def test_wrong_arguments(tmp_path: Path) -> None:
    program = """
    import argparse
    parser = argparse.ArgumentParser()
    parser.add_argument("--out_dir")
    parser.add_argument("--gamma", required=True)
    parser.parse_args()
    """
    failure = diagnosed(tmp_path, program)
    assert failure.kind == "bad_arguments"
    assert "--gamma" in failure.message
    assert "default" in failure.remedy


def test_a_swallowed_exception_with_an_error_code(tmp_path: Path) -> None:
    program = """
    import sys
    try:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)")
    except Exception as error:
        print(f"Training failed: {error}")
        sys.exit(1)
    """
    failure = diagnosed(tmp_path, program)
    assert failure.kind == "swallowed_exception"
    assert "mat1 and mat2" in failure.message
    assert "shapes" in failure.remedy
    assert failure.charged


def test_a_swallowed_exception_names_its_type_where_it_was_printed(tmp_path: Path) -> None:
    program = """
    import sys
    try:
        raise KeyError("layer")
    except Exception as error:
        sys.exit(f"giving up: {error!r}")
    """
    failure = diagnosed(tmp_path, program)
    assert (failure.kind, failure.exception_type) == ("swallowed_exception", "KeyError")


def test_a_swallowed_exception_with_code_0_and_no_results(tmp_path: Path) -> None:
    program = """
    import traceback
    try:
        [][0]  # <- here
    except Exception:
        traceback.print_exc(file=__import__("sys").stdout)
    """
    failure = diagnosed(tmp_path, program, results_problem=MISSING)
    assert (failure.kind, failure.exception_type) == ("swallowed_exception", "IndexError")
    assert failure.location is not None and failure.location.line == marked_line(program)
    assert "final_info.json" in failure.message


def test_a_thread_that_died_explains_missing_results(tmp_path: Path) -> None:
    program = """
    import threading
    def train():
        {}["loss"]  # <- here
    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    """
    ended = run(tmp_path, program)
    for hook in (True, False):
        failure = diagnose(ended.evidence(hook=hook, results_problem=MISSING))
        assert failure is not None
        assert (failure.kind, failure.exception_type) == ("swallowed_exception", "KeyError")
        assert failure.location is not None and failure.location.line == marked_line(program)


def test_a_traceback_printed_on_stdout_is_found(tmp_path: Path) -> None:
    program = """
    import sys, traceback
    try:
        {}["layer"]  # <- here
    except Exception:
        traceback.print_exc(file=sys.stdout)
        sys.exit(1)
    """
    failure = diagnosed(tmp_path, program)
    assert failure.kind == "key_error"
    assert failure.location is not None and failure.location.line == marked_line(program)


def test_an_exit_that_says_nothing_is_unknown_and_shows_the_last_words(tmp_path: Path) -> None:
    program = """
    import os
    print("step 400", flush=True)
    os._exit(3)
    """
    failure = diagnosed(tmp_path, program)
    assert failure.kind == "unknown"
    assert "return code 3" in failure.message
    assert "step 400" in failure.message


def test_an_exception_the_interpreter_ignored_is_not_the_cause(tmp_path: Path) -> None:
    program = """
    import sys
    class Noisy:
        def __del__(self):
            raise ValueError("ignored")
    try:
        {}["layer"]
    except KeyError:
        import traceback
        traceback.print_exc()
    noisy = Noisy()
    del noisy
    sys.exit(1)
    """
    assert diagnosed(tmp_path, program, hook=False).kind == "key_error"


def test_a_crash_is_placed_by_its_stack_dump(tmp_path: Path) -> None:
    program = """
    import faulthandler
    faulthandler.enable()
    def step():
        faulthandler._sigsegv()  # <- here
    step()
    """
    failure = diagnosed(tmp_path, program)
    assert failure.kind == "segfault"
    assert failure.location is not None
    assert (failure.location.line, failure.location.function) == (marked_line(program), "step")
    assert failure.charged


@pytest.mark.parametrize(
    ("name", "charged"), [("SIGKILL", False), ("SIGTERM", False), ("SIGFPE", True)]
)
def test_signals(tmp_path: Path, name: str, charged: bool) -> None:
    failure = diagnosed(tmp_path, f"import os, signal\nos.kill(os.getpid(), signal.{name})\n")
    assert failure.kind == "killed_by_signal"
    assert name in failure.message
    assert failure.charged is charged


def test_an_import_that_fails_inside_an_installed_library_is_not_charged(tmp_path: Path) -> None:
    library = tmp_path / "site-packages"
    library.mkdir()
    (library / "brokenlib.py").write_text("import a_missing_part\n")
    program = f"""
    import sys
    sys.path.append({str(library)!r})
    import brokenlib  # <- here
    """
    ended = run(tmp_path, program)
    for hook in (True, False):
        failure = diagnose(ended.evidence(hook=hook))
        assert failure is not None and failure.location is not None
        assert (failure.kind, failure.charged) == ("dependency_missing", False)
        assert (failure.location.file, failure.location.line) == (
            "experiment.py",
            marked_line(program),
        )
        assert not any(str(tmp_path) in line for line in failure.evidence)
