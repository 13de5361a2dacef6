"""Run ruff and ty on a text, and return their findings as plain data.

Both are asked so that nothing of the agent's or the user's decides what they say: no configuration file,
no environment variable and no suppression comment is followed, nothing is cached, and the text that is
checked is never written into the worktree. A linter that is missing, broken or too slow raises nothing: its
findings are empty and `unavailable` says why.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

RUFF_TIMEOUT_S = 10.0
TY_TIMEOUT_S = 5.0
_MAX_CHARACTERS = 1_000_000  # no experiment is longer; bounds what a linter can print
_RUFF_VERSIONS = ((3, 7), (3, 15))  # what `--target-version` of ruff 0.17 takes
_LINE_END = re.compile(r"\r\n|\r|\n")
_RUFF_LINE = re.compile(r"^[^:]*:(\d+):(\d+): ([A-Z]+\d+) (?:\[\*\] )?(.*)$")
_TY_LINE = re.compile(r"^(.*?):(\d+):(\d+): (?:error|warning|info)\[([a-z-]+)\] (.*)$")
_TY_CONFIGURATION = "ty.toml"  # empty; beside the texts
_TY_IGNORE = re.compile(r"\bty:(?=\s*ignore)")


@dataclass(frozen=True)
class Finding:
    """One finding. `line` and `column` count from 1, columns in characters; `file` is a key of the question."""

    rule: str
    line: int
    column: int
    message: str
    file: str = ""


@dataclass(frozen=True)
class Linted:
    """What a linter said; where it said nothing because it could not, `unavailable` tells why."""

    findings: tuple[Finding, ...] = ()
    unavailable: str = ""


def executable(tool: str) -> str | None:
    """The linter beside our own interpreter (the one that was locked), else the first on PATH."""
    return shutil.which(tool, path=str(Path(sys.executable).parent)) or shutil.which(tool)


def unavailable(tool: str) -> str:
    """Why a linter cannot be used here, for the doctor; empty where it can."""
    answer = _run(tool, ["--version"], timeout=RUFF_TIMEOUT_S)
    return answer if isinstance(answer, str) else ""


def ruff(text: str, rules: Sequence[str], version: tuple[int, int]) -> Linted:
    """Findings of these rules in one Python text, for one version of Python.

    `--ignore-noqa` because a `# noqa` says what an author wishes to read, and not what the code does.
    """
    if len(text) > _MAX_CHARACTERS:
        return Linted(unavailable=f"the file has more than {_MAX_CHARACTERS} characters")
    low, high = _RUFF_VERSIONS
    major, minor = max(low, min(version, high))
    options = [
        *("check", "--isolated", "--no-cache", "--ignore-noqa", "--exit-zero", "--quiet"),
        *("--color", "never", "--output-format", "concise", "--select", ",".join(rules)),
        *("--target-version", f"py{major}{minor}", "--stdin-filename=edited.py", "-"),
    ]
    answer = _run("ruff", options, timeout=RUFF_TIMEOUT_S, text=to_bytes(text))
    if isinstance(answer, str):
        return Linted(unavailable=answer)
    lines = answer.decode("utf-8", "replace").split("\n")
    found = (_RUFF_LINE.match(line) for line in lines)
    return Linted(tuple(Finding(m[3], int(m[1]), int(m[2]), m[4]) for m in found if m))


def ty(
    files: Mapping[str, str], rules: Sequence[str], *, interpreter: Path, imports_from: Path
) -> Linted:
    """Findings of these rules in texts (relative path -> text), all of them asked in one process.

    The texts are written into a temporary folder, and `imports_from` (the worktree) is only read, as a
    place of modules: ty looks for configuration in the folder of its project, so none that stands in the
    worktree is seen. Third-party packages are those of `interpreter`, which is not started.
    """
    if sum(map(len, files.values())) > _MAX_CHARACTERS:
        return Linted(unavailable=f"the files have more than {_MAX_CHARACTERS} characters")
    if not all(map(_is_plain, files)):
        return Linted(unavailable="a file's name is not a plain relative path")
    try:
        with tempfile.TemporaryDirectory(prefix="agent-runner-ty-") as folder:
            project = Path(folder).resolve()
            _write(project, files)
            answer = _run(
                "ty",
                _ty_options(project, files, rules, interpreter, imports_from),
                timeout=TY_TIMEOUT_S,
                folder=project,
            )
    except (OSError, ValueError) as error:  # ValueError: a NUL in a file's name
        return Linted(unavailable=f"the files could not be written for ty: {error}")
    if isinstance(answer, str):
        return Linted(unavailable=answer)
    lines = answer.decode("utf-8", "replace").split("\n")
    found = (_TY_LINE.match(line) for line in lines)
    return Linted(tuple(Finding(m[4], int(m[2]), int(m[3]), m[5], file=m[1]) for m in found if m))


def _write(project: Path, files: Mapping[str, str]) -> None:
    (project / _TY_CONFIGURATION).touch()
    for name, text in files.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_bytes(_TY_IGNORE.sub("ty;", text)))


def _ty_options(
    project: Path,
    files: Mapping[str, str],
    rules: Sequence[str],
    interpreter: Path,
    imports_from: Path,
) -> list[str]:
    return [
        *("check", "--project", str(project), "--config-file", str(project / _TY_CONFIGURATION)),
        *("--python", str(interpreter.absolute())),
        *("--extra-search-path", str(imports_from.absolute())),
        *("--config", "analysis.respect-type-ignore-comments=false"),
        *("--no-respect-ignore-files", "--no-progress", "--color", "never", "--exit-zero"),
        *("--output-format", "concise", "--ignore", "all"),
        *(option for rule in rules for option in ("--warn", rule)),
        *("--", *files),
    ]


def to_bytes(text: str) -> bytes:
    """Return UTF-8 with every character in its place; a lone surrogate, which has no UTF-8, becomes `?`."""
    return text.removeprefix("\ufeff").encode("utf-8", "replace")


def lines_of(text: str) -> list[str]:
    """The lines of a text as Python and the linters count them: a form feed or U+2028 ends none."""
    return _LINE_END.split(text.removeprefix("\ufeff"))


def _run(
    tool: str,
    options: Sequence[str],
    *,
    timeout: float,
    text: bytes = b"",
    folder: Path | None = None,
) -> bytes | str:
    """What a linter prints, or in words why it printed nothing that can be used."""
    program = executable(tool)
    if program is None:
        return f"{tool} is not installed"
    try:
        answer = subprocess.run(
            [program, *options],
            input=text,
            capture_output=True,
            timeout=timeout,
            cwd=folder or Path(os.sep),
            env=_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{tool} gave no answer within {timeout:g} s"
    except (OSError, ValueError) as error:
        return f"{tool} could not be started: {error}"
    if answer.returncode != 0:
        words = answer.stderr.decode("utf-8", "replace").strip()[-300:]
        return f"{tool} ended with exit status {answer.returncode}: {words}"
    return answer.stdout


def _environment() -> dict[str, str]:
    """Nothing of the user's: RUFF_*, TY_*, PYTHONPATH, VIRTUAL_ENV and files in HOME change what is found."""
    kept = {key: os.environ[key] for key in ("PATH", "SYSTEMROOT", "TMPDIR") if key in os.environ}
    return {**kept, **dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), os.devnull)}


def _is_plain(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
