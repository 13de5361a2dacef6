"""Imports of packages that the experiment's Python does not have: nothing can be installed for a run.

Only imports that certainly take place count: at the top of the file or under `if __name__ == "__main__"`,
and only the package as a whole, since looking for a part of it would import it.
"""

from __future__ import annotations

import ast
import difflib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from agent_runner.records import Problem

_TIMEOUT_S = 5.0
_ALIKE = 0.75  # difflib's ratio from which a name counts as a slip for another
# Run with -I: nothing of the worktree, which may hold any file, is to run with our rights. `find_spec` of a
# name without dots imports nothing.
_ASK = (
    "import importlib.util, sys\n"
    "for name in sys.argv[1:]:\n"
    "    try:\n"
    "        missing = importlib.util.find_spec(name) is None\n"
    "    except (ImportError, ValueError):\n"
    "        missing = False\n"
    "    if missing: print(name)\n"
)
_COMMON = frozenset(
    {"datasets", "matplotlib", "numpy", "pandas", "scipy", "sklearn", "torch", "transformers"}
)
# Where one of these stands, modules may come from somewhere else than when we look.
_TRICKS = re.compile(
    r"\bsys\.(?:path|modules|meta_path|path_hooks)\b|\bfrom sys import\b|\baddsitedir\b|\bpip\b|\bbuiltins\b"
)


def missing_packages(
    name: str,
    text: str,
    *,
    before: str | None,
    modules: Mapping[str, str],
    worktree: Path,
    interpreter: Path,
) -> list[Problem]:
    """Find imports that raise ModuleNotFoundError at once; one error per package (`dependency_missing`).

    `before` is the file's text in the template, whose imports work. `modules` (path -> text) are the other
    Python files of `worktree`. Empty where the interpreter does not answer within five seconds, or where any
    file changes how modules are found.
    """
    if any(_TRICKS.search(file) for file in (text, *modules.values())):
        return []
    known = set(_certain(before or "")) | sys.stdlib_module_names
    lines = {package: line for package, line in _certain(text).items() if package not in known}
    foreign = sorted(package for package in lines if not _is_local(package, worktree))
    gone = _not_found(foreign, interpreter) if foreign else []
    return [_problem(name, package, lines[package]) for package in gone if package in lines]


def _is_local(package: str, worktree: Path) -> bool:
    return (worktree / package).is_dir() or any(worktree.glob(f"{package}.*"))


def _certain(text: str) -> dict[str, int]:
    """{package: line} of the imports that take place whenever the file is run."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    found: dict[str, int] = {}
    for node in _statements(tree.body):
        relative = isinstance(node, ast.ImportFrom) and node.level > 0
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not relative:
            names = [node.module or ""]
        else:
            names = []
        for dotted in names:
            found.setdefault(dotted.partition(".")[0], node.lineno)
    return found


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'":
            yield from node.body


def _not_found(packages: list[str], interpreter: Path) -> list[str]:
    kept = {key: os.environ[key] for key in ("PATH", "SYSTEMROOT") if key in os.environ}
    try:
        answer = subprocess.run(
            [str(interpreter), "-I", "-B", "-c", _ASK, *packages],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            cwd=os.sep,
            env=kept,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return []
    return answer.stdout.split() if answer.returncode == 0 else []


def _problem(name: str, package: str, line: int) -> Problem:
    near = [
        found
        for names in (_COMMON, sys.stdlib_module_names)
        for found in difflib.get_close_matches(package, sorted(names), 1, _ALIKE)
    ]
    meant = f" Did you mean `{near[0]}`?" if near else ""
    return Problem(
        kind="dependency_missing",
        path=name,
        line=line,
        message=f"{name}:{line}: `{package}` is not installed in the experiment's Python, and packages cannot "
        f"be added to a run: this line will raise ModuleNotFoundError.{meant} Do without it, or write the part "
        "that is needed yourself.",
    )
