"""The exception hook in programs that break what it stands on: all is recorded, and nothing else changes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hook_program import Program

FAIL = "x = 5\nx.gone\n"


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def run_both(program: Program, code: str) -> subprocess.CompletedProcess[str]:
    """Run it with the hook, and see that it goes as without."""
    bare, hooked = program.run(code, hook=False), program.run(code)
    assert (hooked.returncode, hooked.stdout, hooked.stderr) == (
        bare.returncode,
        bare.stdout,
        bare.stderr,
    )
    return hooked


def recorded(program: Program) -> tuple[str, str]:
    raised = program.exception["chain"][0]
    return raised["type"], raised["message"]


@pytest.mark.parametrize(
    "code",
    [
        "import sys\nprint(sorted(name for name in sys.modules if name.startswith('importlib')))",
        "import importlib\nprint(hasattr(importlib, 'machinery'), hasattr(importlib, 'util'))",
        "import os\nprint(open('a', 'w').fileno(), os.open('a', 0))",
        "import sys, threading\n"
        "print(sys.excepthook is sys.__excepthook__, threading.excepthook is threading.__excepthook__)",
    ],
)
def test_what_a_program_can_see_is_as_without(program: Program, code: str) -> None:
    run_both(program, code)


@pytest.mark.parametrize(
    "name", ["_json", "re", "enum", "types", "functools", "threading", "posix"]
)
def test_files_named_like_what_the_hook_uses(program: Program, name: str) -> None:
    (program.folder / f"{name}.py").write_text("mine = True\n")
    run_both(program, FAIL)
    assert recorded(program)[0] == "AttributeError"
    assert program.exception["chain"][0]["frames"][0]["locals"] == {"x": "5"}


@pytest.mark.parametrize(
    "breaking",
    [
        "import sys; sys.path[:] = []",
        "import sys; sys.path = None",
        "import sys; sys.meta_path[:] = []",
        "import builtins\ndef broken(*a, **k): raise OSError\nbuiltins.__import__ = broken",
        "import builtins\ndef broken(*a, **k): raise OSError\nbuiltins.open = broken",
        "import os\ndef broken(*a, **k): raise OSError\nos.replace = os.getpid = os.close = broken",
        "import os\nos.path.join = os.path.abspath = None",
        "import sys; sys.setrecursionlimit(30)",
        "import os; os.closerange(3, 5000)",
        "import os; os.mkdir('d'); os.chdir('d'); os.rmdir('../d')",
        "import sys\nsys.settrace(lambda *a: print(a[1]) if a[0].f_code.co_name == 'write' else None)",
    ],
)
def test_programs_that_break_what_it_needs(program: Program, breaking: str) -> None:
    run_both(program, f"{breaking}\n{FAIL}")
    assert recorded(program)[0] == "AttributeError"
    assert program.exception["chain"][0]["frames"][0]["locals"] == {"x": "5"}


def test_files_opened_after_all_handles_were_closed_are_the_programs(program: Program) -> None:
    code = (
        "import atexit, os\nos.closerange(3, 256)\nfiles = [open(str(i), 'w') for i in range(6)]\n"
        "for file in files: file.write('kept')\n"
        "atexit.register(lambda: [file.flush() for file in files])\n1 / 0\n"
    )
    run_both(program, code)
    assert [(program.folder / str(i)).read_text() for i in range(6)] == ["kept"] * 6


def test_a_crash_is_not_written_into_a_file_of_the_program(program: Program) -> None:
    program.run(
        "import ctypes, os\nos.closerange(3, 256)\n"
        "files = [open(str(i), 'w') for i in range(6)]\nctypes.string_at(0)\n"
    )
    assert [(program.folder / str(i)).read_text() for i in range(6)] == [""] * 6
    assert "Segmentation fault" in (program.record / "faulthandler.log").read_text()


def test_without_handles_or_memory_left(program: Program) -> None:
    run_both(program, "import os\nwhile True: os.open('/dev/null', 0)")
    assert recorded(program)[0] == "OSError"
    program.run(
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (300 << 20,) * 2)\n"
        "kept = []\nwhile True: kept.append(object())\n"
    )
    assert recorded(program)[0] == "MemoryError"


@pytest.mark.parametrize(
    "method",
    [
        "def __str__(self): raise SystemExit(5)",
        "def __str__(self): raise KeyboardInterrupt",
        "__class__ = property(lambda self: exit_())",
        "__cause__ = __context__ = __traceback__ = property(lambda self: exit_())",
        "__module__ = property(lambda self: exit_())",
        "def __hash__(self): exit_()\n    __eq__ = __bool__ = __len__ = __hash__",
    ],
)
def test_exceptions_that_do_something_when_looked_at(program: Program, method: str) -> None:
    run_both(
        program,
        f"def exit_(*_): raise SystemExit(6)\nclass E(Exception):\n    {method}\nraise E('m')\n",
    )
    assert recorded(program)[0] == "E"


@pytest.mark.parametrize("getter", ["__getattribute__", "__getattr__"])
def test_attributes_of_exceptions_are_not_asked_for(program: Program, getter: str) -> None:
    done = program.run(
        f"class E(Exception):\n    def {getter}(self, name): raise SystemExit(6)\nraise E('m')\n"
    )
    assert done.returncode == 1 and recorded(program) == ("E", "m")


def test_a_metaclass_and_a_syntax_error_of_strange_parts(program: Program) -> None:
    program.run(
        "class Meta(type):\n    def __getattribute__(self, name): raise SystemExit(7)\n"
        "class E(Exception, metaclass=Meta): pass\nraise E('m')\n"
    )
    assert recorded(program) == ("E", "m")
    program.run(
        "e = SyntaxError('m')\ne.filename, e.lineno, e.offset, e.text = 7, 'x', [], b'y'\nraise e"
    )
    nothing = {"file": None, "line": None, "offset": None, "text": None}
    assert recorded(program)[0] == "SyntaxError" and program.exception["syntax_error"] == nothing


def test_a_hook_called_for_a_caught_exception_is_not_the_end(program: Program) -> None:
    program.run(
        "import sys\ntry: {}['caught']\nexcept KeyError: sys.excepthook(*sys.exc_info())\n"
        "sys.excepthook = lambda *_: None\n1 / 0\n"
    )
    assert recorded(program)[0] == "ZeroDivisionError"
    (program.record / "exception.json").unlink()
    program.run("import sys\ntry: sys.excepthook(None, None, None)\nexcept TypeError: pass\n")
    assert "exception.json" not in program.written


def test_a_thread_with_a_hook_or_a_name_of_the_programs_own(program: Program) -> None:
    thread = (
        "import threading\nthreading.excepthook = lambda _: print('mine')\n"
        "class Thread(threading.Thread):\n"
        "    name = property(lambda self: 1 / 0, lambda self, name: None)\n"
        "    def run(self): raise ValueError('in a thread')\n"
        "thread = {}(target={})\nthread.start(); thread.join()\n"
    )
    assert run_both(program, thread.format("Thread", None)).stdout == "mine\n"
    assert recorded(program) == ("ValueError", "in a thread")


def test_imports_of_others_are_not_disturbed_by_a_failing_thread(program: Program) -> None:
    folder = program.folder / "sub"
    folder.mkdir()
    for i in range(20):
        (folder / f"m{i}.py").write_text("")
    done = program.run(
        "import sys, threading\nsys.path.append('sub')\ndef work(): raise ValueError\n"
        "for i in range(20):\n    thread = threading.Thread(target=work); thread.start()\n"
        "    __import__(f'm{i}'); thread.join()\nprint('ok')\n"
    )
    assert done.stdout == "ok\n" and recorded(program)[0] == "ValueError"


def test_the_first_member_of_a_group_is_told(program: Program) -> None:
    program.run(
        "import asyncio\nasync def fail():\n    batch = 7\n    raise ValueError('inner')\n"
        "async def main():\n    async with asyncio.TaskGroup() as group:\n"
        "        group.create_task(fail())\nasyncio.run(main())\n"
    )
    group, member = program.exception["chain"]
    assert (group["type"], member["message"], member["relation"]) == (
        "ExceptionGroup",
        "inner",
        "cause",
    )
    assert member["frames"][-1]["locals"] == {"batch": "7"}


@pytest.mark.parametrize(
    "code",
    [
        "raise type('E' * 10**6, (Exception,), {'__module__': 'm' * 10**6})('\\u00e9' * 10**7)",
        "exec(compile('def f():\\n    1 / 0\\nf()', 'x' * 10**6, 'exec'))",
        "exec('def ' + 'f' * 10**6 + '(): 1 / 0\\n' + 'f' * 10**6 + '()')",
        "e = ValueError('m')\ne.__notes__ = ['note' * 100] * 10**6\nraise e",
        "def f(n, e):\n    if n: return f(n - 1, e)\n    raise ValueError('x' * 100000) from e\n"
        "e = None\nfor _ in range(20):\n    try: f(300, e)\n    except ValueError as x: e = x\nraise e",
    ],
)
def test_a_record_is_never_large(program: Program, code: str) -> None:
    program.run(code)
    assert program.exception["chain"]
    assert (program.record / "exception.json").stat().st_size < 200 * 1024


def test_a_source_that_is_no_file_is_not_opened(program: Program) -> None:
    """Reading a pipe would hang."""
    program.run(
        "import os, sys\nos.mkfifo('pipe')\nsys.stderr = None\n"
        "exec(compile('def f():\\n    1 / 0\\nf()', 'pipe', 'exec'))"
    )
    assert program.exception["chain"][0]["frames"][-1]["code"] is None


def test_nothing_is_left_beside_the_record(program: Program) -> None:
    program.run(
        "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "open('a', 'w').write('x' * 10**5)\n"
    )
    assert program.written == ["faulthandler.log"]
