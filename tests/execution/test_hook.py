"""The exception hook, in interpreters of its own: what it records, and that nothing else changes."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from hook_program import Program
from shim_jobs import ShimJob

from agent_runner.execution import supervisor
from agent_runner.execution.environment import HOOK


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


PLAIN = "def train(x):\n    return x['loss']\n\ntrain({})\n"
CHAINED = """
def load():
    raise OSError("disk")
def start():
    try:
        load()
    except OSError as error:
        raise RuntimeError("no model") from error
try:
    start()
except RuntimeError:
    undefined
"""
THREAD = """
import threading
def work():
    raise ValueError("in a thread")
thread = threading.Thread(target=work, name="loader")
thread.start()
thread.join()
"""
WORKER = """
import multiprocessing, sys
def work():
    raise ValueError("in a worker")
if __name__ == "__main__":
    worker = multiprocessing.get_context("{method}").Process(target=work)
    worker.start()
    worker.join()
    print(worker.exitcode)
"""


def test_a_plain_exception(program: Program) -> None:
    program.run(PLAIN)
    record = program.exception
    assert record["schema_version"] == 1 and record["thread"] == "MainThread"
    assert record["syntax_error"] is None
    (raised,) = record["chain"]
    file = str(program.file)
    assert (raised["type"], raised["module"]) == ("KeyError", "builtins")
    assert (raised["message"], raised["relation"]) == ("'loss'", "raised")
    assert raised["frames"] == [
        {"file": file, "line": 4, "function": "<module>", "code": "train({})", "locals": {}},
        {
            "file": file,
            "line": 2,
            "function": "train",
            "code": "return x['loss']",
            "locals": {"x": "dict of 0"},
        },
    ]


def test_causes_outward_in(program: Program) -> None:
    program.run(CHAINED)
    chain = program.exception["chain"]
    assert [(e["type"], e["relation"]) for e in chain] == [
        ("NameError", "raised"),
        ("RuntimeError", "context"),
        ("OSError", "cause"),
    ]
    assert [frame["function"] for frame in chain[2]["frames"]] == ["start", "load"]


def test_a_suppressed_context_and_a_circle(program: Program) -> None:
    program.run("try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise ValueError from None")
    chain = program.exception["chain"]
    assert [(e["type"], e["relation"]) for e in chain] == [
        ("ValueError", "raised"),
        ("ZeroDivisionError", "suppressed"),
    ]
    program.run("a, b = ValueError('a'), ValueError('b')\na.__cause__, b.__cause__ = b, a\nraise a")
    assert [e["message"] for e in program.exception["chain"]] == ["a", "b"]


@pytest.mark.parametrize("imported", [False, True])
def test_a_syntax_error(program: Program, imported: bool) -> None:
    broken = program.folder / "model.py" if imported else program.file
    code = "x = 1\ndef f(:\n"
    if imported:
        broken.write_text(code)
    program.run("import model\n" if imported else code)
    record = program.exception
    assert record["chain"][0]["type"] == "SyntaxError"
    assert record["syntax_error"]["file"] == str(broken)
    assert (record["syntax_error"]["line"], record["syntax_error"]["offset"]) == (2, 7)
    assert record["syntax_error"]["text"] == "def f(:\n"


@pytest.mark.parametrize("code", ["import sys; sys.exit(3)", "import os; os._exit(4)", "print(1)"])
def test_no_record_without_an_exception(program: Program, code: str) -> None:
    program.run(code)
    assert program.written == ["faulthandler.log"]


def test_a_thread(program: Program) -> None:
    assert program.run(THREAD).returncode == 0
    assert program.exception["thread"] == "loader"
    assert program.exception["chain"][0]["message"] == "in a thread"


def test_exits_of_threads_are_no_exceptions(program: Program) -> None:
    program.run(THREAD.replace('ValueError("in a thread")', "SystemExit(1)"))
    assert "exception.json" not in program.written


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_worker_process(program: Program, method: str) -> None:
    assert program.run(WORKER.format(method=method)).stdout == "1\n"
    raised = program.exception["chain"][0]
    assert raised["message"] == "in a worker"
    assert raised["frames"][-1]["function"] == "work"
    assert not any("sitecustomize" in frame["file"] for frame in raised["frames"])


def test_the_main_process_has_the_last_word(program: Program) -> None:
    end = "\n    raise RuntimeError('main')\n"
    program.run(WORKER.format(method="fork") + end)
    assert program.exception["chain"][0]["message"] == "main"
    (program.record / "exception.json").unlink()
    program.run(THREAD + "raise RuntimeError('main')")
    assert program.exception["chain"][0]["message"] == "main"


def test_of_others_the_first_stays(program: Program) -> None:
    start = "import subprocess, sys\n"
    child = "subprocess.run([sys.executable, '-c', 'raise ValueError(\"{}\")'])\n"
    program.run(start + child.format("first") + child.format("second"))
    assert program.exception["chain"][0]["message"] == "first"
    program.run(start + child.format("child") + "raise RuntimeError('main')")
    assert program.exception["chain"][0]["message"] == "main"


def test_a_program_with_a_hook_of_its_own(program: Program) -> None:
    code = "import sys\nsys.excepthook = lambda *_: print('mine')\n" + PLAIN
    result = program.run(code)
    assert (result.stdout, result.returncode) == ("mine\n", 1)
    assert program.exception["chain"][0]["type"] == "KeyError"


def test_very_deep_and_very_long(program: Program) -> None:
    program.run(
        "import sys\nsys.setrecursionlimit(3000)\ndef f(): f()\n"
        "try:\n    f()\nexcept RecursionError as error:\n    raise ValueError('x' * 10**6) from error"
    )
    raised, cause = program.exception["chain"]
    assert len(raised["message"]) == 32 * 1024
    assert len(cause["frames"]) == 200 and cause["frames"][0]["function"] == "<module>"


@pytest.mark.parametrize(
    "code",
    [
        "class E(Exception):\n    def __str__(self): 1 / 0\nraise E",
        "raise ValueError('\\udcff')",
        "import shutil\nshutil.rmtree('record', ignore_errors=True)\nraise ValueError",
        "import os\nos.chdir('/')\nraise ValueError",
        "raise KeyboardInterrupt",
        "raise ExceptionGroup('several', [ValueError(1), TypeError(2)])",
        "import json\njson.dumps = None\nraise ValueError",
        *(PLAIN, CHAINED, THREAD, "def f(:"),
        *(WORKER.format(method=method) for method in ("fork", "spawn")),
    ],
)
def test_what_is_printed_and_the_exit_code_stay_the_same(program: Program, code: str) -> None:
    bare, hooked = program.run(code, hook=False), program.run(code)
    assert hooked.returncode == bare.returncode
    assert hooked.stdout == bare.stdout
    assert hooked.stderr == bare.stderr


def test_a_record_folder_that_is_gone_changes_nothing(program: Program) -> None:
    bare = program.run(PLAIN, hook=False)
    program.record.rmdir()
    hooked = program.run(PLAIN)
    assert (hooked.returncode, hooked.stderr) == (bare.returncode, bare.stderr)


def test_files_of_the_program_named_like_the_standard_library_are_its_own(program: Program) -> None:
    for name in ("json", "traceback", "linecache", "tokenize", "signal", "re"):
        (program.folder / f"{name}.py").write_text("mine = True\n")
    result = program.run("import json\nassert json.mine\nraise ValueError('recorded')")
    assert "ValueError: recorded" in result.stderr
    assert program.exception["chain"][0]["message"] == "recorded"


def test_another_sitecustomize_is_loaded_too(program: Program) -> None:
    folder = program.folder / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import sys\nprevious = sys.excepthook\nvalue = 5\n"
        "def hook(*args):\n    print('theirs')\n    previous(*args)\nsys.excepthook = hook\n"
    )
    code = (
        "import sitecustomize\nprint(sitecustomize.value, sitecustomize.__file__)\nraise ValueError"
    )
    result = program.run(code, path=(folder,))
    assert result.stdout.splitlines() == [f"5 {folder / 'sitecustomize.py'}", "theirs"]
    assert program.exception["chain"][0]["type"] == "ValueError"


def test_what_another_sitecustomize_has_imported_is_watched_too(program: Program) -> None:
    folder = program.folder / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import multiprocessing.process, threading")
    program.run(THREAD, path=(folder,))
    assert program.exception["thread"] == "loader"
    (program.record / "exception.json").unlink()
    program.run(WORKER.format(method="fork"), path=(folder,))
    assert program.exception["chain"][0]["message"] == "in a worker"


def test_a_broken_other_sitecustomize_is_reported_as_without_us(program: Program) -> None:
    folder = program.folder / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("1 / 0")
    bare = program.run(PLAIN, hook=False, path=(folder,))
    hooked = program.run(PLAIN, path=(folder,))
    assert "ZeroDivisionError" in bare.stderr and hooked.stderr == bare.stderr
    assert program.exception["chain"][0]["type"] == "KeyError"


def test_without_a_record_folder_it_does_nothing(program: Program) -> None:
    result = program.run(PLAIN, hook=False, path=(HOOK,))
    assert result.stderr == program.run(PLAIN, hook=False).stderr
    assert program.written == []


def test_a_crash_of_the_interpreter_leaves_its_stack(program: Program) -> None:
    result = program.run("def f():\n    import ctypes\n    ctypes.string_at(0)\nf()")
    assert result.returncode == -signal.SIGSEGV
    stacks = (program.record / "faulthandler.log").read_text()
    assert "Segmentation fault" in stacks and f'File "{program.file}", line 3 in f' in stacks


def test_the_supervisor_learns_where_a_program_hung(job: ShimJob) -> None:
    (job.work / "experiment.py").write_text(
        "import time\ndef hang():\n    time.sleep(1000)\nhang()"
    )
    env = {"PYTHONPATH": str(HOOK), "AGENT_RUNNER_RECORD_DIR": str(job.record)}
    ended = job.run(argv=(sys.executable, "experiment.py"), env=env, time_s=2)
    assert (ended["reason"], ended["signal"]) == ("timeout", "SIGTERM")
    stacks = (job.record / "faulthandler.log").read_text()
    assert 'experiment.py", line 3 in hang' in stacks


def test_hook_and_supervisor_agree_on_the_signal() -> None:
    text = (HOOK / "sitecustomize.py").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("_STACK_DUMP_FROM_SIGRTMIN"))
    assert signal.SIGRTMIN + int(line.split("=")[1]) == supervisor.STACK_DUMP_SIGNAL
