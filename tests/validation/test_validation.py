from __future__ import annotations

import pytest

from agent_runner.validation import check_contract, check_static

OLD = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--out_dir", type=str, default="run_0")
parser.add_argument("--steps", type=int, default=3)
"""


def kinds(new: str, old: str = OLD) -> list[str]:
    return [problem.kind for problem in check_contract("experiment.py", old, new)]


@pytest.mark.parametrize(
    "new",
    [
        OLD,
        OLD + 'parser.add_argument("--gamma", type=float, default=0.1)\n',
        OLD + 'parser.add_argument("--quick", action="store_true")\n',
        OLD + 'parser.add_argument("extra", nargs="?")\n',
        OLD.replace("--out_dir", "--out-dir"),
        "import click\n@click.option('--out_dir')\ndef main(out_dir): ...\n",
        "this does not parse (",
    ],
)
def test_correct_programs_are_not_refused(new: str) -> None:
    assert kinds(new) == []


@pytest.mark.parametrize(
    "new",
    [
        OLD + 'parser.add_argument("--gamma", required=True)\n',
        OLD + 'parser.add_argument("gamma")\n',
        OLD.replace("--out_dir", "--output"),
    ],
)
def test_a_broken_command_is_refused(new: str) -> None:
    assert kinds(new) == ["contract"]


def test_an_argument_that_was_required_before_is_not_this_edits_fault() -> None:
    old = OLD + 'parser.add_argument("data")\n'
    assert kinds(old, old) == []


def test_a_file_that_does_not_compile_is_named_with_its_line() -> None:
    (problem,) = check_static({"experiment.py": "x = 1\nreturn x\n", "notes.txt": "return ("})
    assert (problem.kind, problem.path, problem.line) == ("syntax_error", "experiment.py", 2)
    assert "'return' outside function" in problem.message


@pytest.mark.parametrize(
    "text", ["x = '\0'\n", "x = " + "(" * 500 + ")" * 500, "-" * 200_000 + "1"]
)
def test_hostile_text_is_a_problem_and_not_a_crash(text: str) -> None:
    assert [problem.kind for problem in check_static({"experiment.py": text})] == ["syntax_error"]
