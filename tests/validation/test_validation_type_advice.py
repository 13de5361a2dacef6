"""ty's advice: only faults, only what the edit has brought in, and nothing in the worktree can silence it."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from agent_runner.edits import apply_reply
from agent_runner.records import Problem
from agent_runner.validation import linters
from agent_runner.validation.type_advice import type_advice

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = (ROOT / "templates" / "experiment.py").read_text(encoding="utf-8")
VARIANTS = sorted(path.parent for path in (ROOT / "variants").glob("*/idea.toml"))

needs_ty = pytest.mark.skipif(
    bool(linters.unavailable("ty")), reason=f"ty: {linters.unavailable('ty')}"
)
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")


def advise(root: Path, text: str, before: str | None = None) -> list[Problem]:
    return type_advice(root, "experiment.py", text, before, Path(sys.executable))


FAULTY = {
    "missing module": ("import nothing_such\n", 1, "`nothing_such`"),
    "missing member": ("from json import dumpp\n", 1, "`dumpp`"),
    "missing attribute": ("import json\njson.dumpp({})\n", 2, "`dumpp`"),
    "missing attribute of an object": (
        "class A:\n    def f(self):\n        return self.gone\n",
        3,
        "`gone`",
    ),
    "missing argument": ("def f(a, b): ...\nf(1)\n", 2, "`b`"),
    "unknown argument": ("def f(a): ...\nf(1, c=2)\n", 2, "`c`"),
    "too many arguments": ("def f(a): ...\nf(1, 2)\n", 2, "expected 1, got 2"),
    "text for a number": ("def f(a: int): ...\nf('1')\n", 2, "Expected `int`"),
    "bound on one path only": (
        "def f(x):\n    if x:\n        y = 1\n    return y\n",
        4,
        "Give it a value on every path",
    ),
    "ignored with ty: ignore": ("import nothing_such  # ty: ignore\n", 1, "`nothing_such`"),
    "ignored with type: ignore": ("import nothing_such  # type: ignore\n", 1, "`nothing_such`"),
    "ignored for the file": ("# type: ignore\nimport nothing_such\n", 2, "`nothing_such`"),
    "of the harness": ("from harness import gone\n", 1, "`gone`"),
}


@needs_ty
@pytest.mark.parametrize(("text", "line", "words"), FAULTY.values(), ids=FAULTY)
def test_a_fault_is_told_with_its_line(text: str, line: int, words: str, tmp_path: Path) -> None:
    (tmp_path / "harness.py").write_text("here = 1\n")
    (problem,) = advise(tmp_path, text)
    assert (problem.kind, problem.severity) == ("type_advice", "warning")
    assert (problem.path, problem.line) == ("experiment.py", line)
    assert problem.message.startswith(f"experiment.py:{line}: ")
    assert words in problem.message


QUIET = {
    "optional import": "try:\n    import nothing_such\nexcept ImportError:\n    nothing_such = None\n",
    "optional import in a function": (
        "def f():\n    try:\n        # faster\n        from nothing_such import x\n"
        "    except Exception:\n        return 1\n    return x\n"
    ),
    "import for a type checker": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import nothing_such\n"
    ),
    "relative import": "from . import neighbour\nfrom .other import x\n",
    "attribute of anything": "def f(x: object):\n    return x.size\n",
    "None at first": (
        "class A:\n    def __init__(self):\n        self.mean = None\n"
        "    def f(self):\n        self.mean[0] = 1\n        return self.mean.size\n"
    ),
    "narrow annotation": "def f(x: int = None): ...\nf(None)\nf(1.5)\n",
    "module of the worktree": "import harness\nfrom harness import here\n",
    "attributes by name": (
        "class A:\n    def __init__(self, **given):\n        for k, v in given.items():\n"
        "            setattr(self, k, v)\n    def __getattr__(self, name):\n        return 1\nA().x\n"
    ),
}


@needs_ty
@pytest.mark.parametrize("text", QUIET.values(), ids=QUIET)
def test_what_a_type_checker_cannot_know_is_not_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "harness.py").write_text("here = 1\n")
    assert advise(tmp_path, text) == []


@needs_ty
@needs_torch
@pytest.mark.parametrize(
    "text",
    [
        "class M(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.register_buffer('mean', torch.zeros(1))\n"
        "    def forward(self, x):\n        self.mean.copy_(x.mean(0))\n        return x - self.mean\n",
        "torch.nn.functional.scaled_dot_product_attention; torch.distributed.fsdp; torch.linalg.norm\n",
    ],
)
def test_torch_is_no_source_of_noise(text: str, tmp_path: Path) -> None:
    assert advise(tmp_path, f"import torch\nimport torch.nn as nn\n{text}") == []


@needs_ty
@needs_torch
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda folder: folder.name)
def test_the_edits_of_the_variants_are_told_nothing(variant: Path) -> None:
    """Each against the file as the ones before it leave it."""
    text = TEMPLATE
    for number in range(1, 1 + len(list((variant / "proposals").glob("*.md")))):
        reply = (variant / "proposals" / f"{number}.md").read_text(encoding="utf-8")
        outcome = apply_reply(reply, {"experiment.py": text})
        assert outcome.applied, outcome.message
        text = outcome.files["experiment.py"]
        assert advise(ROOT / "templates", text, TEMPLATE) == []


@needs_ty
@needs_torch
def test_a_wrong_name_in_the_template_is_told_and_the_template_itself_is_not() -> None:
    wrong = TEMPLATE.replace("torch.relu(pre_acts)", "torch.reluu(pre_acts)")
    (problem,) = advise(ROOT / "templates", wrong, TEMPLATE)
    assert "`reluu`" in problem.message
    assert advise(ROOT / "templates", TEMPLATE, TEMPLATE) == []


@needs_ty
def test_what_stood_there_before_is_not_told_wherever_it_has_moved(tmp_path: Path) -> None:
    before = "import nothing_such\n"
    assert advise(tmp_path, "x = 1\n\n" + before, before) == []
    (problem,) = advise(tmp_path, before + "import nor_this\n", before)
    assert problem.line == 2


@needs_ty
def test_at_most_five_are_told_and_each_once(tmp_path: Path) -> None:
    many = "".join(f"import nothing_{number}\n" for number in range(20))
    assert [p.line for p in advise(tmp_path, many)] == [1, 2, 3, 4, 5]
    assert len(advise(tmp_path, "import nothing_such\n" * 9)) == 1


@needs_ty
def test_nothing_in_the_worktree_can_silence_it_and_nothing_is_written_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = "[rules]\nall = 'ignore'\n[src]\nexclude = ['**']\n"
    (tmp_path / "ty.toml").write_text(silent)
    (tmp_path / "pyproject.toml").write_text("[tool.ty.rules]\nall = 'ignore'\n")
    (tmp_path / ".gitignore").write_text("*\n")
    (tmp_path / ".config" / "ty").mkdir(parents=True)
    (tmp_path / ".config" / "ty" / "ty.toml").write_text(silent)
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('was executed')\n")
    names = sorted(os.listdir(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.setenv("TY_CONFIG_FILE", str(tmp_path / "ty.toml"))
    assert [p.line for p in advise(tmp_path, "import nothing_such\n")] == [1]
    assert sorted(os.listdir(tmp_path)) == names


def test_without_ty_there_is_no_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linters.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert advise(tmp_path, "import nothing_such\n") == []
