"""Faults that can be seen without running anything: what refuses an edit, and what is only advice."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from agent_runner.records import Problem
from agent_runner.validation.arguments import check_arguments
from agent_runner.validation.attributes import check_attributes
from agent_runner.validation.names import doubtful_code, undefined_names
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
    worktree, interpreter: where given, a type checker adds its advice on what the edit has brought in.
    """
    python = {name: text for name, text in files.items() if name.endswith(".py")}
    broken = [problem for name, text in python.items() for problem in _compile(name, text)]
    if broken:
        return broken  # nothing else can be read
    base, modules = base or {}, modules or {}
    with ThreadPoolExecutor(max_workers=1) as pool:
        advice = pool.submit(_advice, python, base, worktree, interpreter)
        found = [
            problem
            for name, text in python.items()
            for problem in _faults(name, text, base.get(name), {**modules, **python})
        ]
        told = {(problem.path, problem.line) for problem in found}
        found += [p for p in advice.result() if (p.path, p.line) not in told]
    errors = [problem for problem in found if problem.severity == "error"]
    doubts = [problem for problem in found if problem.severity == "warning"]
    return errors + doubts[:_MOST_WARNINGS]


def _faults(name: str, text: str, base: str | None, files: Mapping[str, str]) -> list[Problem]:
    others = {path: other for path, other in files.items() if path != name}
    return [
        *undefined_names(name, text, before=base, others=others, version=_VERSION),
        *_new(
            check_attributes(name, text, others), lambda: check_attributes(name, base or "", others)
        ),
        *_new(check_arguments(name, text), lambda: check_arguments(name, base or "")),
        *doubtful_code(name, text, before=base, version=_VERSION),
    ]


def _compile(name: str, text: str) -> list[Problem]:
    """A file that cannot be compiled is a certain fault."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the author's SyntaxWarnings are not ours to raise
            compile(text, name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        code = (getattr(error, "text", None) or "").strip()
        shown = f": `{code}`" if code else ""
        message = f"{name}:{line}: {getattr(error, 'msg', error)}{shown}"
    except (RecursionError, MemoryError) as error:
        line = None
        message = f"{name} is nested too deeply to be compiled ({type(error).__name__})"
    else:
        return []
    return [Problem(kind="syntax_error", message=message, path=name, line=line)]


def _new(found: list[Problem], of_base: Callable[[], list[Problem]]) -> list[Problem]:
    """The problems that the template does not have, wherever they stand in it."""
    if not found:
        return []
    old = {_wherever(problem) for problem in of_base()}
    return [problem for problem in found if _wherever(problem) not in old]


def _wherever(problem: Problem) -> tuple[str, str]:
    return problem.kind, re.sub(r"\d+", "#", problem.message)


def _advice(
    files: Mapping[str, str],
    base: Mapping[str, str],
    worktree: Path | None,
    interpreter: Path | None,
) -> list[Problem]:
    if worktree is None or interpreter is None:
        return []
    return [
        problem
        for name, text in files.items()
        if text != base.get(name)
        for problem in type_advice(worktree, name, text, base.get(name), interpreter)
    ]
