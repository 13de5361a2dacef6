"""Whole programs through `check_static`: correct ones are never refused, messages mend what they tell of."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from agent_runner.records import Problem
from agent_runner.validation import check_static, linters

HERE = Path(__file__).parent
CORRECT = {
    name: text
    for file in ("correct_programs.txt", "more_correct_programs.txt")
    for name, text in re.findall(
        r"^#=== (\w+)\n(.*?)(?=^#===|\Z)",
        (HERE / file).read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
}
PARSER = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--out_dir')\n"
ARGS = "args = p.parse_args()\nprint(args.out_dir)\n"

needs_ruff = pytest.mark.skipif(
    bool(linters.unavailable("ruff")), reason=f"ruff: {linters.unavailable('ruff')}"
)
needs_ty = pytest.mark.skipif(
    bool(linters.unavailable("ty")), reason=f"ty: {linters.unavailable('ty')}"
)


def check(text: str, base: str | None = None) -> list[Problem]:
    return check_static(
        {"experiment.py": text}, base=None if base is None else {"experiment.py": base}
    )


def errors(text: str, base: str | None = None) -> list[Problem]:
    return [problem for problem in check(text, base) if problem.severity == "error"]


@pytest.mark.parametrize("name", CORRECT)
def test_a_program_that_runs_is_not_refused(name: str, tmp_path: Path) -> None:
    assert errors(CORRECT[name]) == []
    if "torch" in name and find_spec("torch") is None:
        pytest.skip("torch is not installed")
    (tmp_path / "experiment.py").write_text(CORRECT[name], encoding="utf-8")
    run = subprocess.run([sys.executable, "experiment.py"], cwd=tmp_path, capture_output=True)
    assert run.returncode == 0, run.stderr.decode()


FAULTY = {
    "read before it is set": (
        "class A:\n    def __init__(self):\n        self.w = self.d * 2\n        self.d = 1\nA()\n",
        3,
        "before line 4 sets it: this line will raise AttributeError. Move what sets it (line 4) above line 3.",
    ),
    "read before a branch sets it": (
        "class A:\n    def __init__(self, n):\n        self.w = [self.d for _ in range(n)]\n"
        "        if n:\n            self.d = 1\n        else:\n            self.d = 2\nA(1)\n",
        3,
        "Move what sets it (line 5)",
    ),
    "names made at run time begin otherwise": (
        "class A:\n    def __init__(self):\n        for i in (0, 1):\n            setattr(self, f'x_{i}', i)\n"
        "    def run(self):\n        return self.y_0 + self.x_0\nA().run()\n",
        6,
        "`self.y_0`",
    ),
    "looking into __dict__ sets nothing": (
        "class A:\n    def state(self):\n        return dict(self.__dict__.items())\n"
        "    def run(self):\n        return self.gone\nA().run()\n",
        5,
        "`self.gone`",
    ),
    "field of a dataclass": (
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 1\n"
        "    def run(self):\n        return self.y\nA().run()\n",
        6,
        "Add it to the fields of A (`y: ... = ...`)",
    ),
    "field of a NamedTuple": (
        "from typing import NamedTuple\nclass A(NamedTuple):\n    x: int = 1\n"
        "    def run(self):\n        return self.y\nA().run()\n",
        5,
        "Add it to the fields of A",
    ),
    "mixin": (
        "class M:\n    def run(self):\n        return self.rate\n"
        "class T(M):\n    def __init__(self):\n        self.lr = 1\nT().run()\n",
        3,
        "Set it in T.__init__",
    ),
    "class without its own __init__": (
        "class B:\n    def __init__(self):\n        self.lr = 1\n"
        "class T(B):\n    def run(self):\n        return self.steps\nT().run()\n",
        6,
        "Set it in T.__init__, after `super().__init__(...)` there",
    ),
    "called": (
        "class A:\n    def run(self):\n        return self.encode(1)\nA().run()\n",
        3,
        "define it as a method",
    ),
    "torch module without super": (
        "import torch.nn as nn\nclass A(nn.Module):\n    def __init__(self):\n        self.d = 1\n"
        "        self.lin = nn.Linear(1, 1)\nA()\n",
        5,
        "Make `super().__init__()` the first line of A.__init__.",
    ),
    "torch module with super too late": (
        "from torch import nn\nclass A(nn.Module):\n    def __init__(self):\n"
        "        self.lin = nn.Linear(1, 1)\n        super().__init__()\nA()\n",
        4,
        "Move line 5 above it.",
    ),
    "argument of a constructor": (
        f"{PARSER}class T:\n    def __init__(self, args):\n        self.lr = args.lr\n{ARGS}T(args)\n",
        6,
        "`args.lr`",
    ),
    "arguments kept on self": (
        f"{PARSER}class T:\n    def __init__(self, m, args):\n        self.args = args\n"
        f"    def run(self):\n        return self.args.lr\n{ARGS}T(1, args=args).run()\n",
        8,
        "`self.args.lr`",
    ),
    "arguments that are None first": (
        f"{PARSER}args = None\ndef run():\n    return args.lr\n{ARGS}run()\n",
        6,
        "`args.lr`",
    ),
    "opposite flag": (
        f"{PARSER}p.add_argument('--no_bias', action='store_true')\n{ARGS}print(args.bias)\n",
        7,
        "Read `not args.no_bias` (line 4)",
    ),
    "short option": (
        f"{PARSER}p.add_argument('-n', '--num-steps', type=int)\n{ARGS}print(args.n)\n",
        7,
        "`-n` is kept as `args.num_steps` (line 4): read that.",
    ),
}


@pytest.mark.parametrize(("text", "line", "words"), FAULTY.values(), ids=FAULTY)
def test_a_fault_is_refused_with_its_line_and_its_remedy(text: str, line: int, words: str) -> None:
    (problem,) = errors(text)
    assert problem.line == line
    assert words in problem.message


@pytest.mark.parametrize("made", ["type(self)(made)", "self.__class__(made)"])
def test_a_class_that_creates_itself_may_be_given_other_arguments(made: str) -> None:
    text = (
        f"{PARSER}class T:\n    def __init__(self, args):\n        self.args = args\n"
        "    def copy(self):\n        made = argparse.Namespace(lr=1)\n"
        f"        return {made}\n    def run(self):\n        return self.args.lr\n"
        f"{ARGS}print(T(args).copy().run())\n"
    )
    assert errors(text) == []


def test_a_property_is_not_told_to_read_itself() -> None:
    text = "class A:\n    @property\n    def split(self):\n        return self._split\nprint(A().split)\n"
    (problem,) = errors(text)
    assert problem.line == 4
    assert "Set it in A.__init__" in problem.message


NAMES = {
    "comprehension in a class body": (
        "class A:\n    ks = [1]\n    ws = [2]\n    grid = [(k, w) for k in ks for w in ws]\n",
        "error",
        "a comprehension there cannot see it",
    ),
    "lambda in a class body": (
        "class A:\n    base = 2\n    vals = list(map(lambda x: x * base, [1]))\n",
        "error",
        "a lambda there cannot see it",
    ),
    "in the first round of a loop": (
        "best = 9\ndef f():\n    for i in range(3):\n        if i < best:\n            best = i\nf()\n",
        "error",
        "write `global best` at the start of the function",
    ),
    "counter of the function around": (
        "def f():\n    n = 0\n    def g():\n        n += 1\n    g()\nf()\n",
        "error",
        "Where that of f is meant, write `nonlocal n`",
    ),
    "after its except": (
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    pass\nprint(e)\n",
        "error",
        "Keep it under another name within that `except`",
    ),
    "after del": (
        "for i in range(2):\n    big = i\n    del big\nprint(big)\n",
        "warning",
        "Line 3 deletes it",
    ),
}


@needs_ruff
@pytest.mark.parametrize(("text", "severity", "words"), NAMES.values(), ids=NAMES)
def test_what_is_said_of_a_name_mends_it(text: str, severity: str, words: str) -> None:
    (problem,) = check(text)
    assert problem.severity == severity
    assert words in problem.message


@needs_ruff
def test_an_exception_that_a_function_within_its_except_reads_is_not_spoken_of() -> None:
    text = (
        "def f():\n    try:\n        1 / 0\n    except ZeroDivisionError as e:\n"
        "        def show():\n            return str(e)\n        return show()\nprint(f())\n"
    )
    assert check(text) == []


@needs_ruff
def test_a_builtin_that_only_sounds_alike_is_not_proposed() -> None:
    (problem,) = check("writer.close()\n")
    assert "Did you mean" not in problem.message


@needs_ruff
def test_a_name_that_a_nested_function_makes_global_is_not_spoken_of() -> None:
    text = (
        "def f():\n    def g():\n        global made\n        made = 1\n    g()\nf()\nprint(made)\n"
    )
    assert check(text) == []


# ---------------------------------------------------------------- the template's own faults

ATTRIBUTE = (
    "class A:\n    def __init__(self):\n        self.k = 1\n    def f(self):\n        return self.w_enc\n"
    "a = A()\nif 0:\n    a.f()\n"
)
ARGUMENT = f"{PARSER}args = p.parse_args()\nif 0:\n    print(args.gama)\n"


@pytest.mark.parametrize(
    ("base", "old", "new"),
    [
        (ATTRIBUTE, "self.k = 1", "self.k = self.W_enc = 1"),  # another name to propose
        (ATTRIBUTE, "return self.w_enc", "return self.w_enc + self.w_enc.T"),
        (ATTRIBUTE, "        return", "        print(self.w_enc)\n        return"),  # one read more
        (ARGUMENT, "p.add_argument('--out_dir')", "p.add_argument('--gamma')"),
        (ARGUMENT, "    print(", "    print(args.gama)\n    print("),
        (FAULTY["torch module without super"][0], "self.d = 1", "self.e = 2"),
    ],
)
def test_a_fault_of_the_template_is_not_held_against_an_edit(base: str, old: str, new: str) -> None:
    assert errors(base, "") != []
    assert errors(base.replace(old, new, 1), base) == []


def test_a_fault_that_was_in_doubt_in_the_template_and_is_certain_now_is_the_edits() -> None:
    base = "class A:\n    def f(self):\n        return self.gone\nhanded = [A]\n"
    assert [p.severity for p in check(base)] == ["warning"]
    assert [p.line for p in errors(base + "A().f()\n", base)] == [3]


# ---------------------------------------------------------------- hostile texts


@pytest.mark.parametrize(
    "text",
    [
        "class A:\n    def __init__(self):\n"
        + "".join(f"        self.a{i} = self.b{i}\n" for i in range(2000))
        + "A()\n",
        PARSER + ARGS + "".join(f"print(args.b{i})\n" for i in range(2000)),
    ],
)
def test_a_flood_of_faults_is_cut(text: str) -> None:
    assert len(check(text)) == 20


def test_a_byte_order_mark_is_skipped_as_python_does() -> None:
    text = FAULTY["called"][0]
    assert errors("\ufeff" + text) == errors(text)
    assert errors("\ufeff" + text, "\ufeff" + text) == []


def test_a_coding_line_that_python_does_not_know_is_a_syntax_error() -> None:
    (problem,) = check("# -*- coding: nonsense -*-\nx = 1\n")
    assert (problem.kind, problem.line) == ("syntax_error", None)


def test_a_long_line_is_shown_in_part() -> None:
    (problem,) = check("x = 0" + "9" * 5000 + "\n")
    assert len(problem.message) < 500


# ---------------------------------------------------------------- advice

QUIET = {
    "set on self": "class A:\n    def f(self):\n        self.__dict__.update(x=1)\n        return self.x\n",
    "open class": "class A:\n    def __init__(self, **k):\n        vars(self).update(k)\nprint(A(x=1).x)\n",
    "function attribute": "def f():\n    f.calls += 1\nf.calls = 0\nf()\n",
    "class attribute": "class A: ...\nA.rate = 1\nprint(A.rate)\n",
    "set by its name": "class A: ...\nfor n in ['rate']:\n    setattr(A, n, 1)\nprint(A.rate)\n",
    "under the same condition": "import os\nq = os.cpu_count()\nif q:\n    m = 1\nif q:\n    print(m)\n",
    "in a loop": "for i in range(3):\n    last = i\nprint(last)\n",
    "global": "def f():\n    def g():\n        global made\n        made = 1\n    g()\nf()\nprint(made)\n",
}


@needs_ty
@pytest.mark.parametrize("text", QUIET.values(), ids=QUIET)
def test_a_correct_program_is_run_without_a_word(text: str, tmp_path: Path) -> None:
    found = check_static(
        {"experiment.py": text}, worktree=tmp_path, interpreter=Path(sys.executable)
    )
    assert found == []
