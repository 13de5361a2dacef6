"""The command contract: `python experiment.py --out_dir=run_i`, and nothing more, must still be enough."""

from __future__ import annotations

import ast

from agent_runner.records import Problem


def check_contract(name: str, old: str, new: str) -> list[Problem]:
    """Refuse an edit that breaks the command, by comparison with the file before it.

    Certain faults only: `--out_dir` was taken and no longer is, or an argument became required that was
    not. A file that cannot be parsed is left to the static check.
    """
    before, after = _arguments(old), _arguments(new)
    if before is None or after is None:
        return []
    problems = []
    if before.takes_out_dir and not after.takes_out_dir and "out_dir" not in new:
        problems.append(
            Problem(
                kind="contract",
                path=name,
                message=f"{name} no longer takes --out_dir, so it cannot be run as "
                f"`python {name} --out_dir=run_i`. Keep that argument and write the results there.",
            )
        )
    for argument, line in sorted(after.required.items()):
        if argument not in before.required:
            problems.append(
                Problem(
                    kind="contract",
                    path=name,
                    line=line,
                    message=f"{name}:{line} makes {argument!r} a required argument, but the command is "
                    f"always `python {name} --out_dir=run_i`. Give it a default instead.",
                )
            )
    return problems


class _Arguments:
    def __init__(self) -> None:
        self.takes_out_dir = False
        self.required: dict[str, int] = {}


def _arguments(text: str) -> _Arguments | None:
    """What the `add_argument` calls of a file ask for; None where the file cannot be parsed."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    found = _Arguments()
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and _is_add_argument(node.func)):
            continue
        names = [
            a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)
        ]
        if any(n.lstrip("-").replace("-", "_") == "out_dir" for n in names):
            found.takes_out_dir = True
            continue
        if names and _is_required(names, node.keywords):
            found.required[names[0]] = node.lineno
    return found


def _is_add_argument(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and function.attr == "add_argument"


def _is_required(names: list[str], keywords: list[ast.keyword]) -> bool:
    options = {k.arg: k.value for k in keywords if k.arg}
    required = options.get("required")
    if isinstance(required, ast.Constant):
        return bool(required.value)
    if names[0].startswith("-"):
        return False
    nargs = options.get("nargs")  # a positional is required unless it may be absent
    return not (isinstance(nargs, ast.Constant) and nargs.value in ("?", "*"))
