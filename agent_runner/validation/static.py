"""Faults that can be seen without running anything: what refuses an edit, and what is only advice."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

from agent_runner.records import Problem
from agent_runner.validation.arguments import check_arguments
from agent_runner.validation.attributes import check_asked, check_attributes, judged
from agent_runner.validation.imports import missing_packages
from agent_runner.validation.names import doubtful_code, undefined_names
from agent_runner.validation.super_init import check_super
from agent_runner.validation.syntax import shortened
from agent_runner.validation.type_advice import type_advice

_MOST_WARNINGS = 8
_VERSION = sys.version_info[:2]


def check_static(
    files: Mapping[str, str],
    *,
    base: Mapping[str, str] | None = None,
    modules: Mapping[str, str] | None = None,
    worktree: Path | None = None,
    interpreter: Path | None = None,
) -> list[Problem]:
    """Look for faults in the editable files (name -> text), errors first, then warnings.

    Severity `error`: the run would certainly end there. `warning`: doubtful, and no reason to refuse.
    What the same files of the template show too (`base`) is no fault of an edit, since the template runs.

    modules: the other Python files of the worktree, for what is imported from them.
    worktree, interpreter: where given, packages that the experiment's Python lacks are found; and where
        nothing is refused, a type checker adds its advice on what the edit has brought in.
    """
    python = _without_mark({n: text for n, text in files.items() if n.endswith(".py")})
    broken = [problem for name, text in python.items() for problem in _compile(name, text)]
    if broken:
        return broken  # nothing else can be read
    base, modules = _without_mark(base or {}), _without_mark(modules or {})
    found = [
        problem
        for name, text in python.items()
        for problem in _faults(name, text, base.get(name), {**modules, **python})
    ]
    if worktree is not None and interpreter is not None:
        found += _missing(python, base, modules, worktree, interpreter)
    errors = [problem for problem in found if problem.severity == "error"]
    doubts = [problem for problem in found if problem.severity == "warning"]
    if not errors:  # it is slower, and would tell the same faults once more
        told = {(problem.path, problem.line) for problem in doubts}
        advice = _advice(python, base, modules, worktree, interpreter)
        doubts += [problem for problem in advice if (problem.path, problem.line) not in told]
    return errors + doubts[:_MOST_WARNINGS]


def _without_mark(files: Mapping[str, str]) -> dict[str, str]:
    """The texts without a byte order mark, which Python skips too."""
    return {name: text.removeprefix("\ufeff") for name, text in files.items()}


def _faults(name: str, text: str, base: str | None, files: Mapping[str, str]) -> list[Problem]:
    others = {path: other for path, other in files.items() if path != name}
    return [
        *undefined_names(name, text, before=base, others=others, version=_VERSION),
        *check_attributes(name, text, others, base),
        *check_asked(name, text, others, base),
        *check_super(name, text, others, base),
        *check_arguments(name, text, base),
        *doubtful_code(name, text, before=base, version=_VERSION),
    ]


def _compile(name: str, text: str) -> list[Problem]:
    """A file that cannot be compiled is a certain fault."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the author's SyntaxWarnings are not ours to raise
            compile(text.encode(), name, "exec", dont_inherit=True)  # bytes: a coding line counts
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or None  # 0 for a bad coding line
        code = (getattr(error, "text", None) or "").strip()
        shown = f": `{shortened(code)}`" if code else ""
        place = f"{name}:{line}" if line else name
        message = f"{place}: {shortened(str(getattr(error, 'msg', error)))}{shown}"
    except (RecursionError, MemoryError) as error:
        line = None
        message = f"{name} is nested too deeply to be compiled ({type(error).__name__})"
    else:
        return []
    return [Problem(kind="syntax_error", message=message, path=name, line=line)]


def _missing(
    files: Mapping[str, str],
    base: Mapping[str, str],
    modules: Mapping[str, str],
    worktree: Path,
    interpreter: Path,
) -> list[Problem]:
    return [
        problem
        for name, text in files.items()
        for problem in missing_packages(
            name,
            text,
            before=base.get(name),
            modules=modules,
            worktree=worktree,
            interpreter=interpreter,
        )
    ]


def _advice(
    files: Mapping[str, str],
    base: Mapping[str, str],
    modules: Mapping[str, str],
    worktree: Path | None,
    interpreter: Path | None,
) -> list[Problem]:
    if worktree is None or interpreter is None:
        return []
    return [
        problem
        for name, text in files.items()
        if text != base.get(name)
        for problem in type_advice(
            worktree,
            name,
            text,
            base.get(name),
            interpreter,
            judged(name, text, {**modules, **files}),
        )
    ]
