"""Undefined names: certain ones are errors, correct programs are never refused, help is told."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from name_programs import CORRECT, FAULTY

from agent_runner.records import Problem
from agent_runner.validation import linters
from agent_runner.validation.names import doubtful_code, undefined_names

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = (ROOT / "templates" / "experiment.py").read_text(encoding="utf-8")

pytestmark = pytest.mark.skipif(
    bool(linters.unavailable("ruff")), reason=f"ruff: {linters.unavailable('ruff')}"
)


def check(text: str, **options: object) -> list[Problem]:
    return undefined_names("experiment.py", text, **options)  # type: ignore[arg-type]


def errors(text: str, **options: object) -> list[tuple[int | None, str]]:
    """(line, name) of each error."""
    found = [p for p in check(text, **options) if p.severity == "error"]
    return [(p.line, p.message.split("`")[1]) for p in found]


def message(text: str, **options: object) -> str:
    (problem,) = check(text, **options)
    return problem.message


@pytest.mark.parametrize(("text", "line"), FAULTY.values(), ids=FAULTY)
def test_a_name_that_certainly_ends_the_run_is_an_error(text: str, line: int | None) -> None:
    found = [p for p in check(text) if p.severity == "error"]
    if line is None:  # where the parser places what stands in an f-string differs between versions
        assert found or not check(text)
        return
    assert [p.line for p in found] == [line]
    (problem,) = found
    assert (problem.kind, problem.path) == ("name_error", "experiment.py")
    assert problem.message.startswith(f"experiment.py:{line}: `")


@pytest.mark.parametrize("text", CORRECT.values(), ids=CORRECT)
def test_a_correct_program_is_never_refused(text: str) -> None:
    assert errors(text) == []


def test_the_template_is_told_nothing() -> None:
    assert check(TEMPLATE) == []


@pytest.mark.parametrize("raises", [True, False])
def test_the_programs_of_both_tables_are_what_they_are_said_to_be(
    raises: bool, tmp_path: Path
) -> None:
    """Python itself is the judge: each is run."""
    texts = {name: text for name, (text, _) in FAULTY.items()} if raises else CORRECT
    for name in ("a", "x"):
        (tmp_path / name).touch()
    for name, text in texts.items():
        (tmp_path / "experiment.py").write_bytes(text.encode())
        ended = subprocess.run(
            [sys.executable, "experiment.py"], cwd=tmp_path, capture_output=True, timeout=60
        )
        said = b"NameError" in ended.stderr or b"UnboundLocalError" in ended.stderr
        assert said is raises, (name, ended.stderr)


SILENT = ("except NameError alone", "TYPE_CHECKING", "future annotations", "version of Python")


@pytest.mark.parametrize("case", SILENT)
def test_the_usual_ways_to_ask_for_a_name_are_not_even_mentioned(case: str) -> None:
    assert check(CORRECT[case]) == []


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("function that nothing calls", "nothing in the file leads to f"),
        ("dead code after return", "line 2 leaves before it is reached"),
        ("except Exception", "the `except` in line 3 hides the NameError"),
        ("exec", "exec is used"),
        ("constant that is off", "its condition is never true"),
        ("error path", "only runs where it raises an exception anyway"),
    ],
)
def test_a_doubtful_name_is_a_warning_with_the_reason(case: str, words: str) -> None:
    (problem,) = check(CORRECT[case])
    assert problem.severity == "warning"
    assert words in problem.message


# ------------------------------------------------------------ what to change


MODULE = """
import torch.nn as nn
class SAE(nn.Module):
    size = 8
    def __init__(self, alpha):
        super().__init__()
        theta = 0.5
        self.gain = theta * alpha
    def encode(self, x):
        return {}
    def decode(self, x):
        return x
def train(batches):
    momentum = 0.9
    return momentum
SAE(1).encode(train([]))
"""


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("gain * x", "`self.gain` is set in SAE.__init__ (line 8): read `self.gain` here."),
        ("theta * x", "`theta` is a local variable of SAE.__init__ (line 7) and known only there"),
        ("theta * x", "set `self.theta = theta` there and read `self.theta` here."),
        ("alpha * x", "`alpha` is a parameter of SAE.__init__ (line 5)"),
        ("decode(x)", "`decode` is a method of SAE (line 11): write `self.decode`."),
        ("size * x", "`size` is an attribute of SAE (line 4): write `self.size`."),
        ("momentum * x", "`momentum` is a local variable of train (line 14) and known only there"),
        ("np.mean(x)", "Add `import numpy as np` at the top of the file."),
        ("F.relu(x)", "Add `import torch.nn.functional as F` at the top of the file."),
        ("torch.relu(x)", "Add `import torch` at the top of the file."),
        ("deepcopy(x)", "Add `from copy import deepcopy` at the top of the file."),
        ("train_([x])", "Did you mean `train`?"),
        ("prnt(x)", "Did you mean `print`?"),
        (
            "helper(x)",
            "`helper` is defined in tools/extra.py: add `from tools.extra import helper`",
        ),
    ],
)
def test_the_message_says_what_to_change(expression: str, words: str) -> None:
    others = {"tools/extra.py": "def helper(x):\n    return x\n", "notes.txt": "helper"}
    text = message(MODULE.format(expression), others=others)
    assert text.startswith("experiment.py:10: `")
    assert f"in SAE.encode: `return {expression}` raises NameError." in text
    assert words in text


def test_a_name_that_comes_too_early_is_told_where_it_is() -> None:
    assert "in line 3, after this line" in message("def f(x=SIZE):\n    return x\nSIZE = 3\n")
    assert '`"A"`' in message("class A:\n    def f(self) -> A:\n        return self\n")
    assert "local variable all through it" in message(FAULTY["assigned from itself"][0])
    assert "UnboundLocalError" in message(FAULTY["augmented, unbound"][0])


def test_one_problem_for_each_name_and_function() -> None:
    text = "def f():\n    a = xx\n    return xx + a\ndef g():\n    return xx + yy\nf()\ng()\nxx\n"
    assert errors(text) == [(2, "xx"), (5, "xx"), (5, "yy"), (8, "xx")]
    assert "The same in line 3." in check(text)[0].message


def test_a_certain_use_speaks_for_the_doubtful_ones() -> None:
    text = "def f(x):\n    if x < 0:\n        raise ValueError(undefined)\n    return undefined\nf(1)\n"
    assert errors(text) == [(4, "undefined")]
    assert "The same in line 3." in message(text)


def test_what_the_template_uses_too_is_not_this_edits_fault() -> None:
    old = "print(injected)\n"
    assert check(old + "print(injected, 1)\n", before=old) == []
    assert errors(old + "print(other)\n", before=old) == [(2, "other")]


def test_other_files_may_call_a_function_or_bring_names_in() -> None:
    text = "def f():\n    return undefined\n"
    assert errors(text) == []
    assert errors(text, others={"main.py": "import experiment\nexperiment.f()\n"}) == [
        (2, "undefined")
    ]
    runs_it = "import experiment\nexperiment.f()\nexec(open('experiment.py').read())\n"
    assert errors(text, others={"main.py": runs_it}) == []


def test_annotations_are_not_evaluated_from_python_3_14_on() -> None:
    text = "def f(x: Optional[int]):\n    return x\nf(1)\n"
    assert errors(text, version=(3, 13)) == [(1, "Optional")]
    assert errors(text, version=(3, 14)) == []
    assert errors("print(undefined)\n", version=(3, 99)) == [(1, "undefined")]


@pytest.mark.parametrize("statement", ["import torch\n", "import os\n", "import numpy as np\n"])
def test_the_template_without_one_of_its_imports_is_refused(statement: str) -> None:
    assert TEMPLATE.count(statement) == 1
    name = statement.split()[-1]
    assert name in {found for _, found in errors(TEMPLATE.replace(statement, ""), before=TEMPLATE)}


# ------------------------------------------------------------ other doubtful code


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "class A:\n    def encode(self, x):\n        return x\n"
            "    def encode(self, x):\n        return 2 * x\n",
            "A.encode was already defined in line 2, and only this later definition counts",
        ),
        ("def f():\n    return 1\ndef f():\n    return 2\n", "f was already defined in line 1"),
        ("print('%s %s' % (1,))\n", "2 placeholder(s)"),
        ("print('{} {}'.format(1))\n", "missing argument"),
        ("x = {'loss': 1, 'loss': 2}\n", "repeated"),
        ("x = 1\nassert (x, 'message')\n", "always `True`"),
        ("x = 1\nprint(x is 'a')\n", "compare"),
        ("def f(x):\n    penalty = x * 2\n    return x\n", "`penalty` is computed here"),
    ],
)
def test_code_that_cannot_mean_what_it_says_is_a_warning(text: str, words: str) -> None:
    (problem,) = doubtful_code("experiment.py", text)
    assert (problem.kind, problem.severity) == ("doubtful_code", "warning")
    assert problem.message.startswith(f"experiment.py:{problem.line}: ")
    assert words in problem.message
    assert doubtful_code("experiment.py", text, before=text) == []


@pytest.mark.parametrize(
    "text",
    [
        TEMPLATE,
        "import os\nimport sys, json\n",  # unused
        "import os\nimport os\nprint(os)\n",
        "def f(cfg):\n    d_model = cfg.d_model\n    return cfg\n",
        "def f():\n    try:\n        pass\n    except ValueError as e:\n        pass\n",
        "def f():\n    _unused = g() + 1\n",
        "from typing import overload\n@overload\ndef f(x: int): ...\n@overload\ndef f(x: str): ...\n"
        "def f(x): return x\n",
        "class A:\n    @property\n    def x(self): ...\n    @x.setter\n    def x(self, v): ...\n",
        "try:\n    import json\nexcept ImportError:\n    json = None\n",
        "print(f'nothing')\n",
    ],
)
def test_style_is_never_mentioned(text: str) -> None:
    assert doubtful_code("experiment.py", text) == []


# ------------------------------------------------------------ hostile input


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0",
        "x = '\0'\nprint(y)\n",
        "\ud800 = 1\nprint(y)\n",
        "# \udcff\nprint(undefined)\n",
        "this does not parse (\n",
        "\ufeff\ufeffx\n",
        "x = " + "(" * 500 + "y" + ")" * 500,
        "x = " + "-" * 100_000 + "y",
        "x = " + " + ".join(["undefined"] * 5000),
        "if a:\n    pass\n" + "elif a:\n    raise b\n" * 600,
        "x = " + "lambda: " * 80 + "undefined\n",
        "undefined\n" * 5000,
        "\n".join(f"def f{i}(): f{i + 1}()" for i in range(2000)) + "\nf0()\n",
        "\n".join(f"name_{i}" for i in range(3000)),
        "x" * 2_000_000,
    ],
    ids=range(16),
)
def test_hostile_texts_raise_nothing(text: str) -> None:
    for problem in [*check(text), *doubtful_code("experiment.py", text)]:
        assert problem.path == "experiment.py"
        assert len(problem.message) < 2000


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
def test_a_binding_taken_from_the_template_is_found(seed: int) -> None:
    """Rename one module-level constant where it is bound: every use of it is without a value then."""
    names = ["SEED", "EXPANSION", "SAE_BATCH_SIZE", "LEARNING_RATE", "LOG_STEPS", "WARMUP_FRACTION"]
    name = random.Random(seed).choice(names)
    text = TEMPLATE.replace(f"\n{name} = ", f"\nOTHER_{seed} = ", 1)
    assert text != TEMPLATE
    found = [p for p in check(text, before=TEMPLATE) if p.severity == "error"]
    assert found and all(p.message.split("`")[1] == name for p in found)


@given(st.text(max_size=200))
@settings(max_examples=30, deadline=None)
def test_any_text_is_read_without_an_exception(text: str) -> None:
    assert isinstance(check(text), list)
