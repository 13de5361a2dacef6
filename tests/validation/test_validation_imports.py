"""Packages that the experiment's Python does not have: found where an import certainly fails, nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_runner.records import Problem
from agent_runner.validation import check_static
from agent_runner.validation.imports import missing_packages

PYTHON = Path(sys.executable)
Find = Callable[..., list[Problem]]


@pytest.fixture
def find(tmp_path: Path) -> Find:
    """The problems of a text, in a worktree with the given modules."""

    def missing(text: str, before: str | None = None, **modules: str) -> list[Problem]:
        files = {f"{name}.py": content for name, content in modules.items()}
        for name, content in files.items():
            (tmp_path / name).write_text(content)
        return missing_packages(
            "experiment.py",
            text,
            before=before,
            modules=files,
            worktree=tmp_path,
            interpreter=PYTHON,
        )

    return missing


@pytest.mark.parametrize(
    ("text", "package", "line"),
    [
        ("import numpie\n", "numpie", 1),
        ("import os\nimport nowhere.at.all as n\n", "nowhere", 2),
        ("from nowhere.deep import thing\n", "nowhere", 1),
        ("import os, nowhere\n", "nowhere", 1),
        ("x = 1\nif __name__ == '__main__':\n    import nowhere\n", "nowhere", 3),
        ("import nowhere\nimport nowhere.again\n", "nowhere", 1),
    ],
)
def test_a_package_that_is_not_there(find: Find, text: str, package: str, line: int) -> None:
    (problem,) = find(text)
    assert (problem.kind, problem.severity, problem.line) == ("dependency_missing", "error", line)
    assert f"experiment.py:{line}: `{package}` is not installed" in problem.message


def test_a_slip_is_answered_with_the_name(find: Find) -> None:
    (problem,) = find("import nunpy as np\n")
    assert "Did you mean `numpy`?" in problem.message


@pytest.mark.parametrize(
    "text",
    [
        "import json, ruff\nimport os.path\nfrom collections import abc\n",
        "try:\n    import nowhere\nexcept ImportError:\n    nowhere = None\n",
        "if False:\n    import nowhere\n",
        "def f():\n    import nowhere\n",
        "class C:\n    import json\n",
        "from . import nowhere\n",
        "import helper\nfrom package import part\n",
        "import sys\nsys.path.insert(0, 'vendored')\nimport nowhere\n",
        "import sys\nsys.modules['nowhere'] = sys\nimport nowhere\n",
        "import subprocess\nsubprocess.run(['pip', 'install', 'nowhere'])\nimport nowhere\n",
        "import nowhere\nthis is (not python\n",
        "",
        "import sys, builtins\n",
    ],
)
def test_what_may_work_is_left_alone(find: Find, tmp_path: Path, text: str) -> None:
    (tmp_path / "package").mkdir()
    assert find(text, helper="x = 1\n") == []


def test_what_the_template_imports_is_there(find: Find) -> None:
    assert find("import nowhere\n", before="import nowhere\n") == []


def test_a_helper_that_changes_where_modules_are_found(find: Find) -> None:
    assert find("import paths\nimport nowhere\n", paths="import sys\nsys.path.append('x')\n") == []


def test_nothing_of_the_worktree_is_run(find: Find, tmp_path: Path) -> None:
    for name in ("loud", "importlib", "encodings", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    assert [p.line for p in find("import loud\nimport nowhere\n")] == [2]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("interpreter", ["/nowhere/python", "/bin/false"])
def test_an_interpreter_that_does_not_answer(tmp_path: Path, interpreter: str) -> None:
    found = missing_packages(
        "experiment.py",
        "import nowhere\n",
        before=None,
        modules={},
        worktree=tmp_path,
        interpreter=Path(interpreter),
    )
    assert found == []


def test_it_is_part_of_the_static_check(tmp_path: Path) -> None:
    files = {"experiment.py": "import nowhere\n\nnowhere.run()\n"}
    (problem,) = check_static(files, worktree=tmp_path, interpreter=PYTHON)
    assert problem.kind == "dependency_missing"
    assert check_static(files) == []  # nobody to ask
