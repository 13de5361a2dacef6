"""An attribute that `__init__` reads before the line that sets it."""

from __future__ import annotations

import ast

from agent_runner.validation.classes import Class, Read
from agent_runner.validation.syntax import FunctionNode, children


def read_too_early(owner: Class, attribute: str, reads: list[Read]) -> tuple[Read, int] | None:
    """The first read that surely comes before every line that sets the attribute, and the first of these.

    Surely: only the class's own `__init__` sets it, and each of those lines stands in a later statement of
    its body than the read, so that no loop and no branch can put them the other way round. The caller knows
    that nothing else sets the attribute.
    """
    settings = owner.settings.get(attribute, [])
    method = owner.methods.get("__init__")
    if method is None or not settings or method.rebound or method.node.decorator_list:
        return None
    statements = method.node.body
    first = min(setting.line for setting in settings)
    if not all(s.line >= method.line and s.line <= _end(method.node) for s in settings):
        return None
    for read in sorted(reads, key=lambda r: r.line):
        if read.method is not method or read.through:
            continue
        for statement in statements:
            if _end(statement) < first and _reads(statement, attribute, read.line):
                return read, first
    return None


def _end(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


def _reads(statement: ast.stmt, attribute: str, line: int) -> bool:
    """Say whether a statement reads the attribute on that line, and not in a function that is called later."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, FunctionNode | ast.Lambda | ast.ClassDef | ast.GeneratorExp):
            continue
        if isinstance(node, ast.Attribute) and node.attr == attribute and node.lineno == line:
            return True
        waiting.extend(children(node))
    return False
