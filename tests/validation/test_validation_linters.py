"""ruff and ty are asked so that nothing but the text decides, and a linter that fails raises nothing."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from agent_runner.validation import linters
from agent_runner.validation.names import doubtful_code, undefined_names

RULES = ("F821",)
VERSION = (3, 11)
PYTHON = sys.executable
needs_ruff = pytest.mark.skipif(
    bool(linters.unavailable("ruff")), reason=f"ruff: {linters.unavailable('ruff')}"
)
needs_ty = pytest.mark.skipif(
    bool(linters.unavailable("ty")), reason=f"ty: {linters.unavailable('ty')}"
)


def program(folder: Path, name: str, script: str) -> Path:
    """An executable in place of a linter."""
    path = folder / name
    path.write_text(f"#!{PYTHON}\n{script}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def no_linters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An interpreter's folder and a PATH with nothing in them; what is put there is found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(linters.sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", str(folder))
    return folder


@needs_ruff
def test_ruff_gives_rule_line_and_column_in_characters() -> None:
    answer = linters.ruff("s = 'é𝔘' + undefined\n", RULES, VERSION)
    assert answer == linters.Linted((linters.Finding("F821", 1, 12, "Undefined name `undefined`"),))


@needs_ruff
@pytest.mark.parametrize("version", [(2, 7), (3, 7), (3, 11), (3, 15), (3, 40), (4, 0)])
def test_any_version_of_python_has_an_answer(version: tuple[int, int]) -> None:
    answer = linters.ruff("print(undefined)\n", RULES, version)
    assert not answer.unavailable
    assert [finding.line for finding in answer.findings] == [1]


@needs_ruff
def test_names_of_a_newer_python_are_known_to_it() -> None:
    assert linters.ruff("print(ExceptionGroup)\n", RULES, (3, 11)).findings == ()
    assert linters.ruff("print(ExceptionGroup)\n", RULES, (3, 10)).findings != ()


@needs_ruff
def test_configuration_of_a_folder_or_user_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (tmp_path, tmp_path / "ruff", tmp_path / ".config" / "ruff"):
        place.mkdir(parents=True, exist_ok=True)
        (place / "ruff.toml").write_text("[lint]\nignore = ['ALL']\nbuiltins = ['undefined']\n")
        (place / "pyproject.toml").write_text("[tool.ruff.lint]\nbuiltins = ['undefined']\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("RUFF_OUTPUT_FORMAT", "json")
    monkeypatch.setenv("RUFF_NO_CACHE", "nonsense")
    assert [f.line for f in linters.ruff("undefined\n", RULES, VERSION).findings] == [1]
    assert not (tmp_path / ".ruff_cache").exists()


@needs_ruff
@pytest.mark.parametrize(
    "text", ["\0", "\ud800", "\ufeffx", "\r\n\r\n", "a\x0cb", "(" * 9999, "# \udcff\n"]
)
def test_ruff_answers_to_any_text(text: str) -> None:
    assert linters.ruff(text, RULES, VERSION).unavailable == ""


def test_a_text_of_no_sensible_length_is_not_linted() -> None:
    answer = linters.ruff("x\n" * 1_000_000, RULES, VERSION)
    assert answer.findings == ()
    assert "characters" in answer.unavailable


# ------------------------------------------------------------ a linter that is missing or broken


@pytest.mark.usefixtures("no_linters")
def test_a_missing_linter_is_named_and_refuses_nothing() -> None:
    assert linters.unavailable("ruff") == "ruff is not installed"
    assert linters.unavailable("ty") == "ty is not installed"
    text = "print(missing_linter)\n"
    assert undefined_names("experiment.py", text) == []
    assert doubtful_code("experiment.py", text) == []


BROKEN = {
    "fails": ("import sys; sys.exit('out of order')", "exit status 1: out of order"),
    "fails with findings": (
        "import sys; print('edited.py:1:1: F821 Undefined name `x`'); sys.exit(2)",
        "exit status 2",
    ),
    "dies": ("import os; os.kill(os.getpid(), 9)", "exit status -9"),
    "does not read": ("import os; os.close(0)", ""),
    "prints nonsense": ("import sys; sys.stdout.buffer.write(bytes(range(256)) * 99)", ""),
}


@pytest.mark.parametrize(("script", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_linter_finds_nothing_and_says_why(
    no_linters: Path, script: str, words: str
) -> None:
    program(no_linters, "ruff", script)
    answer = linters.ruff("print(broken_linter)\n" * 10_000, RULES, VERSION)
    assert answer.findings == ()
    assert words in answer.unavailable
    assert bool(words) == bool(answer.unavailable)
    assert undefined_names("experiment.py", f"print('{script[:9]}', broken_linter)\n") == []


def test_a_slow_linter_is_given_up(no_linters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(no_linters, "ruff", "import signal; signal.pause()")
    monkeypatch.setattr(linters, "RUFF_TIMEOUT_S", 0.3)
    assert "no answer within 0.3 s" in linters.ruff("x\n", RULES, VERSION).unavailable


def test_a_file_that_is_no_program_is_given_up(no_linters: Path) -> None:
    program(no_linters, "ruff", "").write_bytes(b"\x7fELF nonsense")
    assert "could not be started" in linters.ruff("x\n", RULES, VERSION).unavailable


@needs_ruff
def test_a_linter_that_comes_back_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = "print(comes_back)\n"
    with monkeypatch.context() as away:
        away.setattr(linters.sys, "executable", str(tmp_path / "python"))
        away.setenv("PATH", str(tmp_path))
        assert undefined_names("experiment.py", text) == []
    assert [p.line for p in undefined_names("experiment.py", text)] == [1]


def test_the_linter_beside_our_interpreter_goes_before_the_one_on_path(
    no_linters: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    program(elsewhere, "ruff", "print('elsewhere')")
    monkeypatch.setenv("PATH", str(elsewhere))
    assert linters.executable("ruff") == str(elsewhere / "ruff")
    program(no_linters, "ruff", "print('beside')")
    assert linters.executable("ruff") == str(no_linters / "ruff")


def test_nothing_of_our_environment_reaches_a_linter(
    no_linters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RUFF_CONFIG", "TY_CONFIG_FILE", "VIRTUAL_ENV", "PYTHONPATH", "HF_TOKEN"):
        monkeypatch.setenv(name, "x")
    lines = "import os\nfor key in os.environ:\n    print(f'edited.py:1:1: F821 {key}')\n"
    program(no_linters, "ruff", lines)
    seen = {finding.message for finding in linters.ruff("x\n", RULES, VERSION).findings}
    assert "HOME" in seen
    assert seen <= {"PATH", "HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "TMPDIR", "LC_CTYPE"}


# ------------------------------------------------------------ ty's question


def ask(files: dict[str, str], root: Path, *rules: str) -> linters.Linted:
    return linters.ty(
        files,
        rules or ("possibly-unresolved-reference", "import-not-found"),
        interpreter=Path(sys.executable),
        imports_from=root,
    )


@needs_ty
def test_ty_gives_the_file_rule_and_line(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("x = 1\n")
    answer = ask({"after/e.py": "import helper\nimport nothing_such\n", "b.py": ""}, tmp_path)
    (finding,) = answer.findings
    assert (finding.file, finding.rule, finding.line) == ("after/e.py", "import-not-found", 2)
    assert sorted(os.listdir(tmp_path)) == ["helper.py"]


@needs_ty
def test_the_temporary_folder_is_gone_and_no_configuration_above_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "ty.toml").write_text("[rules]\nall = 'ignore'\n[src]\nexclude = ['**']\n")
    (tmp_path / "pyproject.toml").write_text("[tool.ty.rules]\nall = 'ignore'\n")
    answer = ask({"e.py": "import nothing_such\n"}, tmp_path)
    assert [finding.line for finding in answer.findings] == [1]
    assert sorted(os.listdir(tmp_path)) == ["pyproject.toml", "ty.toml"]


@pytest.mark.parametrize("name", ["../e.py", "/e.py", "", "a/../../e.py"])
def test_a_name_that_leads_out_of_the_folder_is_not_written(name: str, tmp_path: Path) -> None:
    assert "plain relative path" in ask({name: "x = 1\n"}, tmp_path).unavailable


@pytest.mark.parametrize("name", ["a\0b.py", "x" * 300 + ".py"])
def test_a_name_that_cannot_be_written_is_given_up(name: str, tmp_path: Path) -> None:
    answer = ask({name: "x = 1\n"}, tmp_path)
    assert answer.findings == ()
    assert answer.unavailable


@needs_ty
@pytest.mark.parametrize("text", ["", "\0", "\ud800", "\ufeffx = 1\n", "(" * 999, "# \udcff\r\n"])
def test_ty_answers_to_any_text(text: str, tmp_path: Path) -> None:
    assert ask({"e.py": text}, tmp_path).unavailable == ""


def test_an_interpreter_that_is_not_there_is_no_reason_to_fail(tmp_path: Path) -> None:
    answer = linters.ty(
        {"e.py": "import nothing_such\n"},
        ("import-not-found",),
        interpreter=tmp_path / "python",
        imports_from=tmp_path,
    )
    assert answer.findings == ()
    assert answer.unavailable
